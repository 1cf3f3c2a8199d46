/** Group normalization, modulation and SiLU by the fused operations of `group-norm.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

export interface FusedGroupNormInputs {
  x: tf.Tensor;
  gamma: tf.Tensor;
  beta: tf.Tensor;
  scale?: tf.Tensor | undefined;
  shift?: tf.Tensor | undefined;
  offset?: tf.Tensor | undefined;
}

export interface FusedGroupNormAttributes {
  groups: number;
  epsilon: number;
  silu: boolean;
}

function prepare({ scale, shift, offset }: FusedGroupNormInputs, { groups, epsilon, silu }: FusedGroupNormAttributes) {
  const modulation = [scale, shift, offset].filter((tensor) => tensor !== undefined);
  const attributes = {
    integers: { groups, N: modulation.length },
    floats: { epsilon },
    flags: { silu, has_scale: scale !== undefined, has_shift: shift !== undefined, has_offset: offset !== undefined },
  };
  return { modulation, attributes };
}

/** `[y, mean, rstd]`, the statistics `[B, groups, 1]`; undefined where fused operations cannot be used. */
export function fusedGroupNorm(inputs: FusedGroupNormInputs, attrs: FusedGroupNormAttributes): tf.Tensor[] | undefined {
  const { x, gamma, beta } = inputs;
  const { modulation, attributes } = prepare(inputs, attrs);
  if (!canFuse([x, gamma, beta, ...modulation])) return undefined;
  return runFused('OnestepGroupNorm', [x, gamma, beta, ...modulation], attributes, 3);
}

/** Gradients of x, gamma, beta and those of scale, shift and offset that are there; undefined as above. */
export function fusedGroupNormGrad(
  inputs: FusedGroupNormInputs & { dy: tf.Tensor; mean: tf.Tensor; rstd: tf.Tensor },
  attrs: FusedGroupNormAttributes,
): tf.Tensor[] | undefined {
  const { dy, x, gamma, beta, mean, rstd } = inputs;
  const { modulation, attributes } = prepare(inputs, attrs);
  const tensors = [dy, x, gamma, beta, mean, rstd, ...modulation];
  if (!canFuse(tensors)) return undefined;
  return runFused('OnestepGroupNormGrad', tensors, attributes, 3 + modulation.length);
}
