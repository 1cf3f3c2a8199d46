/**
 * Adam (Kingma & Ba 2015, as in PyTorch) and RAdam (Liu et al. 2020) over flat buffers.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { Optimizer, OptimizerState, OptimizerStepOptions, OptimizerStepResult } from './contracts/optimizer.js';
import type { CheckpointPart } from './contracts/training.js';
import { ArgumentError, RunError } from './errors.js';
import { type Bucket, FlatParameters } from './flat-parameters.js';
import { fusedAdam } from './native/adam.js';
import { parseOptions } from './options.js';
import type { Parameter } from './parameter.js';

const adamOptions = z.strictObject({
  learningRate: z.number().positive(),
  beta1: z.number().min(0).lt(1).default(0),
  beta2: z.number().min(0).lt(1).default(0.99),
  epsilon: z.number().positive().default(1e-8),
  /**
   * What to do about NaN and infinity in gradients. `paper`: NaN becomes 0 and infinity ±1e5, as in StyleGAN2;
   * `skip`: leave weights and state as they are; `stop`: throw `E_RUN_NON_FINITE`, which names the parameters.
   */
  nonFinite: z.enum(['paper', 'skip', 'stop']).default('paper'),
});

/**
 * Options of `Adam` and `RAdam`.
 *
 * @interface
 */
export type AdamOptions = z.input<typeof adamOptions>;

/** What a non-finite gradient becomes under `paper`. */
const LARGE_GRADIENT = 1e5;

// ---------------------------------------------------------------------------------------------------------------------
// The arithmetic

export interface AdamTensors {
  weights: tf.Tensor1D;
  gradient: tf.Tensor1D;
  /** Undefined where beta1 is 0: m is then the gradient itself. */
  m: tf.Tensor1D | undefined;
  v: tf.Tensor1D;
}

export interface AdamCoefficients {
  beta1: number;
  beta2: number;
  /** Learning rate with every bias correction. */
  rate: number;
  /** Added to sqrt(v); undefined where the step does not divide by it. */
  epsilon: number | undefined;
}

/**
 * One update of flat tensors: m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w = w - rate m / (sqrt(v) + epsilon).
 *
 * All of an optimizer's work on values passes here. The caller disposes what comes back.
 */
export function adamUpdate(tensors: AdamTensors, coefficients: AdamCoefficients) {
  return fusedAdam(tensors, coefficients) ?? composedAdam(tensors, coefficients);
}

function composedAdam({ weights, gradient, m, v }: AdamTensors, { beta1, beta2, rate, epsilon }: AdamCoefficients) {
  const newM = m && tf.tidy(() => tf.add<tf.Tensor1D>(tf.mul(m, beta1), tf.mul(gradient, 1 - beta1)));
  const newV = tf.tidy(() => tf.add<tf.Tensor1D>(tf.mul(v, beta2), tf.mul(tf.square(gradient), 1 - beta2)));
  const newWeights = tf.tidy(() => {
    const direction = newM ?? gradient;
    const scaled = epsilon === undefined ? direction : tf.div(direction, tf.add(tf.sqrt(newV), epsilon));
    return tf.sub<tf.Tensor1D>(weights, tf.mul(scaled, rate));
  });
  return { weights: newWeights, m: newM, v: newV };
}

// ---------------------------------------------------------------------------------------------------------------------
// Optimizers

abstract class AdamFamily implements Optimizer {
  abstract readonly name: string;
  /** For config.json. */
  readonly description: { part: string; options: unknown };
  steps = 0;
  protected readonly options: z.output<typeof adamOptions>;
  #flat = new FlatParameters([]);
  #m: tf.Tensor1D[] | undefined;
  #v: tf.Tensor1D[] = [];

  constructor(options: AdamOptions, where: string) {
    this.options = parseOptions(adamOptions, options, where);
    this.description = { part: where, options: this.options };
  }

  /** Coefficients of step `t`, counted from 1. */
  protected abstract coefficients(t: number, learningRate: number): AdamCoefficients;

  get parameters(): readonly Parameter[] {
    return this.#flat.parameters;
  }

  bind(parameters: readonly Parameter[]): void {
    const flat = new FlatParameters(parameters.filter(({ trainable }) => trainable));
    this.dispose();
    this.steps = 0;
    this.#flat = flat;
    this.#m = this.options.beta1 === 0 ? undefined : flat.zeros();
    this.#v = flat.zeros();
  }

