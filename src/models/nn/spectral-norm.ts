/**
 * Spectral normalisation (Miyato et al. 2018, arXiv 1802.05957): a convolution whose weight is divided by an estimate of
 * its largest singular value, one power iteration a training forward.
 */
import * as tf from '@tensorflow/tfjs-core';
import { stopGradient } from '../../core/autodiff/index.js';
import type { NamedTensor, Parameter } from '../../core/parameter.js';
import { type zeros, normal, pytorchDefault } from './initializers.js';
import type { Place } from './layers.js';
import { Module } from './module.js';

/** Options of {@link SpectralNormConv2d}. */
export interface SpectralConvOptions {
  kernel: number;
  stride: number;
  pad: number;
  bias: boolean;
}

/** sigma = u^T W v of the weight seen as `[out, in*k*k]`; u and v carry no gradient. */
export class SpectralNormConv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly #u: NamedTensor;
  readonly #v: NamedTensor;
  readonly #options: SpectralConvOptions;

  constructor(place: Place, inputs: number, outputs: number, options: SpectralConvOptions) {
    super();
    const { kernel } = options;
    const { name, ...rest } = place;
    const fanIn = inputs * kernel ** 2;
    this.#options = options;
    this.weight = this.addParameter(
      `${name}.weight_orig`,
      [outputs, inputs, kernel, kernel],
      { kind: 'conv', ...rest },
      pytorchDefault(fanIn),
    );
    if (options.bias) this.bias = this.addParameter(`${name}.bias`, [outputs], { kind: 'conv', ...rest }, pytorchDefault(fanIn));
    this.#u = this.addBuffer(`${name}.weight_u`, [outputs], unit);
    // Published order of v is (in, k*k); the weight's rows here are (k*k, in).
    this.#v = this.addBuffer(`${name}.weight_v`, [fanIn], unit, {
      view: [inputs, kernel ** 2],
      order: [1, 0],
      engineShape: [fanIn],
    });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const { stride, pad } = this.#options;
      const weight = this.weight.value as tf.Tensor4D;
      const y = tf.conv2d(x, tf.div<tf.Tensor4D>(weight, this.#largestSingularValue(weight)), stride, pad);
      return this.bias ? tf.add(y, this.bias.value) : y;
    });
  }

  #largestSingularValue(weight: tf.Tensor4D): tf.Tensor {
    const outputs = weight.shape[3];
    stopGradient(() => {
      const matrix = tf.reshape(weight, [-1, outputs]) as tf.Tensor2D;
      const v = normalize(tf.matMul(matrix, tf.reshape(this.#u.value, [outputs, 1])));
      const u = normalize(tf.matMul(matrix, v, true));
      this.#v.assign(tf.reshape(v, [-1]));
      this.#u.assign(tf.reshape(u, [-1]));
    });
    const matrix = tf.reshape(weight, [-1, outputs]) as tf.Tensor2D;
    const projected = tf.matMul(tf.reshape(this.#v.value, [1, -1]) as tf.Tensor2D, matrix);
    return tf.sum(tf.mul(projected, this.#u.value));
  }
}

const unit: typeof zeros = (random, tensor) => {
  const values = normal()(random, tensor);
  const norm = Math.hypot(...values);
  return values.map((value) => value / norm);
};

function normalize(x: tf.Tensor2D): tf.Tensor2D {
  return tf.div(x, tf.maximum(tf.norm(x), 1e-12));
}
