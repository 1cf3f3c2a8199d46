/**
 * A discriminator head over one feature map (Projected GAN, arXiv 2111.01007, as the paper uses it).
 */
import * as tf from '@tensorflow/tfjs-core';
import { BatchNorm2d } from '../nn/batch-norm.js';
import { SpectralNormConv2d } from '../nn/spectral-norm.js';
import { Module } from '../nn/module.js';

/** Channels by nominal size of the published heads. */
export const headWidths: Readonly<Record<number, number>> = { 64: 64, 32: 128, 16: 256, 8: 512, 4: 512 };

/** Of the leaky ReLU behind each normalisation. */
const SLOPE = 0.2;

/** Options of {@link DiscriminatorHead}. */
export interface HeadOptions {
  /** Stands before every parameter name. */
  prefix: string;
  /** Channels of the feature map. */
  channels: number;
  /** Nominal size of the feature map; one halving per factor of two down to `end`. */
  start: number;
  /** Size at which the last convolution stands. Default 8. */
  end?: number;
  /** Channels after each halving, by the size it leads to. Default: the published widths. */
  width?: (size: number) => number;
  /** Channels of the result: 1, or the width of a class embedding. Default 1. */
  outputs?: number;
}

/**
 * Per halving: spectral-norm 4x4 convolution of stride 2, BatchNorm, LeakyReLU 0.2; then a spectral-norm 4x4 convolution.
 *
 * `[B, H, W, channels]` to `[B, H', W', outputs]` with H' = H / 2^halvings - 3.
 */
export class DiscriminatorHead extends Module {
  readonly #layers: { conv: SpectralNormConv2d; norm: BatchNorm2d }[] = [];
  readonly #last: SpectralNormConv2d;

  constructor(options: HeadOptions) {
    super();
    const { prefix, channels, start, end = 8, width = (size) => headWidths[size] ?? 512, outputs = 1 } = options;
    const place = (name: string) => ({ name: `${prefix}main.${name}`, role: 'head' as const });
    let inputs = channels;
    for (let size = start; size > end; size /= 2) {
      const index = this.#layers.length;
      const next = width(size / 2);
      this.#layers.push({
        conv: this.addChild(new SpectralNormConv2d(place(`${index}.main.0`), inputs, next, { kernel: 4, stride: 2, pad: 1, bias: true })),
        norm: this.addChild(new BatchNorm2d(place(`${index}.main.1`), next)),
      });
      inputs = next;
    }
    const last = { kernel: 4, stride: 1, pad: 0, bias: false };
    this.#last = this.addChild(new SpectralNormConv2d(place(String(this.#layers.length)), inputs, outputs, last));
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const y = this.#layers.reduce((h, { conv, norm }) => norm.forward(conv.forward(h), SLOPE), x);
      return this.#last.forward(y);
    });
  }
}
