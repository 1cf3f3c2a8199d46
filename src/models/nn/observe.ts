/**
 * Looking into a network while it computes: an observer sees the output of every layer and every residual sum.
 *
 * Nothing is computed and nothing allocated where nobody observes: a layer asks one variable.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Place } from './layers.js';

/** The output of a convolution or a fully connected layer, with its bias and before the norm or the activation that follows. */
export interface LayerOutput {
  kind: 'layer';
  place: Place;
  /** `[B, H, W, C]`; of a fully connected layer `[N, C]`, where N is B, or B times the pixels in the order of the images. */
  output: tf.Tensor;
}

/** A residual sum: `output` is `branch` plus `identity`, scaled as the architecture does. All are `[B, H, W, C]`. */
export interface ResidualSum {
  kind: 'sum';
  /** Of a block its name without the prefix, such as `enc.16x16_block0`; of a block's attention that and `.attention`. */
  place: Omit<Place, 'role'>;
  /** What the block's layers give. */
  branch: tf.Tensor;
  /** The block's input, resampled and projected where the branch is. */
  identity: tf.Tensor;
  output: tf.Tensor;
}

/** What an observer is shown. Its tensors are the network's: they end with the forward pass, and nobody else disposes them. */
export type Activation = LayerOutput | ResidualSum;

/** Called as a network computes; what it makes and does not keep is freed with the pass. */
export type ActivationObserver = (activation: Activation) => void;

let observer: ActivationObserver | undefined;

/**
 * Runs `forward`, which must be synchronous, with `observe` called for every layer and residual sum in the order of computation.
 *
 * An observation inside another one is seen by the inner observer alone. An error of either passes through and ends the observation.
 */
export function observeActivations<T>(observe: ActivationObserver, forward: () => T): T {
  const outer = observer;
  observer = observe;
  try {
    return forward();
  } finally {
    observer = outer;
  }
}

/** Whether somebody observes. */
export const isObserved = (): boolean => observer !== undefined;

/** Shows what a layer gave, plus a bias that is added later. */
export function showLayer(place: Place, output: tf.Tensor, bias?: tf.Tensor): void {
  if (observer === undefined) return;
  observer({ kind: 'layer', place, output: bias ? tf.add(output, bias) : output });
}

/** Shows a residual sum. */
export function showSum(place: ResidualSum['place'], branch: tf.Tensor, identity: tf.Tensor, output: tf.Tensor): void {
  observer?.({ kind: 'sum', place, branch, identity, output });
}
