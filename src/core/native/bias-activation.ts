/** A channel's bias and an activation by the fused operation of `bias-activation.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** Upper bounds: the activation is min(max(z, 0), bound). */
const BOUNDS = { relu: Infinity, relu6: 6 };

/** `activation(x + bias)`; undefined where fused operations cannot be used. */
export const fusedBiasActivation = (x: tf.Tensor, bias: tf.Tensor, activation: 'relu' | 'relu6'): tf.Tensor | undefined =>
  canFuse([x, bias]) ? runFused('OnestepBiasActivation', [x, bias], { floats: { bound: BOUNDS[activation] } }, 1)[0] : undefined;
