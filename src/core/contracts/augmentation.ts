/**
 * Augmentation of images in front of a discriminator, or of a denoiser in training.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { RandomSource } from './random.js';
import type { Checkpointable } from './training.js';

/** What an augmentation may use besides the images. */
export interface AugmentationInputs {
  /** Where its draws come from. */
  random: RandomSource;
  /** Which images these are: each kind has streams of its own, so that cutting a batch into micro-batches changes no draw. */
  on: 'real' | 'fake';
  /** In place of the augmentation's own; of those whose strength is one number. */
  probability?: number;
}

/** Changes images at random, each by draws of its own. */
export interface Augmentation {
  readonly name: string;
  /** What it was made with, for config.json. */
  readonly description?: { readonly part: string; readonly options: unknown };
  /** `images` `[B, H, W, C]` in [-1, 1] to images of that shape, which may leave the range; differentiable in them to any order. */
  apply(images: tf.Tensor4D, inputs: AugmentationInputs): tf.Tensor4D;
  /** Called after each update of the discriminator; returns values to report by name. */
  observe?(seen: DiscriminatorObservation): Record<string, number>;
  /** What of it changes in training. */
  readonly checkpoint?: Checkpointable;
}

/** What an augmentation is told of an update of the discriminator. */
export interface DiscriminatorObservation {
  /** Iterations done before this one. */
  step: number;
  /** Images of the iteration. */
  batchSize: number;
  /** E[sign(D(real))], -1 to 1: how far the discriminator overfits (Karras et al. 2020, arXiv 2006.06676, r_t). */
  realSign: number;
}

/** An augmentation whose strength is one number. */
export interface AdjustableAugmentation extends Augmentation {
  /** Multiplies the probability of each of its transforms, unless the inputs say otherwise; 0 leaves every image as it is. */
  readonly probability: number;
}

/** An augmentation that says what it did to each image, for a network that is conditioned on it. */
export interface LabelledAugmentation extends Augmentation {
  /** Width of a label. */
  readonly labelDimension: number;
  /** As `apply`, with `labels` `[B, labelDimension]`; a transform that leaves an image as it is labels it with zeros. */
  applyWithLabels(images: tf.Tensor4D, inputs: AugmentationInputs): { images: tf.Tensor4D; labels: tf.Tensor2D };
}
