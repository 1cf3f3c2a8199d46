/**
 * The parts of training: losses made of logits, discriminators, objectives, and the stages of one iteration.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { NamedTensor, Parameter } from '../parameter.js';
import type { RandomSource } from './random.js';

/** Something with weights that a checkpoint keeps. */
export interface Trainable {
  /** What an optimizer may train. */
  parameters(): Parameter[];
  /** Parameters and buffers: what a checkpoint holds. */
  tensors(): NamedTensor[];
  dispose(): void;
}

/** Judges images. Frozen feature networks inside it are no part of `tensors()`; random projections are. */
export interface Discriminator extends Trainable {
  readonly name: string;
  /**
   * One tensor of logits `[B, N]` a feature network, for images `[B, H, W, C]` in [-1, 1]. Differentiable twice.
   *
   * Every call is a training forward: spectral norms advance by one power iteration.
   */
  logits(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor2D[];
  /**
   * The logits of several batches, in order, where only the discriminator trains: no gradient reaches the images, so what
   * is frozen may look at all of them at once and keep nothing. Default: `logits` of each.
   */
  logitsOfEach?(batches: readonly JudgedImages[]): tf.Tensor2D[][];
  /** Reads files, such as the weights of feature networks; awaited once, before anything is judged, saved or restored. Default: nothing. */
  prepare?(): Promise<void>;
  /** Frozen values that `prepare` brings, without those of `tensors()`; a plan counts them. Default: none. */
  frozen?(): NamedTensor[];
}

/** A batch of images to judge. */
export interface JudgedImages extends DiscriminatorInputs {
  /** `[B, H, W, C]` in [-1, 1]. */
  images: tf.Tensor4D;
}

/** What a discriminator may use besides the images. */
export interface DiscriminatorInputs {
  /** `[B, classes]` one-hot; undefined for an unconditional set. */
  classLabels?: tf.Tensor2D | undefined;
  /** Where noise that the discriminator itself adds is drawn from. */
  random: RandomSource;
}

/** Turns logits into losses; both return one value per logit, to be reduced by the caller. */
export interface AdversarialLoss {
  readonly name: string;
  /** True where the generator's loss needs the logits of real images too. */
  readonly relativistic: boolean;
  /** `fake` and `real` `[B, N]` to `[B, N]`. */
  generator(fake: tf.Tensor2D, real?: tf.Tensor2D): tf.Tensor2D;
  discriminator(real: tf.Tensor2D, fake: tf.Tensor2D): tf.Tensor2D;
}

/** A penalty on the discriminator, run every `every`-th iteration and multiplied by `every`. */
export interface Regularizer {
  readonly name: string;
  /** What it was made with, for config.json. */
  readonly description?: { readonly part: string; readonly options: unknown };
  readonly every: number;
  /** Which images it looks at. */
  readonly on: 'real' | 'fake';
  /** Scalar; `logits` may be called once, on `images` or on something made of it. */
  penalty(images: tf.Tensor4D, logits: (images: tf.Tensor4D) => tf.Tensor2D[]): tf.Scalar;
}

/** Real images of one step, uploaded on demand. */
export interface RealImages {
  /** Number of images. */
  readonly batch: number;
  /** `[B, H, W, C]` in [-1, 1]; made anew at each call and owned by the caller's tidy. */
  images(): tf.Tensor4D;
  classLabels(): tf.Tensor2D | undefined;
}

/** What an objective sees when the generator is trained on a micro-batch. */
export interface GeneratorBatch {
  /** Generated images `[B, H, W, C]`; gradients flow through them. */
  fake: tf.Tensor4D;
  classLabels: tf.Tensor2D | undefined;
  real: RealImages;
  random: RandomSource;
}

/** One update within an iteration. */
export interface Stage {
  readonly name: string;
  /** Runs in iterations whose number is a multiple of `every`. */
  readonly every: number;
  /** Does the update; returns the losses to report by name. */
  run(step: StepContext): Record<string, number>;
}

/** What a stage sees of its iteration. */
export interface StepContext {
  /** Iterations done before this one. */
  step: number;
  /** Images seen before this one. */
  imagesSeen: number;
  batchSize: number;
  /** Factor of every learning rate in this iteration. */
  learningRateScale: number;
  /** The batch in micro-batches, in order. */
  microBatches: readonly RealImages[];
  random: RandomSource;
}

/** State that is neither a network's nor an optimizer's but must survive a resume. */
export interface CheckpointPart {
  json: unknown;
  /** Published layout. */
  tensors: { name: string; shape: readonly number[]; data: Float32Array }[];
}

/** Saves and restores itself as one part of a checkpoint. */
export interface Checkpointable {
  saveState(): CheckpointPart;
  restoreState(part: CheckpointPart): void;
}

/** How a generator is trained: its loss, and the stages that train what the loss needs. */
export interface Objective {
  readonly name: string;
  /** The generator's loss on one micro-batch, a scalar; differentiable with respect to `batch.fake`. */
  generatorLoss(batch: GeneratorBatch): tf.Scalar;
  /** Run after the generator's stage, in order. */
  readonly stages: readonly Stage[];
  /** What its checkpoint holds, by part name. */
  readonly checkpoint: Readonly<Record<string, Checkpointable>>;
  /** Number of trained values outside the generator. */
  readonly parameterCount: number;
  /** As the discriminator's: awaited once, before the first stage. An objective prepares the parts that it is made of. */
  prepare?(): Promise<void>;
  /** As the discriminator's. */
  frozen?(): NamedTensor[];
  dispose(): void;
}
