/** Depthwise convolutions and max pooling's gradients by the fused operations of `depthwise.cc` and `max-pool.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** Where the windows of a convolution stand; `top` and `left` are its padding. */
export interface WindowGeometry {
  strideHeight: number;
  strideWidth: number;
  top: number;
  left: number;
}

/**
 * The depthwise convolution of `x` with `filter` `[kh, kw, C, 1]`, or with `gradient` the one of the images from `x` as dy;
 * `[rows, columns]` is the size of the result. Undefined where fused operations cannot be used.
 */
export function fusedDepthwise(
  x: tf.Tensor,
  filter: tf.Tensor,
  { strideHeight, strideWidth, top, left }: WindowGeometry,
  [rows, columns]: readonly [number, number],
  gradient: boolean,
): tf.Tensor | undefined {
  if (filter.shape[3] !== 1 || !canFuse([x, filter])) return undefined;
  const integers = { stride_rows: strideHeight, stride_columns: strideWidth, top, left, rows, columns };
  return runFused('OnestepDepthwise', [x, filter], { integers, flags: { gradient } }, 1)[0];
}

/**
 * The gradient of max pooling from `x` to `y` in windows that touch but do not overlap. Undefined as above.
 */
export const fusedMaxPoolGrad = (
  dy: tf.Tensor,
  x: tf.Tensor,
  y: tf.Tensor,
  [height, width]: readonly [number, number],
): tf.Tensor | undefined =>
  canFuse([dy, x, y]) ? runFused('OnestepMaxPoolGrad', [dy, x, y], { integers: { height, width } }, 1)[0] : undefined;

/** What the pooling picks from `values` where it picks `y` from `x`. Undefined as above. */
export const fusedMaxPoolPick = (
  values: tf.Tensor,
  x: tf.Tensor,
  y: tf.Tensor,
  [height, width]: readonly [number, number],
): tf.Tensor | undefined =>
  canFuse([values, x, y]) ? runFused('OnestepMaxPoolPick', [values, x, y], { integers: { height, width } }, 1)[0] : undefined;
