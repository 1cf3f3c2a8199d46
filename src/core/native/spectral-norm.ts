/** Spectral normalization and its gradient, by the fused operations of `spectral-norm.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** `[y, u, v, sigma]` from the weight and the former u; undefined where fused operations cannot be used. */
export const fusedSpectralNorm = (weight: tf.Tensor, u: tf.Tensor): tf.Tensor[] | undefined =>
  canFuse([weight, u]) ? runFused('OnestepSpectralNorm', [weight, u], {}, 4) : undefined;

/** The weight's gradient from dy, the weight, u, v and sigma; undefined as above. */
export const fusedSpectralNormGrad = (inputs: tf.Tensor[]): tf.Tensor | undefined =>
  canFuse(inputs) ? runFused('OnestepSpectralNormGrad', inputs, {}, 1)[0] : undefined;
