/**
 * DeiT, the distilled vision transformer (Touvron et al. 2020, arXiv 2012.12877), timm's
 * `deit_{tiny,small,base}_distilled_patch16_224`, with the random readout of Projected GAN.
 */
import * as tf from '@tensorflow/tfjs-core';
import { gelu, layerNorm, residualAdd } from '../../core/autodiff/index.js';
import { linearLayout, type NamedTensor } from '../../core/parameter.js';
import { normal, ones, zeros } from '../nn/initializers.js';
import { Module, type Initializer } from '../nn/module.js';
import type { FeatureInput, FeatureStage } from './feature-network.js';
import { FrozenConvolution } from './frozen-convolution.js';
import { Derived, FEATURE_SIZE, IMAGENET, PretrainedFeatures, type FrozenLayer } from './pretrained-features.js';
import { READOUT_SCALES, TokenReadout } from './token-readout.js';

/** Length of a token and number of attention heads, by variant. */
const VARIANTS = {
  tiny: { width: 192, heads: 3 },
  small: { width: 384, heads: 6 },
  base: { width: 768, heads: 12 },
} as const;

/** `tiny`, `small` or `base`. */
export type DeitVariant = keyof typeof VARIANTS;

const PATCH = 16;
/** Tokens on a side of the image. */
const GRID = FEATURE_SIZE / PATCH;
/** The class token and the distillation token. */
const SPECIAL = 2;
const DEPTH = 12;
/** Blocks whose tokens make the stages. */
const STAGES = [2, 5, 8, 11];
const EPSILON = 1e-6;

/** Published names, each with its initializer; `linear` is `[out, in]`. */
interface LinearTensors {
  weight: NamedTensor;
  bias: NamedTensor;
}

/** A block: x + attention(norm1(x)), then x + mlp(norm2(x)). Scale and shift of the norms are folded into the layers after them. */
class TransformerBlock extends Module implements FrozenLayer {
  readonly #heads: number;
  readonly #width: number;
  readonly #norms: readonly [LinearTensors, LinearTensors];
  readonly #qkv: LinearTensors;
  readonly #proj: LinearTensors;
  readonly #fc1: LinearTensors;
  readonly #fc2: LinearTensors;
  readonly #derived = new Derived<'q' | 'k' | 'v' | 'qBias' | 'kBias' | 'vBias' | 'fc1' | 'fc1Bias'>();

