/**
 * Spectral normalisation (Miyato et al. 2018, arXiv 1802.05957): a convolution whose weight is divided by an estimate of
 * its largest singular value, one power iteration a training forward.
 */
import * as tf from '@tensorflow/tfjs-core';
import { biasActivation, spectralNorm } from '../../core/autodiff/index.js';
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
      const { weight, u, v } = spectralNorm(this.weight.value as tf.Tensor4D, this.#u.value);
      this.#u.assign(u);
      this.#v.assign(v);
      const y = tf.conv2d(x, weight, stride, pad);
      return this.bias ? biasActivation(y, this.bias.value) : y;
    });
  }
}

const unit: typeof zeros = (random, tensor) => {
  const values = normal()(random, tensor);
  const norm = Math.hypot(...values);
  return values.map((value) => value / norm);
};
