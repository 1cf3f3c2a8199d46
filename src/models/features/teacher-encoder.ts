/**
 * The teacher's own encoder as a feature network: needs no other weights.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DiscriminatorInputs } from '../../core/contracts/training.js';
import { ConfigError } from '../../core/errors.js';
import type { Backbone } from '../backbones/backbone.js';
import { edmPreconditioning, type Preconditioning } from '../preconditioning.js';
import type { FeatureNetwork, FeatureStage } from './feature-network.js';

export interface TeacherEncoderOptions {
  /** Noise level at which the teacher looks at the images; noise of that level is added first. */
  sigma: number;
  /** Encoder stages by name; default: the last block of each resolution. */
  stages?: readonly string[] | undefined;
  preconditioning?: Preconditioning;
}

/**
 * Features of the frozen teacher at one noise level: x + sigma * n, scaled by c_in, through the encoder.
 *
 * Throws `E_CONFIG` for stages that the backbone does not have.
 */
export class TeacherEncoder implements FeatureNetwork {
  readonly name: string;
  readonly stages: readonly FeatureStage[];
  readonly #backbone: Backbone;
  readonly #options: TeacherEncoderOptions;

  constructor(backbone: Backbone, options: TeacherEncoderOptions) {
    const chosen = options.stages ?? lastOfEachResolution(backbone);
    const problems = chosen.filter((name) => !backbone.stages.some((stage) => stage.name === name));
    if (problems.length > 0)
      throw new ConfigError(
        'teacher encoder',
        problems.map((name) => `stages: ${name} is no encoder stage`),
        { help: `the stages are ${backbone.stages.map(({ name }) => name).join(', ')}` },
      );
    this.name = `teacher-encoder@${options.sigma}`;
    this.stages = chosen.map((name) => backbone.stages.find((stage) => stage.name === name)!);
    this.#backbone = backbone;
    this.#options = options;
  }

  features(images: tf.Tensor4D, { classLabels, random }: DiscriminatorInputs): tf.Tensor4D[] {
    return tf.tidy(() => {
      const { sigma, preconditioning = edmPreconditioning() } = this.#options;
      const coefficients = preconditioning.coefficients(sigma);
      const noise = tf.tensor4d(random.stream(`features/${this.name}`).normal(images.size), images.shape);
      const noisy = tf.add(images, tf.mul(noise, sigma));
      const levels = tf.fill<tf.Rank.R1>([images.shape[0]], coefficients.noise);
      const names = this.stages.map(({ name }) => name);
      return this.#backbone.encode(tf.mul(noisy, coefficients.in) as tf.Tensor4D, levels, names, { classLabels });
    });
  }
}

function lastOfEachResolution(backbone: Backbone): string[] {
  const last = new Map(backbone.stages.map(({ resolution, name }) => [resolution, name]));
  return [...last.values()];
}
