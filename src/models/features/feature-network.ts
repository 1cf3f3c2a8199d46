/**
 * Frozen networks whose features a discriminator judges.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { DiscriminatorInputs } from '../../core/contracts/training.js';

/** One feature map. */
export interface FeatureStage {
  name: string;
  /** Height and width of the feature map, in pixels of the map. */
  resolution: number;
  channels: number;
}

/** Images to feature maps, differentiable twice, with nothing to train. */
export interface FeatureNetwork {
  readonly name: string;
  /** Parts of the batch that need heads of their own, cut as `groupBounds` says; undefined: one. */
  readonly groups?: number;
  readonly stages: readonly FeatureStage[];
  /** One map `[B, h, w, c]` a stage, for images `[B, H, W, C]` in [-1, 1]. */
  features(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor4D[];
}

/** Where a batch of `batch` images is cut into `groups` parts of almost equal size: `groups + 1` indices. */
export function groupBounds(batch: number, groups: number): number[] {
  return Array.from({ length: groups + 1 }, (_, group) => Math.round((group * batch) / groups));
}
