/**
 * A small convolutional classifier whose last hidden layer serves as features for the Fréchet distance on data sets that
 * no published network knows. The package ships one that was trained on `shapes`.
 */
import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureExtractor } from '../../core/contracts/metric.js';
import { readSafetensors, writeSafetensors } from '../../core/safetensors.js';
import { WeightsError } from '../../core/errors.js';
import { toFloat } from '../../data/images.js';
import { kaimingUniform, zeros } from '../nn/initializers.js';
import { Conv2d, Linear } from '../nn/layers.js';
import { Module } from '../nn/module.js';
import { weightsOf } from '../nn/weights.js';

/** The architecture of an {@link ImageClassifier}; strict JSON. */
export interface ImageClassifierConfig {
  channels: number;
  classes: number;
  /** Channels of the convolutions; each but the first is preceded by a 2x2 mean. */
  widths: readonly number[];
  /** Length of a feature row. */
  features: number;
}

const initialization = { weight: (fanIn: number) => kaimingUniform(fanIn, Math.SQRT2), bias: () => zeros };

/** Per width two 3x3 convolutions with ReLU, 2x2 means between; then the mean over the image, a hidden layer, and the classes. */
export class ImageClassifier extends Module implements FeatureExtractor {
  readonly name: string;
  readonly dimensions: number;
  readonly classes: number;
  readonly #levels: [Conv2d, Conv2d][];
  readonly #hidden: Linear;
  readonly #output: Linear;

  constructor(
    readonly config: ImageClassifierConfig,
    name = 'image-classifier',
  ) {
    super();
    this.name = name;
    this.dimensions = config.features;
    this.classes = config.classes;
    const place = (layer: string) => ({ name: layer, role: 'feature' as const });
    const convolution = (layer: string, inputs: number, outputs: number) =>
      this.addChild(new Conv2d(place(layer), inputs, outputs, initialization, { kernel: 3 }));
    this.#levels = config.widths.map((width, level) => [
      convolution(`levels.${level}.conv0`, config.widths[level - 1] ?? config.channels, width),
      convolution(`levels.${level}.conv1`, width, width),
    ]);
    this.#hidden = this.addChild(new Linear(place('hidden'), config.widths.at(-1)!, config.features, initialization));
    this.#output = this.addChild(new Linear(place('output'), config.features, config.classes, initialization));
  }

  /** `images` `[B, H, W, C]` in [-1, 1] to the map of each level, `[B, H / 2^i, W / 2^i, widths[i]]`. */
  maps(images: tf.Tensor4D): tf.Tensor4D[] {
    return tf.tidy(() => {
      let y = images;
      return this.#levels.map(([conv0, conv1], level) => {
        if (level > 0) y = tf.avgPool(y, 2, 2, 'valid');
        return (y = tf.relu(conv1.forward(tf.relu(conv0.forward(y)))));
      });
    });
  }

  /** `images` `[B, H, W, C]` in [-1, 1] to features `[B, features]` and logits `[B, classes]`. */
  forward(images: tf.Tensor4D): { features: tf.Tensor2D; logits: tf.Tensor2D } {
    return tf.tidy(() => {
      const features = tf.relu(this.#hidden.forward(tf.mean(this.maps(images).at(-1)!, [1, 2])));
      return { features, logits: this.#output.forward(features) };
    });
  }

  extract(images: Uint8Array, shape: readonly [number, number, number, number]): Promise<Float32Array> {
    const features = tf.tidy(() => this.forward(tf.tensor4d(toFloat(images), [...shape])).features);
    return features.data<'float32'>().finally(() => features.dispose());
  }

  async extractWithProbabilities(
    images: Uint8Array,
    shape: readonly [number, number, number, number],
  ): Promise<{ features: Float32Array; probabilities: Float32Array }> {
    const [features, probabilities] = tf.tidy(() => {
      const result = this.forward(tf.tensor4d(toFloat(images), [...shape]));
      return [result.features, tf.softmax(result.logits)] as const;
    });
    try {
      return { features: await features.data<'float32'>(), probabilities: await probabilities.data<'float32'>() };
    } finally {
      features.dispose();
      probabilities.dispose();
    }
  }

  /** SHA-256 of configuration and weights as they are now. */
  identity(): string {
    const hash = createHash('sha256').update(JSON.stringify(this.config));
    for (const tensor of this.tensors()) {
      const values = tensor.read();
      hash.update(tensor.name).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
    return `sha256:${hash.digest('hex')}`;
  }

  /**
   * Multiplies the features by `factor` and divides the output layer by it: the classes stay what they were.
   *
   * With features of unit total variance times 100, a Fréchet distance of 100 is about that of a single repeated image.
   */
  scaleFeatures(factor: number): void {
    for (const parameter of this.#hidden.parameters()) parameter.assign(tf.mul(parameter.value, factor));
    this.#output.weight.assign(tf.div(this.#output.weight.value, factor));
  }

  /** Writes weights and configuration as safetensors. */
  async save(path: string, metadata: Record<string, string> = {}): Promise<void> {
    await writeSafetensors(
      path,
      this.tensors().map((tensor) => ({ name: tensor.name, shape: tensor.shape, data: () => tensor.read() })),
      { config: JSON.stringify(this.config), name: this.name, ...metadata },
    );
  }
}

/** Loads what `ImageClassifier.save` wrote. Throws as `readSafetensors`, and `E_WEIGHTS_UNKNOWN` for other files. */
export async function loadImageClassifier(path: string): Promise<ImageClassifier> {
  const file = await readSafetensors(path);
  const { config, name } = file.metadata;
  if (config === undefined)
    throw new WeightsError('E_WEIGHTS_UNKNOWN', `${path}: expected a classifier with its configuration in the metadata, found none`, {
      help: 'write it with ImageClassifier.save()',
    });
  const classifier = new ImageClassifier(JSON.parse(config) as ImageClassifierConfig, name);
  await classifier.load(weightsOf(file, path));
  return classifier;
}
