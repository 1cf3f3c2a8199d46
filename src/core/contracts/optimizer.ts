/**
 * Optimizers: what turns gradients into new weights.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Parameter } from '../parameter.js';
import type { Checkpointable } from './training.js';

/** Options of one update. */
export interface OptimizerStepOptions {
  /** Multiplies the learning rate of this step, for schedules. Default 1. */
  learningRateScale?: number;
  /** Who makes the step, for error messages, such as `generator`. */
  stage?: string;
}

/** What became of one update. */
export interface OptimizerStepResult {
  /** False where the step was skipped because of non-finite gradients. */
  applied: boolean;
  /** Names of the parameters whose gradients held NaN or infinity. */
  nonFinite: readonly string[];
}

/** Values by parameter name, in the published layout. */
export interface OptimizerState {
  /** Steps done. */
  step: number;
  /** `m` is the running mean of the gradients, absent where beta1 is 0; `v` that of their squares. */
  tensors: Map<string, { m?: Float32Array; v: Float32Array }>;
}

/** Trains the parameters that it is bound to. */
export interface Optimizer extends Checkpointable {
  readonly name: string;
  /** What it was made with, for config.json. */
  readonly description?: { readonly part: string; readonly options: unknown };
  /** Steps done. */
  readonly steps: number;
  /** The trainable ones of the bound parameters, in order: gradients are given in this order. */
  readonly parameters: readonly Parameter[];
  /** Takes the trainable ones of `parameters`, which must have values; frozen ones cost nothing. Starts at step 0. */
  bind(parameters: readonly Parameter[]): void;
  /** One update. `gradients` are in the engine's layout, one per entry of `parameters`; the caller disposes them. */
  step(gradients: readonly tf.Tensor[], options?: OptimizerStepOptions): OptimizerStepResult;
  state(): OptimizerState;
  /** Throws `E_WEIGHTS_MISMATCH` that lists every name and size that does not fit; nothing has changed then. */
  restore(state: OptimizerState): void;
  dispose(): void;
}