  step(gradients: readonly tf.Tensor[], { learningRateScale = 1, stage = this.name }: OptimizerStepOptions = {}): OptimizerStepResult {
    this.#checkShapes(gradients, stage);
    return tf.tidy(() => {
      const flat = this.#flat;
      let gradientOf = flat.buckets.map((bucket) => flat.concat(bucket, gradients));
      const nonFinite = allFinite(gradientOf) ? [] : this.#nonFinite(gradients);
      if (nonFinite.length > 0) {
        if (this.options.nonFinite === 'stop') throw nonFiniteError(stage, this.steps, nonFinite);
        if (this.options.nonFinite === 'skip') return { applied: false, nonFinite: nonFinite.map(({ name }) => name) };
        gradientOf = gradientOf.map(replaceNonFinite);
      }
      const coefficients = this.coefficients(++this.steps, this.options.learningRate * learningRateScale);
      flat.buckets.forEach((bucket, i) => this.#update(bucket, i, gradientOf[i]!, coefficients));
      return { applied: true, nonFinite: nonFinite.map(({ name }) => name) };
    });
  }

  #update(bucket: Bucket, i: number, gradient: tf.Tensor1D, coefficients: AdamCoefficients): void {
    tf.tidy(() => {
      const weights = this.#flat.values(bucket);
      const updated = adamUpdate({ weights, gradient, m: this.#m?.[i], v: this.#v[i]! }, coefficients);
      this.#flat.assign(bucket, updated.weights);
      if (this.#m && updated.m) {
        this.#m[i]!.dispose();
        this.#m[i] = tf.keep(updated.m);
      }
      this.#v[i]!.dispose();
      this.#v[i] = tf.keep(updated.v);
    });
  }

  #checkShapes(gradients: readonly tf.Tensor[], stage: string): void {
    const { parameters } = this;
    if (gradients.length !== parameters.length)
      throw new ArgumentError('E_SHAPE', `${stage}: expected ${parameters.length} gradients, got ${gradients.length}`, {
        help: 'give one gradient per entry of optimizer.parameters, in that order',
      });
    parameters.forEach(({ name, engineShape }, i) => {
      if (!tf.util.arraysEqual(engineShape, gradients[i]!.shape))
        throw new ArgumentError(
          'E_SHAPE',
          `${stage}: gradient of ${name}: expected [${engineShape.join(', ')}], got [${gradients[i]!.shape.join(', ')}]`,
          {
            help: 'give one gradient per entry of optimizer.parameters, in that order',
          },
        );
    });
  }

  /** Which gradients are not finite; run only where some are. */
  #nonFinite(gradients: readonly tf.Tensor[]): NonFinite[] {
    return this.parameters.flatMap(({ name, size }, i) => {
      const gradient = gradients[i]!;
      if (allFinite([gradient])) return [];
      const [nan, infinite] = tf.tidy(() => [tf.isNaN(gradient), tf.isInf(gradient)].map((is) => tf.sum(is).dataSync()[0]!));
      return [{ name, description: `${name} (${nan} NaN and ${infinite} infinite of ${size})` }];
    });
  }

