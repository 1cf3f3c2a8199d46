/**
 * Batch normalisation with the batch's own statistics, as discriminator heads train with it.
 */
import * as tf from '@tensorflow/tfjs-core';
import { batchNorm, stopGradient } from '../../core/autodiff/index.js';
import { movingAverages } from '../../core/moving-average.js';
import type { NamedTensor, Parameter } from '../../core/parameter.js';
import { ones, zeros } from './initializers.js';
import type { Place } from './layers.js';
import { Module } from './module.js';

const EPSILON = 1e-5;
const MOMENTUM = 0.1;

/** (x - mean) / sqrt(var + 1e-5) * weight + bias over `[B, H, W]`; running statistics are kept for the file format. */
export class BatchNorm2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly #runningMean: NamedTensor;
  readonly #runningVariance: NamedTensor;

  constructor(place: Place, channels: number) {
    super();
    const { name, ...rest } = place;
    this.weight = this.addParameter(`${name}.weight`, [channels], { kind: 'norm', ...rest }, ones);
    this.bias = this.addParameter(`${name}.bias`, [channels], { kind: 'norm', ...rest }, zeros);
    this.#runningMean = this.addBuffer(`${name}.running_mean`, [channels], zeros);
    this.#runningVariance = this.addBuffer(`${name}.running_var`, [channels], ones);
  }

  /** With a leaky ReLU of this slope behind it; 1: none. */
  forward(x: tf.Tensor4D, slope = 1): tf.Tensor4D {
    return tf.tidy(() => {
      const { y, mean, variance } = batchNorm(x, this.weight.value, this.bias.value, { epsilon: EPSILON, slope });
      const count = x.size / x.shape[3];
      const running = [this.#runningMean, this.#runningVariance];
      const averages = stopGradient(() =>
        movingAverages(
          [
            { former: this.#runningMean.value, value: mean },
            { former: this.#runningVariance.value, value: variance, scale: count / Math.max(1, count - 1) },
          ],
          1 - MOMENTUM,
        ),
      );
      running.forEach((statistics, i) => statistics.assign(averages[i]!));
      return y;
    });
  }
}
