/** What transformers need besides products of matrices, by the fused operations of `gelu.cc` and `layer-norm.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** Each is undefined where fused operations cannot be used. */
export const fusedGelu = (x: tf.Tensor): tf.Tensor | undefined => (canFuse([x]) ? runFused('OnestepGelu', [x], {}, 1)[0] : undefined);

export const fusedGeluGrad = (dy: tf.Tensor, x: tf.Tensor): tf.Tensor | undefined =>
  canFuse([dy, x]) ? runFused('OnestepGeluGrad', [dy, x], {}, 1)[0] : undefined;

/** `[y, rstd]`, rstd `[..., 1]`. */
export const fusedLayerNorm = (x: tf.Tensor, epsilon: number): tf.Tensor[] | undefined =>
  canFuse([x]) ? runFused('OnestepLayerNorm', [x], { floats: { epsilon } }, 2) : undefined;

export const fusedLayerNormGrad = (dy: tf.Tensor, y: tf.Tensor, rstd: tf.Tensor): tf.Tensor | undefined =>
  canFuse([dy, y, rstd]) ? runFused('OnestepLayerNormGrad', [dy, y, rstd], {}, 1)[0] : undefined;

export const fusedSoftmaxGrad = (dy: tf.Tensor, y: tf.Tensor): tf.Tensor | undefined =>
  canFuse([dy, y]) ? runFused('OnestepSoftmaxGrad', [dy, y], {}, 1)[0] : undefined;
