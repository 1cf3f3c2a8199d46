/**
 * Vision transformers (Dosovitskiy et al. 2020, arXiv 2010.11929) as image encoders: the class token after the last normalisation.
 */
import * as tf from '@tensorflow/tfjs-core';
import { layerNorm } from '../../core/autodiff/index.js';
import { linearLayout, type NamedTensor } from '../../core/parameter.js';
import { FrozenConvolution } from '../features/frozen-convolution.js';
import { Derived } from '../features/pretrained-features.js';
import { TransformerBlock } from '../features/transformer-block.js';
import { normal, ones, zeros } from '../nn/initializers.js';
import { Module } from '../nn/module.js';
import { alongAxes } from '../nn/resample.js';

/** Architecture of {@link VisionTransformer}. */
export interface VisionTransformerConfig {
  /** Height and width in pixels of the images. */
  size: number;
  /** Height and width in pixels of a patch. */
  patch: number;
  /** Length of a token. */
  width: number;
  depth: number;
  heads: number;
  /** Of every layer normalisation. */
  epsilon: number;
  activation: 'gelu' | 'quick-gelu';
  /** Whether what the blocks add is scaled by channel. */
  layerScale: boolean;
  /** Whether the patches' convolution has a bias. */
  patchBias: boolean;
  /** Whether tokens are normalised before the first block. */
  preNorm: boolean;
  /** Positions on a side that the file embeds; more or fewer than the image has patches: they are interpolated. Default: as many. */
  positions?: number;
  /** Dimensions that the class token is projected to; undefined: it is not. */
  projection?: number;
}

/**
 * What DINOv2's published code adds to the number of patches before it divides by that of the positions: the positions are read
 * 0.1 patches denser than they would be.
 */
const INTERPOLATE_OFFSET = 0.1;

