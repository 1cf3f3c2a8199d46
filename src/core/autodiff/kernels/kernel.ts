import * as tf from '@tensorflow/tfjs-core';

/** A kernel for one engine, composed of tf operations. */
export const composed = (backendName: string, kernelName: string, run: (inputs: Record<string, tf.Tensor>, attrs: any) => tf.Tensor): tf.KernelConfig => ({
  kernelName,
  backendName,
  kernelFunc: ({ inputs, attrs }) => tf.tidy(() => run(inputs as Record<string, tf.Tensor>, attrs)),
});

/** Zeros around the pixels of `[B, H, W, C]`; a negative amount cuts. */
export function frame(x: tf.Tensor4D, top: number, bottom: number, left: number, right: number): tf.Tensor4D {
  const cut = (n: number) => Math.max(0, -n);
  const grow = (n: number) => Math.max(0, n);
  let result = x;
  if ([top, bottom, left, right].some((n) => n < 0)) {
    const [B, H, W, C] = x.shape;
    result = tf.slice(x, [0, cut(top), cut(left), 0], [B, H - cut(top) - cut(bottom), W - cut(left) - cut(right), C]);
  }
  if ([top, bottom, left, right].some((n) => n > 0)) result = tf.pad(result, [[0, 0], [grow(top), grow(bottom)], [grow(left), grow(right)], [0, 0]]);
  return result;
}
