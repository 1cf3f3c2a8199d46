/**
 * The teacher's own encoder as a feature network: needs no other weights.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DiscriminatorInputs } from '../../core/contracts/training.js';
import { ConfigError } from '../../core/errors.js';
import type { Backbone } from '../backbones/backbone.js';
import { edmPreconditioning, type Preconditioning } from '../preconditioning.js';
import { groupBounds, type FeatureNetwork, type FeatureStage } from './feature-network.js';

/** Options of {@link TeacherEncoder}. */
export interface TeacherEncoderOptions {
  /**
   * Noise levels at which the teacher looks at the images; noise of that level is added first. With several, the batch
   * is cut into as many parts of consecutive images, in this order, one level each: one pass whatever their number.
   */
  sigmas: readonly number[];
  /** Encoder stages by name; default: the last block of each resolution. */
  stages?: readonly string[] | undefined;
  preconditioning?: Preconditioning;
}

/**
 * Features of the frozen teacher at chosen noise levels: x + sigma * n, scaled by c_in, through the encoder.
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
    this.name = `teacher-encoder@${options.sigmas.join(',')}`;
    this.stages = chosen.map((name) => backbone.stages.find((stage) => stage.name === name)!);
    this.#backbone = backbone;
    this.#options = options;
  }

  get groups(): number {
    return this.#options.sigmas.length;
  }

  features(images: tf.Tensor4D, { classLabels, random }: DiscriminatorInputs): tf.Tensor4D[] {
    return tf.tidy(() => {
      const { sigmas, preconditioning = edmPreconditioning() } = this.#options;
      const batch = images.shape[0];
      const bounds = groupBounds(batch, sigmas.length);
      const perImage = sigmas.flatMap((sigma, group) => new Array<number>(bounds[group + 1]! - bounds[group]!).fill(sigma));
      const coefficients = perImage.map((sigma) => preconditioning.coefficients(sigma));
      const column = (values: number[]) => tf.tensor4d(values, [batch, 1, 1, 1]);
      const noise = tf.tensor4d(random.stream(`features/${this.name}`).normal(images.size), images.shape);
      const noisy = tf.add(images, tf.mul(noise, column(perImage)));
      const scaled = tf.mul(noisy, column(coefficients.map((c) => c.in))) as tf.Tensor4D;
      const levels = tf.tensor1d(coefficients.map((c) => c.noise));
      const names = this.stages.map(({ name }) => name);
      return this.#backbone.encode(scaled, levels, names, { classLabels });
    });
  }
}

function lastOfEachResolution(backbone: Backbone): string[] {
  const last = new Map(backbone.stages.map(({ resolution, name }) => [resolution, name]));
  return [...last.values()];
}
