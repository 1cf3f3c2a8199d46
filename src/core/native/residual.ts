/** The sum that ends a residual block, and its gradient, by the fused operations of `residual.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** `(a + b + bias) * scale`; undefined where fused operations cannot be used. */
export const fusedResidual = (a: tf.Tensor, b: tf.Tensor, bias: tf.Tensor, scale: number): tf.Tensor | undefined =>
  canFuse([a, b, bias]) ? runFused('OnestepResidual', [a, b, bias], { floats: { scale } }, 1)[0] : undefined;

/** `dy * scale`, and its sum over everything but the channels; undefined as above. */
export const fusedResidualGrad = (dy: tf.Tensor, scale: number): tf.Tensor[] | undefined =>
  canFuse([dy]) ? runFused('OnestepResidualGrad', [dy], { floats: { scale } }, 2) : undefined;

/** `a + b` of one shape; undefined for others, small ones and as above. */
export const fusedAdd = (a: tf.Tensor, b: tf.Tensor): tf.Tensor | undefined =>
  a.size >= LEAST_SIZE && a.shape.join() === b.shape.join() && canFuse([a, b]) ? runFused('OnestepAdd', [a, b], {}, 1)[0] : undefined;

/** Less is not faster than TensorFlow's own. */
const LEAST_SIZE = 16384;
