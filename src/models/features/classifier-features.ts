/**
 * A classifier of one's own as feature network: for images that no published network knows.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import type { NamedTensor } from '../../core/parameter.js';
import type { FeatureInput, FeatureNetwork, FeatureNetworkLoader, FeatureStage } from './feature-network.js';
import { ImageClassifier } from './image-classifier.js';
import { prepareImages } from './pretrained-features.js';

const schema = z.strictObject({
  /** Height and width in pixels of the images that the classifier was trained on; others are resized to it. */
  size: z.int().positive(),
  /** The finest level that is judged; 0 has maps as large as the images. */
  finest: z.int().min(0).default(0),
});

/** Options of `classifierFeatures`. @interface */
export type ClassifierFeaturesOptions = z.input<typeof schema>;

/** The levels of a classifier from `finest` on, as stages `levels.0`, `levels.1`, … It owns the classifier. */
export class ClassifierFeatures implements FeatureNetwork {
  readonly name: string;
  readonly input: FeatureInput;
  readonly stages: readonly FeatureStage[];
  readonly #classifier: ImageClassifier;
  readonly #finest: number;

  /** Throws `E_CONFIG` where the classifier has no such level, or `size` cannot be halved as often as it does. */
  constructor(classifier: ImageClassifier, options: ClassifierFeaturesOptions) {
    const { size, finest } = parseOptions(schema, options, 'classifierFeatures');
    const { channels, widths } = classifier.config;
    const divisor = 2 ** (widths.length - 1);
    const problems: string[] = [];
    if (size % divisor !== 0) problems.push(`size: expected a multiple of ${divisor} for ${widths.length} levels, got ${size}`);
    if (finest >= widths.length) problems.push(`finest: expected a level below ${widths.length}, got ${finest}`);
    if (problems.length > 0)
      throw new ConfigError('classifierFeatures', problems, { help: `${classifier.name} halves its maps between ${widths.length} levels` });
    this.name = classifier.name;
    // Mean and deviation that leave images in [-1, 1] as they are, which is how classifiers are trained here.
    const half = Array<number>(channels).fill(0.5);
    this.input = { size, mean: half, std: half };
    this.stages = widths.map((width, level) => ({ name: `levels.${level}`, resolution: size / 2 ** level, channels: width })).slice(finest);
    this.#classifier = classifier;
    this.#finest = finest;
  }

  features(images: tf.Tensor4D): tf.Tensor4D[] {
    return this.#classifier.maps(prepareImages(images, this.input)).slice(this.#finest);
  }

  tensors(): NamedTensor[] {
    return this.#classifier.tensors();
  }

  dispose(): void {
    this.#classifier.dispose();
  }
}

/**
 * The levels of `classifier` as feature network of a run, which works on a copy: the classifier stays the caller's.
 *
 * Throws `E_CONFIG` as {@link ClassifierFeatures}.
 *
 * ```ts
 * const classifier = await loadImageClassifier('runs/projected/features.safetensors');
 * const discriminator = projected([classifierFeatures(classifier, { size: 32, finest: 1 })], { nominalSize: 32 });
 * ```
 */
export function classifierFeatures(classifier: ImageClassifier, options: ClassifierFeaturesOptions): FeatureNetworkLoader {
  const { name, config } = classifier;
  const parsed = parseOptions(schema, options, 'classifierFeatures');
  const describe = () => new ClassifierFeatures(new ImageClassifier(config, name), parsed);
  describe(); // Wrong options are found now.
  return {
    name,
    description: { part: 'classifierFeatures', options: { name, config, ...parsed } },
    describe,
    load: () => Promise.resolve(new ClassifierFeatures(new ImageClassifier(config, name).copyFrom(classifier), parsed)),
  };
}
