/**
 * EfficientNet-lite (Tan & Le 2019, arXiv 1905.11946; the lite networks have neither squeeze-and-excitation nor SiLU),
 * timm's `tf_efficientnet_lite0` to `lite4`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { residualAdd } from '../../core/autodiff/index.js';
import { Module } from '../nn/module.js';
import type { FeatureInput, FeatureStage } from './feature-network.js';
import { FrozenConvolution } from './frozen-convolution.js';
import { FEATURE_SIZE, PretrainedFeatures, type FrozenLayer } from './pretrained-features.js';

/** Factors of channels and of blocks, and the size that the network was trained at, by variant. */
const VARIANTS = {
  lite0: { width: 1, depth: 1, trainedAt: 224 },
  lite1: { width: 1, depth: 1.1, trainedAt: 240 },
  lite2: { width: 1.1, depth: 1.2, trainedAt: 260 },
  lite3: { width: 1.2, depth: 1.4, trainedAt: 300 },
  lite4: { width: 1.4, depth: 1.8, trainedAt: 380 },
} as const;

/** `lite0` to `lite4`. */
export type EfficientNetLiteVariant = keyof typeof VARIANTS;

/** timm's `blocks`: repeats, kernel, stride of the first, expansion, channels. The first and the last are never repeated more. */
const BLOCKS = [
  { repeats: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
  { repeats: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
  { repeats: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
  { repeats: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
  { repeats: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
  { repeats: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
  { repeats: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
] as const;

/** The last of timm's `blocks` in each stage; the first stage has the stem too. */
const ENDS = [1, 2, 4, 6];

const STEM = 32;
const EPSILON = 1e-3;

/** Channels are multiples of 8, to nearest, but never less than nine tenths of what was asked for. */
function roundChannels(channels: number): number {
  const rounded = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}

interface BlockOptions {
  name: string;
  inputs: number;
  outputs: number;
  kernel: number;
  stride: number;
  expansion: number;
}

/** An inverted residual block: expand (1x1), depthwise, project (1x1); the first kind of block does not expand. */
class InvertedResidual extends Module implements FrozenLayer {
  readonly #layers: FrozenConvolution[];
  readonly #last: FrozenConvolution;
  readonly #residual: boolean;

  constructor({ name, inputs, outputs, kernel, stride, expansion }: BlockOptions) {
    super();
    this.#residual = stride === 1 && inputs === outputs;
    const width = inputs * expansion;
    let norms = 0;
    const layer = (
      convolution: string,
      options: { inputs: number; outputs: number; kernel: number; activated: boolean; stride?: number },
    ) => {
      const { activated, ...rest } = options;
      return this.addChild(
        new FrozenConvolution({
          ...rest,
          name: `${name}.${convolution}`,
          norm: { name: `${name}.bn${++norms}`, epsilon: EPSILON },
          padding: 'same',
          depthwise: convolution === 'conv_dw',
          activation: activated ? 'relu6' : 'none',
        }),
      );
    };
    const expand = expansion > 1 ? [layer('conv_pw', { inputs, outputs: width, kernel: 1, activated: true })] : [];
    const depthwise = layer('conv_dw', { inputs: width, outputs: width, kernel, stride, activated: true });
    this.#layers = [...expand, depthwise];
    this.#last = layer(expansion > 1 ? 'conv_pwl' : 'conv_pw', { inputs: width, outputs, kernel: 1, activated: false });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const y = this.#layers.reduce((h, layer) => layer.forward(h), x);
      return this.#residual ? residualAdd(this.#last.forwardWithoutBias(y), x, this.#last.bias) : this.#last.forward(y);
    });
  }

  prepare(): void {
    for (const layer of [...this.#layers, this.#last]) layer.prepare();
  }

  release(): void {
    for (const layer of [...this.#layers, this.#last]) layer.release();
  }

  override dispose(): void {
    for (const layer of [...this.#layers, this.#last]) layer.dispose();
  }
}

/** Options of {@link EfficientNetLite}. */
export interface EfficientNetLiteOptions {
  /** Default `lite0`, the method's. */
  variant?: EfficientNetLiteVariant;
  /** Height and width to which images are resized; a multiple of 32. Default 224, the method's, for every variant. */
  size?: number;
}

/**
 * Four stages at 1/4, 1/8, 1/16, 1/32 of the size: the stem with blocks 0 and 1, block 2, blocks 3 and 4, blocks 5 and 6 (in
 * timm's numbers, which count groups of blocks; there are no further ones). 24, 40, 112, 320 channels for `lite0`.
 *
 * TensorFlow's 'same' padding, ReLU6, batch normalisation with epsilon 1e-3; images in [-1, 1] are what it expects.
 */
export class EfficientNetLite extends PretrainedFeatures {
  readonly name: string;
  readonly stages: readonly FeatureStage[];
  readonly input: FeatureInput;
  readonly #stem: FrozenConvolution;
  /** Blocks by stage. */
  readonly #blocks: InvertedResidual[][] = ENDS.map(() => []);

  constructor({ variant = 'lite0', size = FEATURE_SIZE }: EfficientNetLiteOptions = {}) {
    super();
    const { width, depth } = VARIANTS[variant];
    this.name = `tf_efficientnet_${variant}`;
    this.input = { size, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
    this.#stem = this.addFrozen(
      new FrozenConvolution({
        name: 'conv_stem',
        norm: { name: 'bn1', epsilon: EPSILON },
        inputs: 3,
        outputs: STEM,
        kernel: 3,
        stride: 2,
        padding: 'same',
        activation: 'relu6',
      }),
    );
    let [inputs, resolution] = [STEM, size / 2];
    const stages: FeatureStage[] = [];
    BLOCKS.forEach(({ repeats, channels, stride, ...block }, group) => {
      const outputs = roundChannels(channels * width);
      const count = group === 0 || group === BLOCKS.length - 1 ? repeats : Math.ceil(repeats * depth);
      const stage = ENDS.findIndex((end) => group <= end);
      for (let i = 0; i < count; i++) {
        const options = { ...block, name: `blocks.${group}.${i}`, inputs, outputs, stride: i === 0 ? stride : 1 };
        this.#blocks[stage]!.push(this.addFrozen(new InvertedResidual(options)));
        inputs = outputs;
      }
      resolution /= stride;
      stages[stage] = { name: `blocks.${group}`, resolution, channels: outputs };
    });
    this.stages = stages;
  }

  /** Height and width of the images that the published weights were trained on. */
  static trainedAt(variant: EfficientNetLiteVariant): number {
    return VARIANTS[variant].trainedAt;
  }

  protected maps(images: tf.Tensor4D): tf.Tensor4D[] {
    let x = this.#stem.forward(images);
    return this.#blocks.map((blocks) => (x = blocks.reduce((h, block) => block.forward(h), x)));
  }
}
