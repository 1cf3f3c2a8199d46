/**
 * Preconditioning: how a raw network F becomes a denoiser D or a one-step generator G.
 *
 * EDM (Karras et al. 2022, Table 1), with sd = sigma_data:
 *   c_skip = sd^2 / (s^2 + sd^2)   c_out = s*sd / sqrt(s^2 + sd^2)   c_in = 1 / sqrt(s^2 + sd^2)   c_noise = ln(s) / 4
 * GDD (arXiv 2405.20750), with eps = 0.002, so that D(x, eps) = x exactly (as consistency models do):
 *   c_skip = sd^2 / ((s - eps)^2 + sd^2)   c_out = (s - eps)*sd / sqrt(s^2 + sd^2)   c_in, c_noise as EDM
 *
 *   D(x, s) = c_skip * x + c_out * F(c_in * x, c_noise, labels)
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Backbone, BackboneInputs } from './backbones/backbone.js';

/** Largest noise level of the sampling grid; the one-step generator starts there. */
export const SIGMA_MAX = 80;
/** Smallest noise level, EDM's sigma_min and GDD's eps. */
export const SIGMA_MIN = 0.002;

/** c_skip, c_out, c_in and c_noise of one noise level. */
export interface Coefficients {
  skip: number;
  out: number;
  in: number;
  noise: number;
}

/** Maps a noise level to the four coefficients. */
export interface Preconditioning {
  readonly name: string;
  coefficients(sigma: number): Coefficients;
}

/** EDM's preconditioning. */
export function edmPreconditioning(sigmaData = 0.5): Preconditioning {
  return {
    name: 'edm',
    coefficients(sigma) {
      const norm = Math.sqrt(sigma ** 2 + sigmaData ** 2);
      return { skip: (sigmaData / norm) ** 2, out: (sigma * sigmaData) / norm, in: 1 / norm, noise: Math.log(sigma) / 4 };
    },
  };
}

/** GDD's preconditioning: the identity at `epsilon`. */
export function gddPreconditioning(sigmaData = 0.5, epsilon = SIGMA_MIN): Preconditioning {
  return {
    name: 'gdd',
    coefficients(sigma) {
      const norm = Math.sqrt(sigma ** 2 + sigmaData ** 2);
      return {
        skip: sigmaData ** 2 / ((sigma - epsilon) ** 2 + sigmaData ** 2),
        out: ((sigma - epsilon) * sigmaData) / norm,
        in: 1 / norm,
        noise: Math.log(sigma) / 4,
      };
    },
  };
}

/** One noise level for the batch, or one per image. */
export type Sigmas = number | ArrayLike<number>;

/**
 * D(x, sigma): `x` `[B, H, W, C]` to `[B, H, W, C]`, images in [-1, 1].
 *
 * Coefficients are worked out in float64 and rounded once.
 */
export function denoise(
  backbone: Backbone,
  preconditioning: Preconditioning,
  x: tf.Tensor4D,
  sigma: Sigmas,
  inputs?: BackboneInputs,
): tf.Tensor4D {
  return tf.tidy(() => {
    const batch = x.shape[0];
    const sigmas = typeof sigma === 'number' ? [sigma] : Array.from(sigma);
    const all = sigmas.map((value) => preconditioning.coefficients(value));
    const per = (key: keyof Coefficients) => {
      const values = all.map((coefficients) => coefficients[key]);
      return values.length === 1 ? tf.scalar(values[0]!) : tf.tensor4d(values, [values.length, 1, 1, 1]);
    };
    const noises = all.length === 1 ? new Float32Array(batch).fill(all[0]!.noise) : all.map(({ noise }) => noise);
    const raw = backbone.forward(tf.mul(x, per('in')), tf.tensor1d(noises, 'float32'), inputs);
    return tf.add(tf.mul(x, per('skip')), tf.mul(raw, per('out'))) as tf.Tensor4D;
  });
}

/** G(z) = D(80*z, 80): `latents` `[B, H, W, C]` standard normal, to images in about [-1, 1]. */
export function generateOneStep(
  backbone: Backbone,
  latents: tf.Tensor4D,
  inputs?: BackboneInputs,
  preconditioning: Preconditioning = gddPreconditioning(),
): tf.Tensor4D {
  return tf.tidy(() => denoise(backbone, preconditioning, tf.mul(latents, SIGMA_MAX), SIGMA_MAX, inputs));
}
