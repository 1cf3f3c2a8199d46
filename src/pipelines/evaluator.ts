/**
 * Evaluators: what scores a student during training.
 */
import type { InjectionToken } from 'tsyringe';
import type { BackboneConfig } from '../models/backbones/backbone.js';
import type { BestMetric } from './best-snapshot.js';
import type { Student } from './student.js';

/** Scores a student during and after training. */
export interface Evaluator {
  readonly name: string;
  /** Reads what it needs and checks it against the network's architecture; awaited once, before training begins. Default: nothing. */
  prepare?(network: BackboneConfig): Promise<void>;
  /** By which metric the run keeps its best snapshot, `best.safetensors`; undefined: it keeps none. Asked after `prepare`. */
  readonly best?: BestMetric;
  /**
   * Metrics by name, such as `{ frechet: 12.3 }`.
   *
   * `signal` is aborted where the run is asked to stop; one that then rejects is called again when the run goes on.
   */
  evaluate(student: Student, signal?: AbortSignal): Promise<Record<string, number>>;
}

/** The run's evaluator, where it has one. */
export const EVALUATOR: InjectionToken<Evaluator> = Symbol.for('onestep/evaluator');
