/**
 * The exponential moving average of a generator's weights; it is what snapshots hold and what is evaluated.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { CheckpointPart, Checkpointable } from './contracts/training.js';
import { RunError, WeightsError } from './errors.js';
import { FlatParameters } from './flat-parameters.js';
import { movingAverages } from './moving-average.js';
import { parseOptions } from './options.js';
import type { Parameter } from './parameter.js';

const emaOptions = z.strictObject({
  /** In images: after so many a former weight counts half. The paper's is 500,000. */
  halfLife: z.number().positive().default(500_000),
  /** The half-life is at most this share of the images seen so far, so that early weights are soon forgotten. */
  rampUp: z.number().positive().default(0.05),
});

/**
 * Options of `Ema`.
 *
 * @interface
 */
export type EmaOptions = z.input<typeof emaOptions>;

/** The weight of the former average after a batch: 0.5^(batch / min(halfLife, rampUp · images seen)). */
export function emaDecay(imagesSeen: number, batchSize: number, options: EmaOptions = {}): number {
  const { halfLife, rampUp } = parseOptions(emaOptions, options, 'Ema');
  return 0.5 ** (batchSize / Math.max(Math.min(halfLife, rampUp * imagesSeen), 1e-8));
}

/**
 * Averages of the trainable parameters; frozen ones cost nothing.
 *
 * @example
 * const ema = new Ema({ halfLife: 500_000 });
 * ema.bind(generator.parameters());
 * ema.update(imagesSeen, batchSize); // after each optimizer step
 * const images = await ema.withAverages(() => generate(generator, latents));
 */
export class Ema implements Checkpointable {
  readonly #options: z.output<typeof emaOptions>;
  #all = new Map<string, Parameter>();
  #flat = new FlatParameters([]);
  #averages: tf.Tensor1D[] = [];
  #swapped = false;

  constructor(options: EmaOptions = {}) {
    this.#options = parseOptions(emaOptions, options, 'Ema');
  }

  /** Takes the parameters of a network, which must have values; the averages start from them. */
  bind(parameters: readonly Parameter[]): void {
    const flat = new FlatParameters(parameters.filter(({ trainable }) => trainable));
    this.dispose();
    this.#all = new Map(parameters.map((parameter) => [parameter.name, parameter]));
    this.#flat = flat;
    this.#averages = flat.buckets.map((bucket) => tf.keep(flat.values(bucket)));
  }

  /** Takes the current weights into the averages; `imagesSeen` is before this batch, so the first update copies. */
  update(imagesSeen: number, batchSize: number): void {
    this.#assertOwnWeights('update');
    const decay = emaDecay(imagesSeen, batchSize, this.#options);
    this.#flat.buckets.forEach((bucket, i) => {
      const former = this.#averages[i]!;
      this.#averages[i] = tf.tidy(() => {
        const value = this.#flat.values(bucket);
        return tf.keep(decay === 0 ? value : (movingAverages([{ former, value }], decay)[0] as tf.Tensor1D));
      });
      former.dispose();
    });
  }

  /** The average of a trainable parameter, the value of a frozen one, in the published layout. Throws `E_WEIGHTS_MISSING`. */
  read(name: string): Float32Array {
    const average = this.#flat.readOne(name, this.#averages);
    if (average) return average;
    const parameter = this.#all.get(name);
    if (!parameter)
      throw new WeightsError('E_WEIGHTS_MISSING', `Ema: expected one of ${this.#all.size} parameters, got ${name}`, {
        help: 'bind the network that holds this parameter',
      });
    return parameter.read();
  }

  /**
   * Runs `use` while the network holds the averages; its own weights, the very same values, are back when it ends, also by an error.
   * Meanwhile the network must not be trained. Throws `E_RUN_AVERAGES` where the averages are in use already.
   */
  async withAverages<T>(use: () => T | Promise<T>): Promise<T> {
    this.#assertOwnWeights('withAverages');
    const { parameters, buckets } = this.#flat;
    const own = parameters.map(({ value }) => tf.keep(tf.clone(value)));
    this.#swapped = true;
    try {
      buckets.forEach((bucket, i) => this.#flat.assign(bucket, this.#averages[i]!));
      return await use();
    } finally {
      parameters.forEach((parameter, i) => parameter.assign(own[i]!));
      this.#swapped = false;
    }
  }

  #assertOwnWeights(where: string): void {
    if (this.#swapped)
      throw new RunError('E_RUN_AVERAGES', `Ema.${where}: expected the network's own weights, found the averages in their place`, {
        help: 'await the withAverages() that is running first',
      });
  }

  /** Averages by parameter name, in the published layout. */
  state(): Map<string, Float32Array> {
    return this.#flat.read(this.#averages);
  }

  /** Throws `E_WEIGHTS_MISMATCH` that lists every name and size that does not fit; nothing has changed then. */
  restore(state: ReadonlyMap<string, Float32Array>): void {
    this.#flat.check('EMA state', ['average'], new Map([...state].map(([name, average]) => [name, { average }])));
    const averages = this.#flat.write(state);
    this.dispose();
    this.#averages = averages;
  }

  saveState(): CheckpointPart {
    return { json: {}, tensors: [...this.state()].map(([name, data]) => ({ name, shape: this.#all.get(name)!.shape, data })) };
  }

  restoreState({ tensors }: CheckpointPart): void {
    this.restore(new Map(tensors.map(({ name, data }) => [name, data])));
  }

  dispose(): void {
    for (const average of this.#averages) average.dispose();
    this.#averages = [];
  }
}
