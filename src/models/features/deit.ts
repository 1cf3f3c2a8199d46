/**
 * DeiT, the distilled vision transformer (Touvron et al. 2020, arXiv 2012.12877), timm's
 * `deit_{tiny,small,base}_distilled_patch16_224`, with the random readout of Projected GAN.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { NamedTensor } from '../../core/parameter.js';
import { normal } from '../nn/initializers.js';
import type { FeatureInput, FeatureStage } from './feature-network.js';
import { FrozenConvolution } from './frozen-convolution.js';
import { Derived, FEATURE_SIZE, IMAGENET, PretrainedFeatures } from './pretrained-features.js';
import { READOUT_SCALES, TokenReadout } from './token-readout.js';
import { TransformerBlock } from './transformer-block.js';

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
    this.#blocks = Array.from({ length: DEPTH }, (_, i) =>
      this.addFrozen(new TransformerBlock({ name: `blocks.${i}`, width, heads, epsilon: EPSILON })),
    );
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
    this.#embed();
    super.prepare();
    if (this.light) for (const token of Object.values(this.#tokens)) token.dispose();
  }

  override dispose(): void {
    super.dispose();
    this.#embedding.dispose();
  }

  /** Both special tokens with their positions, and what is added to the patches: their positions and the bias. */
  #embed() {
    const { cls, dist, positions } = this.#tokens;
    return this.#embedding.of([cls, dist, positions, ...this.#patches.tensors()], () => {
      const [first, rest] = tf.split(positions.value, [SPECIAL, GRID ** 2], 1) as [tf.Tensor, tf.Tensor];
      return {
        special: tf.add(tf.concat([cls.value, dist.value], 1), first),
        patches: tf.add(rest, this.#patches.bias),
      };
    });
  }
}
