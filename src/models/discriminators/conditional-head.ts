/**
 * A discriminator head that judges how well an image fits its class (Projected GAN's class-conditional head).
 */
import * as tf from '@tensorflow/tfjs-core';
import { Module } from '../nn/module.js';
import { ClassProjection, type ClassCondition } from './class-projection.js';
import { DiscriminatorHead, type HeadOptions } from './head.js';

/** A head of `width` outputs, multiplied by the projected class embedding, summed and divided by sqrt(width). */
export class ConditionalHead extends Module {
  readonly projection: ClassProjection;
  readonly #head: DiscriminatorHead;
  readonly #width: number;

  constructor(options: Omit<HeadOptions, 'outputs'>, condition: ClassCondition) {
    super();
    this.#width = condition.width;
    this.#head = this.addChild(new DiscriminatorHead({ ...options, outputs: condition.width }));
    this.projection = this.addChild(new ClassProjection(options.prefix, condition));
  }

  /** `[B, H, W, channels]` and one-hot labels `[B, classes]` to `[B, H', W', 1]`. Throws as {@link ClassProjection}. */
  forward(x: tf.Tensor4D, labels: tf.Tensor2D | undefined): tf.Tensor4D {
    return tf.tidy(() => {
      const classes = tf.reshape(this.projection.forward(labels), [-1, 1, 1, this.#width]);
      const product = tf.mul(this.#head.forward(x), classes);
      return tf.div<tf.Tensor4D>(tf.sum(product, 3, true), Math.sqrt(this.#width));
    });
  }
}
