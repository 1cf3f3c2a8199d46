/**
 * The self-attention of DDPM networks as diffusers publishes it: three fully connected layers for q, k and v, one after.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attention } from '../../core/autodiff/index.js';
import type { ParameterRole } from '../../core/contracts/parameter.js';
import { GroupNorm, Linear, type LayerInitialization } from '../nn/layers.js';
import { Module } from '../nn/module.js';
import { showSum } from '../nn/observe.js';

/** Options of {@link DdpmAttention}. */
export interface DdpmAttentionOptions {
  /** Published name, such as `mid_block.attentions.0`. */
  name: string;
  block: string;
  level: number;
  channels: number;
  heads: number;
  groups: number;
  epsilon: number;
  /** Divides the sum of input and attention. */
  rescale: number;
  initialization: LayerInitialization;
}

/** (x + to_out(attention(group_norm(x)))) / rescale, `[B, H, W, C]` to `[B, H, W, C]`. */
export class DdpmAttention extends Module {
  readonly #norm: GroupNorm;
  readonly #qkv: readonly Linear[];
  readonly #out: Linear;
  readonly #options: DdpmAttentionOptions;

  constructor(options: DdpmAttentionOptions) {
    super();
    const { name, block, level, channels, groups, epsilon, initialization } = options;
    this.#options = options;
    const place = (part: string, role: ParameterRole) => ({ name: `${name}.${part}`, role, block, level });
    this.#norm = this.addChild(new GroupNorm(place('group_norm', 'norm'), channels, { groups, epsilon }));
    this.#qkv = ['to_q', 'to_k', 'to_v'].map((part) => this.addChild(new Linear(place(part, 'qkv'), channels, channels, initialization)));
    this.#out = this.addChild(new Linear(place('to_out.0', 'proj'), channels, channels, initialization));
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const { block, level, channels, heads, rescale } = this.#options;
      const rows = tf.reshape(this.#norm.forward(x), [-1, channels]) as tf.Tensor2D;
      const [q, k, v] = this.#qkv.map((layer) => tf.reshape(layer.forward(rows), x.shape));
      const mixed = tf.reshape(attention([q!, k!, v!], { heads }), [-1, channels]) as tf.Tensor2D;
      const branch = tf.reshape(this.#out.forward(mixed), x.shape);
      const sum = tf.add<tf.Tensor4D>(x, branch);
      const output = rescale === 1 ? sum : tf.div<tf.Tensor4D>(sum, rescale);
      showSum({ name: block, block, level }, branch, x, output);
      return output;
    });
  }
}
