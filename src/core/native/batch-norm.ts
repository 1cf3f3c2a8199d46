/** Batch normalization with a leaky ReLU, and its gradient, by the fused operations of `batch-norm.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

interface Attributes {
  epsilon: number;
  slope: number;
}

/** `[y, mean, variance]` from x, gamma and beta; undefined where fused operations cannot be used. */
export const fusedBatchNorm = (inputs: tf.Tensor[], { epsilon, slope }: Attributes): tf.Tensor[] | undefined =>
  canFuse(inputs) ? runFused('OnestepBatchNorm', inputs, { floats: { epsilon, slope } }, 3) : undefined;

/** `[dx, dgamma, dbeta]` from dy, x, gamma, beta, mean and variance; undefined as above. */
export const fusedBatchNormGrad = (inputs: tf.Tensor[], { epsilon, slope }: Attributes): tf.Tensor[] | undefined =>
  canFuse(inputs) ? runFused('OnestepBatchNormGrad', inputs, { floats: { epsilon, slope } }, 3) : undefined;
