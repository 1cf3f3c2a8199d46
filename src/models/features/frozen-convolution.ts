/**
 * A convolution with batch normalisation and activation, none of which trains.
 */
import * as tf from '@tensorflow/tfjs-core';
import { biasActivation, type Activation } from '../../core/autodiff/index.js';
import { convolutionLayout, type NamedTensor } from '../../core/parameter.js';
import { normal, ones, zeros } from '../nn/initializers.js';
import { Module } from '../nn/module.js';
import { Derived, type FrozenLayer } from './pretrained-features.js';

/** Options of {@link FrozenConvolution}. */
export interface FrozenConvolutionOptions {
  /** Published name of the convolution, without `.weight`. */
  name: string;
  /** Published name of its batch normalisation; undefined: none. */
  norm?: { name: string; epsilon: number };
  inputs: number;
  outputs: number;
  /** Height and width, a number: both. Odd ones that differ have stride 1 and the default padding. */
  kernel: number | readonly [number, number];
  stride?: number;
  /** `same` is TensorFlow's: with stride 2 more below and right. Default: half the kernel on each side. */
  padding?: 'same' | number;
  /** One filter a channel; `inputs` equals `outputs`. */
  depthwise?: boolean;
  /** The convolution has a bias of its own. */
  bias?: boolean;
  activation?: Activation;
}

/**
 * `activation(norm(conv(x)))` as one convolution with a bias: batch normalisation by stored statistics is affine, so
 * weight' = weight s, bias' = (bias - mean) s + shift with s = scale / sqrt(variance + epsilon).
 */
export class FrozenConvolution extends Module implements FrozenLayer {
  readonly #options: FrozenConvolutionOptions;
  readonly #weight: NamedTensor;
  readonly #bias: NamedTensor | undefined;
  readonly #norm: readonly NamedTensor[];
  readonly #folded = new Derived<'weight' | 'bias'>();

  constructor(options: FrozenConvolutionOptions) {
    super();
    const { name, norm, inputs, outputs, depthwise = false, bias = false } = options;
    this.#options = options;
    const [height, width] = this.#kernel;
    const shape = [outputs, depthwise ? 1 : inputs, height, width];
    const fanIn = shape[1]! * height * width;
    // He et al. 2015: activations keep their size; without an activation half the variance does.
    const gain = (options.activation ?? 'none') === 'none' ? 1 : 2;
    const order = [2, 3, 0, 1];
    this.#weight = this.addBuffer(
      `${name}.weight`,
      shape,
      normal(Math.sqrt(gain / fanIn)),
      depthwise ? { view: shape, order, engineShape: order.map((axis) => shape[axis]!) } : convolutionLayout(shape),
    );
    this.#bias = bias ? this.addBuffer(`${name}.bias`, [outputs], zeros) : undefined;
    this.#norm = norm
      ? (
          [
            ['weight', ones],
            ['bias', zeros],
            ['running_mean', zeros],
            ['running_var', ones],
          ] as const
        ).map(([part, initializer]) => this.addBuffer(`${norm.name}.${part}`, [outputs], initializer))
      : [];
  }

  get #kernel(): readonly [number, number] {
    const { kernel } = this.#options;
    return typeof kernel === 'number' ? [kernel, kernel] : kernel;
  }

  /** Without the bias; callers that add something else anyway add `bias` with it. */
  forwardWithoutBias(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const [rows, columns] = this.#kernel;
      const { stride = 1, depthwise = false, padding = rows >> 1 } = this.#options;
      const { weight } = this.#fold();
      if (depthwise) return tf.depthwiseConv2d(x, weight, stride, padding);
      if (rows === 1 && columns === 1 && stride === 1) {
        const [batch, height, width, inputs] = x.shape;
        const outputs = weight.shape[3];
        const y = tf.matMul(tf.reshape(x, [batch * height * width, inputs]) as tf.Tensor2D, tf.reshape(weight, [inputs, outputs]));
        return tf.reshape(y, [batch, height, width, outputs]);
      }
      // 'same' is what half the kernel comes to where the stride is 1, and the fastest padding.
      const same = stride === 1 && (rows !== columns || padding === (rows - 1) / 2);
      return tf.conv2d(x, weight, stride, same ? 'same' : padding);
    });
  }

  get bias(): tf.Tensor1D {
    return this.#fold().bias;
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => biasActivation(this.forwardWithoutBias(x), this.bias, this.#options.activation));
  }

  /** Makes the folded weights, if the published ones have changed. */
  prepare(): void {
    this.#fold();
  }

  /** Frees the published tensors; what was folded of them stays until other weights are loaded. */
  release(): void {
    this.#fold();
    super.dispose();
  }

  override dispose(): void {
    super.dispose();
    this.#folded.dispose();
  }

  #fold(): { weight: tf.Tensor4D; bias: tf.Tensor1D } {
    return this.#folded.of(this.tensors(), () => {
      const { outputs, norm, depthwise } = this.#options;
      const own = this.#bias?.value ?? tf.zeros([outputs]);
      if (!norm) return { weight: tf.clone(this.#weight.value), bias: tf.clone(own) };
      const [scale, shift, mean, variance] = this.#norm.map((tensor) => tensor.value) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const factor = tf.div(scale, tf.sqrt(tf.add(variance, norm.epsilon)));
      // A depthwise filter is [kh, kw, C, 1].
      const channels = depthwise ? tf.reshape(factor, [-1, 1]) : factor;
      return { weight: tf.mul(this.#weight.value, channels), bias: tf.add(tf.mul(tf.sub(own, mean), factor), shift) };
    }) as { weight: tf.Tensor4D; bias: tf.Tensor1D };
  }
}
