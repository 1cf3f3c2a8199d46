/**
 * VGG16 with batch normalisation (Simonyan & Zisserman 2014, arXiv 1409.1556), torchvision's `vgg16_bn`.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureInput, FeatureStage } from './feature-network.js';
import { FrozenConvolution } from './frozen-convolution.js';
import { FEATURE_SIZE, IMAGENET, PretrainedFeatures } from './pretrained-features.js';

/** Channels of the convolutions between two poolings. */
const WIDTHS = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
] as const;

/** Where torchvision's `features` are cut: a stage ends before this index. */
const ENDS = [13, 23, 33, 43];

/** Options of {@link Vgg16Bn}. */
export interface Vgg16BnOptions {
  /** Height and width to which images are resized; a multiple of 32. Default 224. */
  size?: number;
}

type Layer = { convolution: FrozenConvolution } | 'pool';

/**
 * Four stages: features[:13], [13:23], [23:33], [33:43]; 128, 256, 512, 512 channels at 1/2, 1/4, 1/8, 1/16 of the size.
 *
 * A stage begins with the pooling and ends after a ReLU, but the last, which ends before the last pooling.
 */
export class Vgg16Bn extends PretrainedFeatures {
  readonly name = 'vgg16_bn';
  readonly stages: readonly FeatureStage[];
  readonly input: FeatureInput;
  /** Layers by stage. */
  readonly #layers: Layer[][] = ENDS.map(() => []);

  constructor({ size = FEATURE_SIZE }: Vgg16BnOptions = {}) {
    super();
    this.input = { size, ...IMAGENET };
    let index = 0;
    let inputs = 3;
    const add = (layer: Layer) => this.#layers[ENDS.findIndex((end) => index < end)]?.push(layer);
    for (const widths of WIDTHS) {
      for (const outputs of widths) {
        const names = { name: `features.${index}`, norm: { name: `features.${index + 1}`, epsilon: 1e-5 } };
        const options = { ...names, inputs, outputs, kernel: 3, bias: true, activation: 'relu' as const };
        add({ convolution: this.addFrozen(new FrozenConvolution(options)) });
        inputs = outputs;
        index += 3; // convolution, norm, ReLU
      }
      add('pool');
      index += 1;
    }
    this.stages = [128, 256, 512, 512].map((channels, stage) => ({
      name: `features.${ENDS[stage]! - 1}`,
      resolution: size / 2 ** (stage + 1),
      channels,
    }));
  }

  protected maps(images: tf.Tensor4D): tf.Tensor4D[] {
    let x = images;
    return this.#layers.map((layers) => {
      for (const layer of layers) x = layer === 'pool' ? tf.maxPool(x, 2, 2, 'valid') : layer.convolution.forward(x);
      return x;
    });
  }
}
