/** A channel's bias and an activation by the fused operation of `bias-activation.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** The activation is min(max(z, least), bound). */
const BOUNDS = { none: { least: -Infinity, bound: Infinity }, relu: { least: 0, bound: Infinity }, relu6: { least: 0, bound: 6 } };

/** `activation(x + bias)`; undefined where fused operations cannot be used. */
export const fusedBiasActivation = (x: tf.Tensor, bias: tf.Tensor, activation: keyof typeof BOUNDS): tf.Tensor | undefined =>
  canFuse([x, bias]) ? runFused('OnestepBiasActivation', [x, bias], { floats: BOUNDS[activation] }, 1)[0] : undefined;
