/**
 * The residual block that the backbones share (SPEC: Block), with optional resampling and self-attention.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attention, residualAdd } from '../../core/autodiff/index.js';
import type { ParameterRole } from '../../core/contracts/parameter.js';
import type { RandomStream } from '../../core/contracts/random.js';
import type { TensorLayout } from '../../core/parameter.js';
import { Conv2d, GroupNorm, Linear, type LayerInitialization } from '../nn/layers.js';
import { Module } from '../nn/module.js';
import { isObserved, showSum } from '../nn/observe.js';

/** Parts of a block outside its attention, under the names of EDM's networks. */
export type BlockPart = 'norm0' | 'conv0' | 'affine' | 'norm1' | 'conv1' | 'skip';

/** Options of {@link UNetBlock}. */
export interface UNetBlockOptions {
  /** Published name, such as `model.enc.16x16_block0`. */
  name: string;
  level: number;
  inputs: number;
  outputs: number;
  embeddingChannels: number;
  resample?: 'up' | 'down' | undefined;
  filter: readonly number[];
  /** Heads of self-attention; 0: none. */
  heads: number;
  epsilon: number;
  /** Groups of the norms; default min(32, C/4). */
  groups?: number | undefined;
  /** Published names of the parts; default EDM's. */
  names?: Readonly<Record<BlockPart, string>> | undefined;
  /** Factor after the skip and after the attention. */
  skipScale: number;
  /** True: the embedding gives scale and shift (ADM); false: it is added. */
  adaptiveScale: boolean;
  /** True: a resampled skip has a 1x1 convolution even where channels do not change. */
  resampleProjection: boolean;
  dropout: number;
  initialization: LayerInitialization;
  zeroInitialization: LayerInitialization;
  attentionInitialization: LayerInitialization;
}

/** Published order of qkv's output channels is (head, c, {q,k,v}); the engine's is ({q,k,v}, head, c). */
function qkvLayout(shape: readonly number[]): { weight: TensorLayout; bias: TensorLayout } {
  const [outputs = 0, inputs = 0] = shape;
  return {
    weight: { view: [outputs / 3, 3, inputs], order: [2, 1, 0], engineShape: [1, 1, inputs, outputs] },
    bias: { view: [outputs / 3, 3], order: [1, 0], engineShape: [outputs] },
  };
}

export class UNetBlock extends Module {
  readonly inputs: number;
  readonly outputs: number;
  readonly #options: UNetBlockOptions;
  readonly #block: string;
  readonly #norm0: GroupNorm;
  readonly #conv0: Conv2d;
  readonly #affine: Linear;
  readonly #norm1: GroupNorm;
  readonly #conv1: Conv2d;
  readonly #skip: Conv2d | undefined;
  readonly #norm2: GroupNorm | undefined;
  readonly #qkv: Conv2d | undefined;
  readonly #proj: Conv2d | undefined;

  constructor(options: UNetBlockOptions) {
    super();
    const { name, level, inputs, outputs, resample, filter, epsilon, groups, initialization } = options;
    this.#options = options;
    this.inputs = inputs;
    this.outputs = outputs;
    const block = (this.#block = name.replace(/^model\./, ''));
    const at = (part: string, role: ParameterRole) => ({ name: `${name}.${part}`, role, block, level });
    const place = (part: BlockPart, role: ParameterRole) => at(options.names?.[part] ?? part, role);
    const norm = { epsilon, groups, silu: true };
    this.#norm0 = this.addChild(new GroupNorm(place('norm0', 'norm'), inputs, norm));
    this.#conv0 = this.addChild(new Conv2d(place('conv0', 'conv0'), inputs, outputs, initialization, { kernel: 3, resample, filter }));
    const affineOutputs = options.adaptiveScale ? 2 * outputs : outputs;
    this.#affine = this.addChild(new Linear(place('affine', 'affine'), options.embeddingChannels, affineOutputs, initialization));
    this.#norm1 = this.addChild(new GroupNorm(place('norm1', 'norm'), outputs, norm));
    this.#conv1 = this.addChild(new Conv2d(place('conv1', 'conv1'), outputs, outputs, options.zeroInitialization, { kernel: 3 }));
    if (inputs !== outputs || resample) {
      const kernel = options.resampleProjection || inputs !== outputs ? 1 : 0;
      this.#skip = this.addChild(new Conv2d(place('skip', 'skip'), inputs, outputs, initialization, { kernel, resample, filter }));
    }
    if (options.heads > 0) {
      this.#norm2 = this.addChild(new GroupNorm(at('norm2', 'norm'), outputs, { epsilon, groups }));
      this.#qkv = this.addChild(
        new Conv2d(at('qkv', 'qkv'), outputs, 3 * outputs, options.attentionInitialization, { kernel: 1, layout: qkvLayout }),
      );
      this.#proj = this.addChild(new Conv2d(at('proj', 'proj'), outputs, outputs, options.zeroInitialization, { kernel: 1 }));
    }
  }

