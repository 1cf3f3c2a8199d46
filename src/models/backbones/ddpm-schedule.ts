/**
 * The change of coordinates between a network of discrete steps (DDPM, Ho et al. 2020, arXiv 2006.11239) and EDM's noise levels.
 *
 * A DDPM network sees x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps at step t. EDM's x = x0 + sigma eps is the same image at another
 * scale: x_t = x / sqrt(1 + sigma^2) where sigma_t = sqrt((1 - abar_t) / abar_t) (EDM, arXiv 2206.00364, Table 1 and appendix C.1).
 */
import type { DdpmScheduler } from './backbone.js';

/** sigma_data of `edmPreconditioning` and `gddPreconditioning`: the network's F is written for it. */
const SIGMA_DATA = 0.5;

/** Largest beta of the cosine schedule (Nichol and Dhariwal 2021, arXiv 2102.09672). */
const LARGEST_BETA = 0.999;

/** beta_t for t = 0, 1, …, in float64. */
export function ddpmBetas({ num_train_timesteps: steps, beta_schedule, beta_start, beta_end }: DdpmScheduler): number[] {
  const between = (from: number, to: number) =>
    Array.from({ length: steps }, (_, t) => from + (steps === 1 ? 0 : t / (steps - 1)) * (to - from));
  switch (beta_schedule) {
    case 'linear':
      return between(beta_start, beta_end);
    case 'scaled_linear':
      return between(Math.sqrt(beta_start), Math.sqrt(beta_end)).map((root) => root ** 2);
    case 'squaredcos_cap_v2': {
      const remaining = (s: number) => Math.cos((((s + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Array.from({ length: steps }, (_, t) => Math.min(1 - remaining((t + 1) / steps) / remaining(t / steps), LARGEST_BETA));
    }
  }
}

/** Where one noise level stands. */
export interface DdpmLevel {
  sigma: number;
  /** Between steps: linear in ln sigma. Beyond the first and the last step: that step. */
  timestep: number;
}

/** F = difference * (x_in - output) + both * output, for the network's input `scale` * x_in. */
export interface DdpmCoefficients {
  scale: number;
  difference: number;
  both: number;
}

/** Noise levels of a scheduler's steps. */
export class DdpmSchedule {
  /** sigma_t of every step, rising. */
  readonly sigmas: readonly number[];
  /** c_noise = ln(sigma_t) / 4. */
  readonly #noises: readonly number[];

  constructor(readonly scheduler: DdpmScheduler) {
    let kept = 1; // abar_t
    // 1 - abar_t, summed so that nothing cancels at the first steps: 1 - abar (1 - beta) = (1 - abar) + abar beta.
    let lost = 0;
    this.sigmas = ddpmBetas(scheduler).map((beta) => {
      lost += kept * beta;
      kept *= 1 - beta;
      return Math.sqrt(lost / kept);
    });
    this.#noises = this.sigmas.map((sigma) => Math.log(sigma) / 4);
  }

  /** The level of a c_noise that went through float32; a step's own c_noise gives exactly that step. */
  level(noise: number): DdpmLevel {
    const noises = this.#noises;
    const last = noises.length - 1;
    let [low, high] = [0, last];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (noises[middle]! <= noise) low = middle;
      else high = middle;
    }
    for (const step of [low, high])
      if (noise === Math.fround(noises[step]!) || noise === noises[step]) return { sigma: this.sigmas[step]!, timestep: step };
    const fraction = high === low ? 0 : (noise - noises[low]!) / (noises[high]! - noises[low]!);
    return { sigma: Math.exp(4 * noise), timestep: Math.min(Math.max(low + fraction, 0), last) };
  }

  /**
   * What turns EDM's c_in x into the network's input and its output into EDM's F = (D - c_skip x) / c_out.
   *
   * With n = sqrt(sigma^2 + sd^2) and m = sqrt(1 + sigma^2): the input is x / m = (n / m) x_in, and
   *
   *   epsilon       D = x - sigma eps                F = (sigma/sd) x_in - (n/sd) eps
   *   v_prediction  D = x/m^2 - (sigma/m) v          F = sigma (1 - sd^2)/(sd m^2) x_in - n/(sd m) v
   *   sample        D = the output                   F = n/(sigma sd) output - (sd/sigma) x_in
   *
   * At sigma 80 the first is a small difference of large values; x_in - eps is exact there, and (sigma - n)/sd is written
   * -sd/(sigma + n), so that the change of coordinates adds no rounding of its own.
   */
  coefficients(sigma: number): DdpmCoefficients {
    const sd = SIGMA_DATA;
    const n = Math.sqrt(sigma ** 2 + sd ** 2);
    const m = Math.sqrt(1 + sigma ** 2);
    const scale = n / m;
    switch (this.scheduler.prediction_type) {
      case 'epsilon':
        return { scale, difference: sigma / sd, both: -sd / (sigma + n) };
      case 'v_prediction': {
        const difference = (sigma * (1 - sd ** 2)) / (sd * m ** 2);
        return { scale, difference, both: difference - n / (sd * m) };
      }
      case 'sample':
        return { scale, difference: -sd / sigma, both: n / (sigma * sd) - sd / sigma };
    }
  }
}
