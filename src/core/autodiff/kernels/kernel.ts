import * as tf from '@tensorflow/tfjs-core';
import { registerKernelQuietly } from '../define-kernel.js';

export type Inputs = Record<string, tf.Tensor>;
/** The kernel that the engine has of its own. */
export type Stock = (inputs: Inputs, attrs: object) => tf.Tensor;

/** A kernel for one engine, composed of tf operations, which may lean on the engine's own. */
export interface ComposedKernel {
  backendName: string;
  kernelName: string;
  run: (inputs: Inputs, attrs: any, stock: Stock) => tf.Tensor;
}

export const composed = (backendName: string, kernelName: string, run: ComposedKernel['run']): ComposedKernel => ({
  backendName,
  kernelName,
  run,
});

const ours = new WeakSet<tf.KernelConfig>();

/** Puts `kernel` in the place of the engine's own, once that engine is loaded. */
export function installKernel({ backendName, kernelName, run }: ComposedKernel): void {
  const present = tf.getKernel(kernelName, backendName);
  // Without any kernels the engine is not loaded yet, and would complain about ours when it is.
  if ((present && ours.has(present)) || !tf.getKernel('Conv2D', backendName)) return;
  const config: tf.KernelConfig = {
    ...present, // its set-up is still needed
    backendName,
    kernelName,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const stock: Stock = (otherInputs, otherAttrs) => {
        const result = present!.kernelFunc({ inputs: otherInputs, attrs: otherAttrs as tf.NamedAttrMap, backend }) as tf.TensorInfo & {
          rank?: number;
        };
        return result.rank === undefined ? tf.engine().makeTensorFromTensorInfo(result) : (result as tf.Tensor);
      };
      return tf.tidy(() => run(inputs as Inputs, attrs, stock));
    },
  };
  ours.add(config);
  registerKernelQuietly(config);
}

/** `value` around the pixels of `[B, H, W, C]`; a negative amount cuts. */
export function frame(x: tf.Tensor4D, top: number, bottom: number, left: number, right: number, value = 0): tf.Tensor4D {
  const cut = (n: number) => Math.max(0, -n);
  const grow = (n: number) => Math.max(0, n);
  let result = x;
  if ([top, bottom, left, right].some((n) => n < 0)) {
    const [B, H, W, C] = x.shape;
    result = tf.slice(x, [0, cut(top), cut(left), 0], [B, H - cut(top) - cut(bottom), W - cut(left) - cut(right), C]);
  }
  if ([top, bottom, left, right].some((n) => n > 0))
    result = tf.pad(
      result,
      [
        [0, 0],
        [grow(top), grow(bottom)],
        [grow(left), grow(right)],
        [0, 0],
      ],
      value,
    );
  return result;
}
