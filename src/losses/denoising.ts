/**
 * EDM's denoising loss, for teachers trained here (Karras et al. 2022, eq. 108 and Table 1).
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { RandomSource } from '../core/contracts/random.js';
import { parseOptions } from '../core/options.js';
import type { Backbone, BackboneInputs } from '../models/backbones/backbone.js';
import { denoise, edmPreconditioning } from '../models/preconditioning.js';

/** Schema of {@link DenoisingOptions}. */
export const denoisingOptions = z.strictObject({
  /** ln(sigma) ~ N(logMean, logStd^2). */
  logMean: z.number().default(-1.2),
  logStd: z.number().positive().default(1.2),
  sigmaData: z.number().positive().default(0.5),
});

/**
 * Options of `denoisingLoss`.
 *
 * @interface
 */
export type DenoisingOptions = z.input<typeof denoisingOptions>;

/** Scalar: mean over the batch and the pixels of (s^2 + sd^2)/(s*sd)^2 * ||D(x + s*n, s) - x||^2, for `images` `[B, H, W, C]` in [-1, 1]. */
export function denoisingLoss(
  backbone: Backbone,
  images: tf.Tensor4D,
  random: RandomSource,
  inputs: BackboneInputs = {},
  options: DenoisingOptions = {},
): tf.Scalar {
  const { logMean, logStd, sigmaData } = parseOptions(denoisingOptions, options, 'denoising loss');
  return tf.tidy(() => {
    const batch = images.shape[0];
    const sigmas = Array.from(random.stream('denoising/sigma').normal(batch), (value) => Math.exp(logMean + logStd * value));
    const weights = sigmas.map((sigma) => (sigma ** 2 + sigmaData ** 2) / (sigma * sigmaData) ** 2);
    const noise = tf.tensor4d(random.stream('denoising/noise').normal(images.size), images.shape);
    const noisy = tf.add(images, tf.mul(noise, tf.tensor4d(sigmas, [batch, 1, 1, 1]))) as tf.Tensor4D;
    const denoised = denoise(backbone, edmPreconditioning(sigmaData), noisy, sigmas, inputs);
    const perImage = tf.mean(tf.square(tf.sub(denoised, images)), [1, 2, 3]);
    return tf.mean(tf.mul(perImage, tf.tensor1d(weights)));
  });
}
