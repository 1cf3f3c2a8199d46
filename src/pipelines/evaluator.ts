/**
 * Evaluators: what scores a student during training.
 */
import type { InjectionToken } from 'tsyringe';
import type { Student } from './student.js';

/** Scores a student during and after training. */
export interface Evaluator {
  readonly name: string;
  /** Metrics by name, such as `{ frechet: 12.3 }`. */
  evaluate(student: Student): Promise<Record<string, number>>;
}

/** The run's evaluator, where it has one. */
export const EVALUATOR: InjectionToken<Evaluator> = Symbol.for('onestep/evaluator');
