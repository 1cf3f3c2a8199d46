/**
 * A class label as a vector that a head's outputs are multiplied by (Miyato & Koyama 2018, arXiv 1802.05637).
 */
import * as tf from '@tensorflow/tfjs-core';
import { leakyRelu } from '../../core/autodiff/index.js';
import { ArgumentError } from '../../core/errors.js';
import type { NamedTensor, Parameter } from '../../core/parameter.js';
import { normal, zeros } from '../nn/initializers.js';
import { Module } from '../nn/module.js';

/** What a class-conditional head knows of the classes. */
export interface ClassCondition {
  /** Number of classes: the width of a one-hot label. */
  classes: number;
  /** Length of a class's embedding. */
  dimensions: number;
  /** Length of the projected embedding. */
  width: number;
  /** False: embeddings stay as they were loaded, and are buffers. */
  trained: boolean;
}

/** leakyRelu(labels E W / sqrt(dimensions) + b, 0.2) sqrt(2): StyleGAN2's fully connected layer on an embedding E (arXiv 1912.04958). */
export class ClassProjection extends Module {
  /** `[classes, dimensions]`; standard normal until values are loaded. */
  readonly embedding: NamedTensor;
  readonly #weight: Parameter;
  readonly #bias: Parameter;
  readonly #condition: ClassCondition;

  constructor(prefix: string, condition: ClassCondition) {
    super();
    const { classes, dimensions, width, trained } = condition;
    const head = { role: 'head' as const };
    const shape = [classes, dimensions];
    this.#condition = condition;
    this.embedding = trained
      ? this.addParameter(`${prefix}embed.weight`, shape, { kind: 'embedding', ...head }, normal())
      : this.addBuffer(`${prefix}embed.weight`, shape, normal());
    this.#weight = this.addParameter(`${prefix}embed_proj.weight`, [width, dimensions], { kind: 'linear', ...head }, normal());
    this.#bias = this.addParameter(`${prefix}embed_proj.bias`, [width], { kind: 'linear', ...head }, zeros);
  }

  /** One-hot labels `[B, classes]` to `[B, width]`. Throws `E_VALUE` without labels, `E_SHAPE` for labels of another width. */
  forward(labels: tf.Tensor2D | undefined): tf.Tensor2D {
    const { classes, dimensions } = this.#condition;
    if (!labels)
      throw new ArgumentError('E_VALUE', `class-conditional heads: expected one-hot labels of ${classes} classes, got none`, {
        help: 'use data with labels and a class-conditional teacher, or heads without classes',
      });
    if (labels.shape[1] !== classes)
      throw new ArgumentError('E_SHAPE', `class-conditional heads: expected labels [B, ${classes}], got [${labels.shape.join(', ')}]`, {
        help: 'the heads, the data and the teacher must know the same classes',
      });
    return tf.tidy(() => {
      const embedded = tf.matMul(labels, this.embedding.value as tf.Tensor2D);
      const weight = tf.div<tf.Tensor2D>(this.#weight.value, Math.sqrt(dimensions));
      return tf.mul<tf.Tensor2D>(leakyRelu(tf.add<tf.Tensor2D>(tf.matMul(embedded, weight), this.#bias.value), 0.2), Math.SQRT2);
    });
  }
}
