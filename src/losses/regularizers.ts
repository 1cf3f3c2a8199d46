/**
 * Gradient penalties on the discriminator (Mescheder et al. 2018, arXiv 1801.04406), exact to second order.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { vectorJacobianProduct } from '../core/autodiff/index.js';
import type { Regularizer } from '../core/contracts/training.js';
import { parseOptions } from '../core/options.js';

const schema = z.strictObject({
  /** Weight. */
  gamma: z.number().min(0).default(1e-4),
  /** Iterations between two penalties; the penalty is multiplied by it. */
  every: z.number().int().positive().default(16),
});

/**
 * Options of `r1` and `r2`.
 *
 * @interface
 */
export type GradientPenaltyOptions = z.input<typeof schema>;

/** R1: gamma/2 * E over real images of the squared gradient norm of the summed logits, at the images' own resolution. */
export function r1(options: GradientPenaltyOptions = {}): Regularizer {
  return gradientPenalty('r1', 'real', options);
}

/** R2: the same on generated images. */
export function r2(options: GradientPenaltyOptions = {}): Regularizer {
  return gradientPenalty('r2', 'fake', options);
}

function gradientPenalty(name: string, on: 'real' | 'fake', options: GradientPenaltyOptions): Regularizer {
  const { gamma, every } = parseOptions(schema, options, `${name} options`);
  return {
    name,
    description: { part: name, options: { gamma, every } },
    every,
    on,
    penalty: (images, logits) =>
      tf.tidy(() => {
        const [gradient] = vectorJacobianProduct(() => sumOfAll(logits(images)), [images]);
        return tf.mul(tf.mean(tf.sum(tf.square(gradient!), [1, 2, 3])), gamma / 2) as tf.Scalar;
      }),
  };
}

const sumOfAll = (logits: readonly tf.Tensor[]) => logits.map((part) => tf.sum(part)).reduce((a, b) => tf.add(a, b));
