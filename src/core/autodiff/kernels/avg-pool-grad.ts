/** The stock kernels of `cpu` and `wasm` divide by the whole window where padding makes it smaller. */
import * as tf from '@tensorflow/tfjs-core';
import { composed } from './kernel.js';

type Shape4D = [number, number, number, number];

/** Window size over the number of pixels of the image in it, `[1, outHeight, outWidth, 1]`; undefined where it is 1 everywhere. */
export function windowCorrection(inputShape: number[], { filterSize, strides, pad, dimRoundingMode }: any): tf.Tensor | undefined {
  const info = tf.backend_util.computePool2DInfo(inputShape as Shape4D, filterSize, strides, 1, pad, dimRoundingMode);
  const inside = (out: number, stride: number, size: number, before: number, length: number) =>
    Array.from({ length: out }, (_, i) => Math.min(length, i * stride - before + size) - Math.max(0, i * stride - before));
  const rows = inside(info.outHeight, info.strideHeight, info.filterHeight, info.padInfo.top, info.inHeight);
  const columns = inside(info.outWidth, info.strideWidth, info.filterWidth, info.padInfo.left, info.inWidth);
  const whole = info.filterHeight * info.filterWidth;
  const factors = rows.flatMap((h) => columns.map((w) => whole / (h * w)));
  return factors.every((factor) => factor === 1) ? undefined : tf.tensor(factors, [1, info.outHeight, info.outWidth, 1]);
}

export const avgPoolGrads = ['cpu', 'wasm'].map((engine) =>
  composed(engine, 'AvgPoolGrad', ({ dy, input }, attrs, stock) => {
    const correction = windowCorrection(input!.shape, attrs);
    return stock({ dy: correction ? tf.mul(dy!, correction) : dy!, input: input! }, attrs);
  }),
);
