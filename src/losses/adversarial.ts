/**
 * Adversarial losses: logits to one value per logit.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { AdversarialLoss } from '../core/contracts/training.js';

/** Non-saturating logistic loss (Goodfellow et al. 2014): G: softplus(-D(fake)); D: softplus(-D(real)) + softplus(D(fake)). */
export function nonSaturating(): AdversarialLoss {
  return {
    name: 'non-saturating',
    relativistic: false,
    generator: (fake) => tf.softplus(tf.neg(fake)),
    discriminator: (real, fake) => tf.add<tf.Tensor2D>(tf.softplus(tf.neg(real)), tf.softplus(fake)),
  };
}

/** Hinge loss (Lim and Ye 2017): G: -D(fake); D: relu(1 - D(real)) + relu(1 + D(fake)). */
export function hinge(): AdversarialLoss {
  return {
    name: 'hinge',
    relativistic: false,
    generator: (fake) => tf.neg(fake),
    discriminator: (real, fake) => tf.add<tf.Tensor2D>(tf.relu(tf.sub(1, real)), tf.relu(tf.add(1, fake))),
  };
}

/**
 * Relativistic pairing loss (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024):
 * G: softplus(D(real) - D(fake)); D: softplus(D(fake) - D(real)), real and fake paired by their place in the batch.
 */
export function relativistic(): AdversarialLoss {
  return {
    name: 'relativistic',
    relativistic: true,
    generator: (fake, real) => tf.softplus(tf.sub<tf.Tensor2D>(real!, fake)),
    discriminator: (real, fake) => tf.softplus(tf.sub<tf.Tensor2D>(fake, real)),
  };
}
