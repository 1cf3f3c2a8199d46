/** Attention and its derivatives, by the fused operations of `attention.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

export interface FusedAttentionAttributes {
  heads: number;
  scale: number;
}

const attributesOf = (qkv: tf.Tensor[], { heads, scale }: FusedAttentionAttributes) => ({
  integers: { heads, N: qkv.length },
  floats: { scale },
});

/** What tells the statistics of the rows, `[B * heads, positions, 2]`, from the composed operation's probabilities. */
const STATISTICS_RANK = 3;

/** `[y, statistics]` of q, k, v, or of one tensor of their channels; undefined where fused operations cannot be used. */
export const fusedAttention = (qkv: tf.Tensor[], attrs: FusedAttentionAttributes): tf.Tensor[] | undefined =>
  canFuse(qkv) ? runFused('OnestepAttention', qkv, attributesOf(qkv, attrs), 2) : undefined;

/** A gradient for each of `qkv`; undefined as above, or where the forward pass was the composed one. */
export const fusedAttentionGrad = (
  [dy, y, statistics]: [tf.Tensor, tf.Tensor, tf.Tensor],
  qkv: tf.Tensor[],
  attrs: FusedAttentionAttributes,
): tf.Tensor[] | undefined =>
  statistics.rank === STATISTICS_RANK && canFuse([dy, y, statistics, ...qkv])
    ? runFused('OnestepAttentionGrad', [dy, y, statistics, ...qkv], attributesOf(qkv, attrs), qkv.length)
    : undefined;

/** The derivative of the result along `tangents`, one for each of `qkv`; undefined as above. */
export const fusedAttentionTangent = (
  [y, statistics]: [tf.Tensor, tf.Tensor],
  tangents: tf.Tensor[],
  qkv: tf.Tensor[],
  attrs: FusedAttentionAttributes,
): tf.Tensor | undefined =>
  statistics.rank === STATISTICS_RANK && canFuse([y, statistics, ...tangents, ...qkv])
    ? runFused('OnestepAttentionTangent', [y, statistics, ...tangents, ...qkv], attributesOf(qkv, attrs), 1)[0]
    : undefined;
