/**
 * Frozen networks whose features a discriminator judges.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { FileCheck } from '../../core/container.js';
import type { RandomSource } from '../../core/contracts/random.js';
import type { DiscriminatorInputs } from '../../core/contracts/training.js';
import type { NamedTensor } from '../../core/parameter.js';
import type { Module } from '../nn/module.js';

/** One feature map. */
export interface FeatureStage {
  name: string;
  /** Height and width of the feature map, in pixels of the map. */
  resolution: number;
  channels: number;
}

/** What a feature network makes of images `[B, H, W, 3]` in [-1, 1] before it looks at them. */
export interface FeatureInput {
  /** Height and width, in pixels, to which images are resized: bilinear, half-pixel centres. */
  readonly size: number;
  /** Subtracted from images in [0, 1], by channel. */
  readonly mean: readonly number[];
  /** Divides what is left, by channel. */
  readonly std: readonly number[];
}

/** Images to feature maps, differentiable twice, with nothing to train. */
export interface FeatureNetwork {
  readonly name: string;
  /** Expected size and normalisation, which `features` sees to itself; undefined: the images as they are. */
  readonly input?: FeatureInput;
  /** Layers with random frozen values, which no published file has: a checkpoint of the discriminator holds them. */
  readonly readout?: Module | undefined;
  /** Parts of the batch that need heads of their own, cut as `groupBounds` says; undefined: one. */
  readonly groups?: number;
  readonly stages: readonly FeatureStage[];
  /** One map `[B, h, w, c]` a stage, for images `[B, H, W, C]` in [-1, 1]. */
  features(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor4D[];
  /** Its frozen values, without the readout's; undefined: it has none of its own. */
  tensors?(): NamedTensor[];
  dispose?(): void;
}

/** Knows where a feature network's weights are; reads them when a run starts. */
export interface FeatureNetworkLoader {
  readonly name: string;
  /** What it was made with, for config.json. */
  readonly description: { readonly part: string; readonly options: unknown };
  /** The network without its values: stages, size, normalisation. Allocates nothing. */
  describe(): FeatureNetwork;
  /** Looks whether the file is there and is this network's; reads no weights. Throws as `load`. Default: nothing. */
  check?(options: FileCheck): Promise<void>;
  /** The network with its published weights; the readout, where it has one, from `random`. The caller disposes it. */
  load(random: RandomSource): Promise<FeatureNetwork & { dispose(): void }>;
}

/** Where a batch of `batch` images is cut into `groups` parts of almost equal size: `groups + 1` indices. */
export function groupBounds(batch: number, groups: number): number[] {
  return Array.from({ length: groups + 1 }, (_, group) => Math.round((group * batch) / groups));
}