/** Keys' cubic (1981) with a = -3/4, PyTorch's. */
function cubic(at: number): number {
  const a = -0.75;
  const x = Math.abs(at);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/**
 * The matrix `[outputs, size]` that interpolates one axis by a cubic, row by row, as PyTorch's `interpolate` of mode `bicubic` with
 * `scale_factor` does: output o reads position (o + 1/2) / factor - 1/2; beyond the border its value is repeated; no antialiasing.
 */
export function bicubicMatrix(size: number, outputs: number, factor: number): { matrix: Float32Array; outputs: number } {
  const matrix = new Float32Array(outputs * size);
  const scale = Math.fround(1 / factor);
  for (let output = 0; output < outputs; output++) {
    const at = Math.fround(scale * (output + 0.5) - 0.5);
    const left = Math.floor(at);
    for (let tap = left - 1; tap <= left + 2; tap++) matrix[output * size + Math.min(size - 1, Math.max(0, tap))]! += cubic(at - tap);
  }
  return { matrix, outputs };
}

interface Norm {
  weight: NamedTensor;
  bias: NamedTensor;
}

/** A frozen encoder of images `[B, size, size, 3]`, normalised; its tensors have timm's names. */
export class VisionTransformer extends Module {
  readonly #config: VisionTransformerConfig;
  readonly #grid: number;
  readonly #cls: NamedTensor;
  readonly #positions: NamedTensor;
  readonly #patches: FrozenConvolution;
  readonly #preNorm: Norm | undefined;
  readonly #blocks: TransformerBlock[];
  readonly #norm: Norm;
  readonly #projection: NamedTensor | undefined;
  readonly #embedding = new Derived<'cls' | 'patches'>();

  constructor(config: VisionTransformerConfig) {
    super();
    const { size, patch, width, depth, heads, epsilon, activation, layerScale, patchBias: bias, projection } = config;
    this.#config = config;
    this.#grid = size / patch;
    const positions = config.positions ?? this.#grid;
    this.#cls = this.addBuffer('cls_token', [1, 1, width], normal(0.02));
    this.#positions = this.addBuffer('pos_embed', [1, 1 + positions ** 2, width], normal(0.02));
    const convolution = { name: 'patch_embed.proj', inputs: 3, outputs: width, kernel: patch, stride: patch, padding: 0, bias };
    this.#patches = this.addChild(new FrozenConvolution(convolution));
    const norm = (name: string): Norm => ({
      weight: this.addBuffer(`${name}.weight`, [width], ones),
      bias: this.addBuffer(`${name}.bias`, [width], zeros),
    });
    if (config.preNorm) this.#preNorm = norm('norm_pre');
    this.#blocks = Array.from({ length: depth }, (_, i) =>
      this.addChild(new TransformerBlock({ name: `blocks.${i}`, width, heads, epsilon, activation, layerScale })),
    );
    this.#norm = norm('norm');
    if (projection !== undefined) {
      const shape = [projection, width];
      this.#projection = this.addBuffer('head.weight', shape, normal(Math.sqrt(1 / width)), linearLayout(shape));
    }
  }

  /** `[B, width]`, or `[B, projection]`. */
  features(images: tf.Tensor4D): tf.Tensor2D {
    return tf.tidy(() => {
      const tokens = this.#blocks.reduce((x, block) => {
        const y = block.forward(x);
        x.dispose();
        return y;
      }, this.#embed(images));
      const [batch, , width] = tokens.shape;
      const cls = tf.reshape(tf.slice(tokens, [0, 0, 0], [batch, 1, width]), [batch, width]) as tf.Tensor2D;
      const features = this.#normalize(cls, this.#norm);
      return this.#projection ? tf.matMul(features, this.#projection.value as tf.Tensor2D) : features;
    });
  }

  /** Frees the published tensors that others were derived from. */
  release(): void {
    this.#positioned();
    for (const tensor of [this.#cls, this.#positions]) tensor.dispose();
    this.#patches.release();
    for (const block of this.#blocks) block.release();
  }

  override dispose(): void {
    super.dispose();
    this.#patches.dispose();
    for (const block of this.#blocks) block.dispose();
    this.#embedding.dispose();
  }

  #normalize<T extends tf.Tensor>(x: T, { weight, bias }: Norm): T {
    return tf.add(tf.mul(layerNorm(x, this.#config.epsilon), weight.value), bias.value);
  }

  /** The class token and the patches with their positions, `[B, 1 + patches, width]`. */
  #embed(images: tf.Tensor4D): tf.Tensor3D {
    return tf.tidy(() => {
      const { cls, patches } = this.#positioned();
      const [batch] = images.shape;
      const map = this.#patches.forwardWithoutBias(images);
      const embedded = tf.add(tf.reshape(map, [batch, this.#grid ** 2, map.shape[3]]), patches);
      const tokens = tf.concat([tf.tile(cls, [batch, 1, 1]), embedded], 1) as tf.Tensor3D;
      return this.#preNorm ? this.#normalize(tokens, this.#preNorm) : tokens;
    });
  }

  /** The class token with its position, and what is added to the patches: their positions and the bias. */
  #positioned() {
    return this.#embedding.of([this.#cls, this.#positions, ...this.#patches.tensors()], () => {
      const { width, positions: stored = this.#grid } = this.#config;
      const [first, rest] = tf.split(this.#positions.value, [1, stored ** 2], 1) as [tf.Tensor, tf.Tensor];
      const factor = (this.#grid + INTERPOLATE_OFFSET) / stored;
      const map = tf.reshape(rest, [1, stored, stored, width]) as tf.Tensor4D;
      const resized = stored === this.#grid ? map : alongAxes(map, (size) => bicubicMatrix(size, this.#grid, factor));
      const positions = tf.reshape(resized, [1, this.#grid ** 2, width]);
      return { cls: tf.add(this.#cls.value, first), patches: tf.add(positions, this.#patches.bias) };
    });
  }
}