  /** `x` `[B, H, W, inputs]`, `embedding` `[B, E]` to `[B, H', W', outputs]`. */
  forward(x: tf.Tensor4D, embedding: tf.Tensor2D, dropout?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const { outputs, adaptiveScale } = this.#options;
      const affine = tf.reshape(this.#affine.forward(embedding), [x.shape[0], 1, 1, -1]) as tf.Tensor4D;
      let y = this.#conv0.forwardWithoutBias(this.#norm0.forward(x));
      const bias = this.#conv0.bias!.value;
      // The norm adds the bias, and with it the embedding: no pass over the activations of their own.
      if (adaptiveScale) {
        const [scale, shift] = tf.split(affine, [outputs, outputs], 3) as [tf.Tensor4D, tf.Tensor4D];
        const offset = tf.broadcastTo(tf.reshape(bias, [1, 1, 1, outputs]), scale.shape);
        y = this.#norm1.forward(y, { scale, shift, offset });
      } else {
        y = this.#norm1.forward(y, { offset: tf.add(affine, bias) });
      }
      if (dropout && this.#options.dropout > 0) y = this.#drop(y, dropout);
      const branch = this.#conv1.forwardWithoutBias(y);
      y = this.#scaledSum(this.#block, branch, this.#skip ? this.#skip.forwardWithoutBias(x) : x, [this.#conv1, this.#skip]);
      return this.#qkv ? this.#attend(y) : y;
    });
  }

  /** (branch + identity + biases) * skipScale; `layers` are those that gave the branch and, where there is one, the identity. */
  #scaledSum(name: string, branch: tf.Tensor4D, identity: tf.Tensor4D, layers: [Conv2d, Conv2d?]): tf.Tensor4D {
    const biases = layers.flatMap((layer) => (layer?.bias ? [layer.bias.value] : []));
    const bias = biases.reduce((sum, next) => tf.add(sum, next));
    const sum = residualAdd(branch, identity, bias, this.#options.skipScale);
    if (isObserved()) {
      const [ours, theirs] = layers.map((layer) => layer?.bias?.value);
      const place = { name, block: this.#block, level: this.#options.level };
      showSum(place, ours ? tf.add(branch, ours) : branch, theirs ? tf.add(identity, theirs) : identity, sum);
    }
    return sum;
  }

  #drop(x: tf.Tensor4D, stream: RandomStream): tf.Tensor4D {
    const keep = 1 - this.#options.dropout;
    const draws = stream.uniform(x.size);
    for (let i = 0; i < draws.length; i++) draws[i] = draws[i]! < keep ? 1 / keep : 0;
    return tf.mul(x, tf.tensor4d(draws, x.shape));
  }

  /** x + proj(softmax(q.k / sqrt(C / heads)) v), scaled. */
  #attend(x: tf.Tensor4D): tf.Tensor4D {
    const mixed = attention(this.#qkv!.forward(this.#norm2!.forward(x)), { heads: this.#options.heads });
    const projected = this.#proj!.forwardWithoutBias(mixed);
    return this.#scaledSum(`${this.#block}.attention`, projected, x, [this.#proj!]);
  }
}