  state(): OptimizerState {
    const m = this.#m && this.#flat.read(this.#m);
    const tensors: OptimizerState['tensors'] = new Map();
    for (const [name, v] of this.#flat.read(this.#v)) tensors.set(name, m ? { m: m.get(name)!, v } : { v });
    return { step: this.steps, tensors };
  }

  restore({ step, tensors }: OptimizerState): void {
    this.#flat.check(`${this.name} state`, this.#m ? ['m', 'v'] : ['v'], tensors);
    if (!Number.isSafeInteger(step) || step < 0)
      throw new ArgumentError('E_VALUE', `${this.name} state: expected a step count, got ${step}`, {
        help: 'the checkpoint is damaged; use an older one',
      });
    const fresh = (field: 'm' | 'v') => this.#flat.write(new Map([...tensors].map(([name, entry]) => [name, entry[field]!])));
    const m = this.#m && fresh('m');
    const v = fresh('v');
    this.dispose();
    [this.#m, this.#v, this.steps] = [m, v, step];
  }

  saveState(): CheckpointPart {
    const { step, tensors } = this.state();
    const shapes = new Map(this.parameters.map(({ name, shape }) => [name, shape]));
    const named = [...tensors].flatMap(([name, { m, v }]) =>
      Object.entries({ m, v }).flatMap(([field, data]) => (data ? [{ name: `${field}.${name}`, shape: shapes.get(name)!, data }] : [])),
    );
    return { json: { step }, tensors: named };
  }

  restoreState({ json, tensors }: CheckpointPart): void {
    const entries = new Map<string, { m?: Float32Array; v: Float32Array }>();
    for (const { name, data } of tensors) {
      const key = name.slice(2);
      entries.set(key, { ...entries.get(key), [name[0]!]: data } as { v: Float32Array });
    }
    this.restore({ step: (json as { step: number }).step, tensors: entries });
  }

  dispose(): void {
    for (const tensor of [...(this.#m ?? []), ...this.#v]) tensor.dispose();
    this.#m = undefined;
    this.#v = [];
  }
}

/**
 * Adam with PyTorch's bias correction: m̂ / (sqrt(v̂) + epsilon). Defaults are the paper's: betas (0, 0.99), epsilon 1e-8.
 *
 * @example
 * const adam = new Adam({ learningRate: 1e-4 });
 * adam.bind(network.parameters());
 * const { gradients } = valueAndGradients(loss, weights);
 * adam.step(gradients, { stage: 'generator' });
 */
export class Adam extends AdamFamily {
  readonly name = 'adam';

  constructor(options: AdamOptions) {
    super(options, 'Adam');
  }

  protected coefficients(t: number, learningRate: number): AdamCoefficients {
    const { beta1, beta2, epsilon } = this.options;
    // lr (m / c1) / (sqrt(v) / sqrt(c2) + epsilon), with sqrt(c2) moved to the numerator.
    const root = Math.sqrt(1 - beta2 ** t);
    return { beta1, beta2, rate: (learningRate / (1 - beta1 ** t)) * root, epsilon: epsilon * root };
  }
}

/** Adam that rectifies the variance of its first steps, as `torch.optim.RAdam`; undefined betas are those of {@link Adam}. */
export class RAdam extends AdamFamily {
  readonly name = 'radam';

  constructor(options: AdamOptions) {
    super(options, 'RAdam');
  }

  protected coefficients(t: number, learningRate: number): AdamCoefficients {
    const { beta1, beta2, epsilon } = this.options;
    const c1 = 1 - beta1 ** t;
    const c2 = 1 - beta2 ** t;
    const last = 2 / (1 - beta2) - 1;
    const length = last - (2 * t * beta2 ** t) / c2;
    if (length <= 5) return { beta1, beta2, rate: learningRate / c1, epsilon: undefined };
    const rectification = Math.sqrt(((length - 4) * (length - 2) * last) / ((last - 4) * (last - 2) * length));
    return { beta1, beta2, rate: (learningRate / c1) * rectification * Math.sqrt(c2), epsilon };
  }
}

/**
 * The options of an optimizer whose regularizer runs every `every`-th step as a step of its own: learning rate and
 * betas for `every + 1` updates in the place of `every` (StyleGAN2, appendix B).
 */
export function lazyRegularization(options: AdamOptions, every: number): AdamOptions {
  const ratio = every / (every + 1);
  const { learningRate, beta1, beta2, ...rest } = parseOptions(adamOptions, options, 'lazyRegularization');
  return { ...rest, learningRate: learningRate * ratio, beta1: beta1 ** ratio, beta2: beta2 ** ratio };
}

// ---------------------------------------------------------------------------------------------------------------------
// Non-finite gradients

interface NonFinite {
  name: string;
  description: string;
}

/** One read-back for all tensors. */
function allFinite(tensors: readonly tf.Tensor[]): boolean {
  if (tensors.length === 0) return true;
  return tf.tidy(() => {
    const flags = tensors.map((tensor) => tf.all(tf.isFinite(tensor)));
    return Boolean((flags.length === 1 ? flags[0]! : tf.all(tf.stack(flags))).dataSync()[0]);
  });
}

function replaceNonFinite(gradient: tf.Tensor1D): tf.Tensor1D {
  const bounded = tf.where(tf.isInf(gradient), tf.mul(tf.sign(gradient), LARGE_GRADIENT), gradient);
  return tf.where(tf.isNaN(gradient), tf.zerosLike(gradient), bounded) as tf.Tensor1D;
}

function nonFiniteError(stage: string, steps: number, found: readonly NonFinite[]): RunError {
  const named = found.slice(0, 5).map(({ description }) => description);
  const more = found.length > named.length ? ` and ${found.length - named.length} more` : '';
  return new RunError('E_RUN_NON_FINITE', `${stage}, step ${steps + 1}: expected finite gradients, found ${named.join(', ')}${more}`, {
    help: "lower the learning rate, check the data, or set nonFinite to 'paper' to replace such values",
  });
}
