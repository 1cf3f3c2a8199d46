/** The sum that ends a residual block, and its gradient, by the fused operations of `residual.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** `(a + b + bias) * scale`; undefined where fused operations cannot be used. */
export const fusedResidual = (a: tf.Tensor, b: tf.Tensor, bias: tf.Tensor, scale: number): tf.Tensor | undefined =>
  canFuse([a, b, bias]) ? runFused('OnestepResidual', [a, b, bias], { floats: { scale } }, 1)[0] : undefined;

/** `dy * scale`, and its sum over everything but the channels; undefined as above. */
export const fusedResidualGrad = (dy: tf.Tensor, scale: number): tf.Tensor[] | undefined =>
  canFuse([dy]) ? runFused('OnestepResidualGrad', [dy], { floats: { scale } }, 2) : undefined;
