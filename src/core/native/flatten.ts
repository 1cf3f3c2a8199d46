/** Many tensors as one and back, by the fused operations of `flatten.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** The values of `tensors`, one after the other, as `[size]`; undefined where the fused operation cannot be used. */
export const fusedFlatten = (tensors: tf.Tensor[]): tf.Tensor1D | undefined =>
  canFuse(tensors) ? (runFused('OnestepFlatten', tensors, { integers: { N: tensors.length } }, 1)[0] as tf.Tensor1D) : undefined;

/** The values of `flat` as tensors of `shapes`; undefined as above. */
export function fusedUnflatten(flat: tf.Tensor, shapes: readonly (readonly number[])[]): tf.Tensor[] | undefined {
  if (!canFuse([flat])) return undefined;
  const integers = { N: shapes.length, ranks: shapes.map(({ length }) => length), lengths: shapes.flat() };
  return runFused('OnestepUnflatten', [flat], { integers }, shapes.length);
}
