/** One update by Adam, by the fused operation of `adam.cc`. */
import * as tf from '@tensorflow/tfjs-core';
import { SHAPE_ENGINE } from '../shape-engine/shape-engine.js';
import { canFuse, runFused } from './fused.js';

export interface FusedAdamTensors {
  weights: tf.Tensor1D;
  gradient: tf.Tensor1D;
  m: tf.Tensor1D | undefined;
  v: tf.Tensor1D;
}

export interface FusedAdamCoefficients {
  beta1: number;
  beta2: number;
  rate: number;
  epsilon: number | undefined;
}

/** The new weights, m and v, which the caller disposes; undefined where fused operations cannot be used. */
export function fusedAdam(
  { weights, gradient, m, v }: FusedAdamTensors,
  { beta1, beta2, rate, epsilon }: FusedAdamCoefficients,
): { weights: tf.Tensor1D; m: tf.Tensor1D | undefined; v: tf.Tensor1D } | undefined {
  if (tf.getBackend() === SHAPE_ENGINE) {
    // The results alone, as the fused operation makes them.
    const empty = (x: tf.Tensor1D) => tf.fill<tf.Rank.R1>(x.shape, 0);
    return { weights: empty(weights), m: m && empty(m), v: empty(v) };
  }
  if (tf.getBackend() !== 'tensorflow' || !canFuse([weights, gradient, m, v])) return undefined;
  // A tensor and not attributes: TensorFlow keeps a kernel for each set of attributes that it has seen.
  const coefficients = tf.tensor1d([beta1, 1 - beta1, beta2, 1 - beta2, rate, epsilon ?? 0]);
  const inputs = [coefficients, weights, gradient, v, ...(m ? [m] : [])];
  const attributes = { integers: { M: m ? 1 : 0 }, flags: { has_m: m !== undefined, divide: epsilon !== undefined } };
  const [newWeights, newV, newM] = runFused('OnestepAdam', inputs, attributes, m ? 3 : 2) as tf.Tensor1D[];
  coefficients.dispose();
  return { weights: newWeights!, m: newM, v: newV! };
}
