/**
 * Batch normalisation with the batch's own statistics, as discriminator heads train with it.
 */
import * as tf from '@tensorflow/tfjs-core';
import { stopGradient } from '../../core/autodiff/index.js';
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

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const axes = [0, 1, 2];
      const mean = tf.mean(x, axes);
      const centred = tf.sub(x, mean);
      const variance = tf.mean(tf.square(centred), axes);
      const count = x.size / x.shape[3];
      stopGradient(() => {
        this.#runningMean.assign(tf.add(tf.mul(this.#runningMean.value, 1 - MOMENTUM), tf.mul(mean, MOMENTUM)));
        const unbiased = tf.mul(variance, (MOMENTUM * count) / Math.max(1, count - 1));
        this.#runningVariance.assign(tf.add(tf.mul(this.#runningVariance.value, 1 - MOMENTUM), unbiased));
      });
      const scale = tf.mul(tf.rsqrt(tf.add(variance, EPSILON)), this.weight.value);
      return tf.add(tf.mul(centred, scale), this.bias.value) as tf.Tensor4D;
    });
  }
}