  constructor(name: string, width: number, heads: number) {
    super();
    [this.#width, this.#heads] = [width, heads];
    const pair = (layer: string, shape: readonly number[], initializer: Initializer): LinearTensors => ({
      weight: this.addBuffer(`${name}.${layer}.weight`, shape, initializer, shape.length === 2 ? linearLayout(shape) : undefined),
      bias: this.addBuffer(`${name}.${layer}.bias`, [shape[0]!], zeros),
    });
    const linear = (layer: string, inputs: number, outputs: number) => pair(layer, [outputs, inputs], normal(Math.sqrt(1 / inputs)));
    this.#norms = [pair('norm1', [width], ones), pair('norm2', [width], ones)];
    this.#qkv = linear('attn.qkv', width, 3 * width);
    this.#proj = linear('attn.proj', width, width);
    this.#fc1 = linear('mlp.fc1', width, 4 * width);
    this.#fc2 = linear('mlp.fc2', 4 * width, width);
  }

  /** Tokens `[B, N, width]` to tokens. */
  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const h = this.#add(x, this.#attend(layerNorm(x, EPSILON)), this.#proj);
      const { fc1, fc1Bias } = this.#weights();
      const hidden = gelu(tf.add(tf.matMul(rows(layerNorm(h, EPSILON)), fc1 as tf.Tensor2D), fc1Bias));
      return this.#add(h, hidden, this.#fc2);
    });
  }

  prepare(): void {
    this.#weights();
  }

  override dispose(): void {
    super.dispose();
    this.#derived.dispose();
  }

  /** `x + y weight + bias`. */
  #add(x: tf.Tensor3D, y: tf.Tensor, { weight, bias }: LinearTensors): tf.Tensor3D {
    const projected = tf.matMul(y as tf.Tensor2D, weight.value as tf.Tensor2D);
    return residualAdd(tf.reshape(projected, x.shape), x, bias.value);
  }

  /** What attention gathers for each token, `[B * N, width]`. */
  #attend(x: tf.Tensor3D): tf.Tensor {
    const [batch, tokens] = x.shape;
    const [heads, size] = [this.#heads, this.#width / this.#heads];
    const { q, k, v, qBias, kBias, vBias } = this.#weights();
    const split = (weight: tf.Tensor, bias: tf.Tensor) => {
      const y = tf.add(tf.matMul(rows(x), weight as tf.Tensor2D), bias);
      return tf.transpose(tf.reshape(y, [batch, tokens, heads, size]), [0, 2, 1, 3]);
    };
    const attention = tf.softmax(tf.matMul(split(q, qBias), split(k, kBias), false, true));
    return tf.reshape(tf.transpose(tf.matMul(attention, split(v, vBias)), [0, 2, 1, 3]), [batch * tokens, this.#width]);
  }

  /** norm(x) scale + shift, times W, plus bias, is norm(x) (diag(scale) W) + (shift W + bias); attention's 1/sqrt(size) goes into q. */
  #weights() {
    const { weight: qkv, bias: qkvBias } = this.#qkv;
    const [norm1, norm2] = this.#norms;
    const tensors = [qkv, qkvBias, norm1.weight, norm1.bias, norm2.weight, norm2.bias, this.#fc1.weight, this.#fc1.bias];
    return this.#derived.of(
      tensors.map((tensor) => tensor.value),
      () => {
        const fold = (norm: LinearTensors, { weight, bias }: LinearTensors) => ({
          weight: tf.mul(tf.expandDims(norm.weight.value, 1), weight.value),
          bias: tf.add(
            tf.squeeze(tf.matMul(tf.expandDims(norm.bias.value, 0) as tf.Tensor2D, weight.value as tf.Tensor2D), [0]),
            bias.value,
          ),
        });
        const all = fold(norm1, this.#qkv);
        const [q, k, v] = tf.split(all.weight, 3, 1) as [tf.Tensor, tf.Tensor, tf.Tensor];
        const [qBias, kBias, vBias] = tf.split(all.bias, 3) as [tf.Tensor, tf.Tensor, tf.Tensor];
        const scale = Math.sqrt(this.#heads / this.#width);
        const { weight: fc1, bias: fc1Bias } = fold(norm2, this.#fc1);
        return { q: tf.mul(q, scale), k, v, qBias: tf.mul(qBias, scale), kBias, vBias, fc1, fc1Bias };
      },
    );
  }
}

/** `[B, N, C]` as a matrix `[B * N, C]`. */
const rows = (x: tf.Tensor3D): tf.Tensor2D => tf.reshape(x, [-1, x.shape[2]]);

/** Options of {@link Deit}. */
export interface DeitOptions {
  /** Default `base`, the method's. */
  variant?: DeitVariant;
  /** Channels of the readout's four maps. Default 96, 192, 384, 768. */
  channels?: readonly [number, number, number, number];
}

/**
 * Four stages of 96, 192, 384, 768 channels at 56, 28, 14, 7 pixels: the tokens after blocks 2, 5, 8 and 11 as a map of
 * 14x14, through a random frozen readout. Images are resized to 224 pixels; positions are embedded for that size only.
 */
export class Deit extends PretrainedFeatures {
  readonly name: string;
  readonly stages: readonly FeatureStage[];
  readonly input: FeatureInput = { size: FEATURE_SIZE, ...IMAGENET };
  override readonly readout: TokenReadout;
  readonly #tokens: { cls: NamedTensor; dist: NamedTensor; positions: NamedTensor };
  readonly #patches: FrozenConvolution;
  readonly #blocks: TransformerBlock[];
  readonly #embedding = new Derived<'special' | 'patches'>();

  constructor({ variant = 'base', channels = [96, 192, 384, 768] }: DeitOptions = {}) {
    super();
    const { width, heads } = VARIANTS[variant];
    this.name = `deit_${variant}_distilled_patch16_224`;
    const small = normal(0.02);
    this.#tokens = {
      cls: this.addBuffer('cls_token', [1, 1, width], small),
      dist: this.addBuffer('dist_token', [1, 1, width], small),
      positions: this.addBuffer('pos_embed', [1, SPECIAL + GRID ** 2, width], small),
    };
    const patch = { name: 'patch_embed.proj', inputs: 3, outputs: width, kernel: PATCH, stride: PATCH, padding: 0, bias: true };
    this.#patches = this.addFrozen(new FrozenConvolution(patch));
    this.#blocks = Array.from({ length: DEPTH }, (_, i) => this.addFrozen(new TransformerBlock(`blocks.${i}`, width, heads)));
    this.readout = new TokenReadout(width, channels);
    this.stages = STAGES.map((block, stage) => ({
      name: `blocks.${block}`,
      resolution: GRID * READOUT_SCALES[stage]!,
      channels: channels[stage]!,
    }));
  }

  protected maps(images: tf.Tensor4D): tf.Tensor4D[] {
    const [batch] = images.shape;
    const { special, patches } = this.#embed();
    const map = this.#patches.forwardWithoutBias(images);
    const embedded = tf.add(tf.reshape(map, [batch, GRID ** 2, map.shape[3]]), patches);
    let x = tf.concat([tf.tile(special, [batch, 1, 1]), embedded], 1) as tf.Tensor3D;
    const stages: tf.Tensor4D[] = [];
    this.#blocks.forEach((block, i) => {
      x = block.forward(x);
      const stage = STAGES.indexOf(i);
      if (stage >= 0) {
        const tokens = tf.slice(x, [0, SPECIAL, 0], [batch, GRID ** 2, x.shape[2]]);
        stages.push(this.readout.forward(tf.reshape(tokens, [batch, GRID, GRID, x.shape[2]]), stage));
      }
    });
    return stages;
  }

  protected override prepare(): void {
    super.prepare();
    this.#embed();
  }

  override dispose(): void {
    super.dispose();
    this.#embedding.dispose();
  }

  /** Both special tokens with their positions, and what is added to the patches: their positions and the bias. */
  #embed() {
    const { cls, dist, positions } = this.#tokens;
    return this.#embedding.of([cls.value, dist.value, positions.value, this.#patches.bias], () => {
      const [first, rest] = tf.split(positions.value, [SPECIAL, GRID ** 2], 1) as [tf.Tensor, tf.Tensor];
      return {
        special: tf.add(tf.concat([cls.value, dist.value], 1), first),
        patches: tf.add(rest, this.#patches.bias),
      };
    });
  }
}
