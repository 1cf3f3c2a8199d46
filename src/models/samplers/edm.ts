/**
 * Samplers: the EDM Heun sampler of the teacher, and the student's one and few steps.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../../core/errors.js';
import type { Backbone, BackboneInputs } from '../backbones/backbone.js';
import { denoise, edmPreconditioning, gddPreconditioning, SIGMA_MAX, SIGMA_MIN, type Preconditioning } from '../preconditioning.js';

/** EDM's grid of noise levels. */
export interface EdmSchedule {
  /** Number of steps N; the Heun sampler evaluates the network 2N - 1 times. */
  steps: number;
  sigmaMin?: number;
  sigmaMax?: number;
  rho?: number;
}

/** s(i) = (max^(1/rho) + i/(N-1) * (min^(1/rho) - max^(1/rho)))^rho for i < N, then 0 (EDM eq. 5). */
export function edmSigmas({ steps, sigmaMin = SIGMA_MIN, sigmaMax = SIGMA_MAX, rho = 7 }: EdmSchedule): number[] {
  if (!Number.isInteger(steps) || steps < 1) throw new ArgumentError('E_VALUE', `edmSigmas: steps is a positive integer, got ${steps}`);
  const [low, high] = [sigmaMin ** (1 / rho), sigmaMax ** (1 / rho)];
  const grid = Array.from({ length: steps }, (_, i) => (high + (steps === 1 ? 0 : i / (steps - 1)) * (low - high)) ** rho);
  return [...grid, 0];
}

/** Options of `sampleHeun`. */
export interface SamplerOptions extends EdmSchedule {
  inputs?: BackboneInputs;
  preconditioning?: Preconditioning;
  /** Called after each step; a long chain at full size shows progress here. */
  onStep?: (step: number, steps: number) => void;
}

/**
 * EDM's deterministic sampler (Algorithm 1): Heun's method with an Euler last step.
 *
 * `latents` `[B, H, W, C]` standard normal, to images in about [-1, 1]. The state is kept in float64, the network
 * runs in float32.
 */
export function sampleHeun(backbone: Backbone, latents: tf.Tensor4D, options: SamplerOptions): tf.Tensor4D {
  const sigmas = edmSigmas(options);
  const preconditioning = options.preconditioning ?? edmPreconditioning();
  const state = Float64Array.from(latents.dataSync(), (value) => value * sigmas[0]!);
  const derivative = (x: Float64Array, sigma: number) => {
    const denoised = tf.tidy(() =>
      denoise(backbone, preconditioning, tf.tensor4d(Float32Array.from(x), latents.shape), sigma, options.inputs),
    );
    const values = denoised.dataSync();
    denoised.dispose();
    return x.map((value, i) => (value - values[i]!) / sigma);
  };
  for (let i = 0; i + 1 < sigmas.length; i++) {
    const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
    const slope = derivative(state, sigma);
    const euler = state.map((value, k) => value + (next - sigma) * slope[k]!);
    if (next > 0) {
      const corrected = derivative(euler, next);
      for (let k = 0; k < state.length; k++) state[k]! += (next - sigma) * 0.5 * (slope[k]! + corrected[k]!);
    } else state.set(euler);
    options.onStep?.(i + 1, sigmas.length - 1);
  }
  return tf.tensor4d(Float32Array.from(state), latents.shape);
}

/** Options of `sampleFewSteps`. */
export interface FewStepOptions {
  /** Noise levels, falling; the first is where the pure latent enters. One entry is one-step generation. */
  sigmas?: readonly number[];
  inputs?: BackboneInputs;
  preconditioning?: Preconditioning;
  /** Standard normal noise `[B, H, W, C]` for step k >= 1. */
  noise?: (step: number) => tf.Tensor4D;
}

/**
 * A student's one or few steps: x = G(80 z, 80), then for each further level s: x = G(x + s * noise, s).
 *
 * `latents` `[B, H, W, C]` standard normal, to images in about [-1, 1]. Throws `E_VALUE` where a second step has no `noise`.
 */
export function sampleFewSteps(backbone: Backbone, latents: tf.Tensor4D, options: FewStepOptions = {}): tf.Tensor4D {
  const { sigmas = [SIGMA_MAX], inputs, preconditioning = gddPreconditioning(), noise } = options;
  if (sigmas.length === 0 || sigmas.some((sigma, i) => !(sigma > 0) || (i > 0 && sigma >= sigmas[i - 1]!)))
    throw new ArgumentError('E_VALUE', `sampleFewSteps: sigmas must be positive and falling, got [${sigmas.join(', ')}]`);
  if (sigmas.length > 1 && !noise)
    throw new ArgumentError('E_VALUE', 'sampleFewSteps: more than one step needs fresh noise', { help: 'pass noise: (step) => tensor' });
  return tf.tidy(() =>
    sigmas
      .slice(1)
      .reduce(
        (x, sigma, index) => denoise(backbone, preconditioning, tf.add(x, tf.mul(noise!(index + 1), sigma)), sigma, inputs),
        denoise(backbone, preconditioning, tf.mul(latents, sigmas[0]!), sigmas[0]!, inputs),
      ),
  );
}
