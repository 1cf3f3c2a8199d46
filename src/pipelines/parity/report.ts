/**
 * What a parity check says, and how checks are run: one after another, none of them able to stop the rest.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../../core/errors.js';

/** Largest relative L2 errors that float32 explains. */
export const TOLERANCES = { output: 1e-5, gradient: 1e-4 } as const;

/** One line of the table. */
export interface ParityRow {
  /** What was checked: the name of a network, or of a file. */
  subject: string;
  /** Such as `raw output` or `gradient norms`. */
  check: string;
  /** `absent`: the directory has nothing to compare with. */
  status: 'ok' | 'failed' | 'absent';
  /** The largest relative error; undefined where the check knows only right and wrong. NaN: a value is not finite. */
  error?: number | undefined;
  /** The largest error allowed. */
  tolerance?: number | undefined;
  /** The worst tensor, what was counted, what is missing, or the first line of the error. */
  note?: string | undefined;
  seconds: number;
}

/** What the body of a check gives back. */
export type Outcome = Pick<ParityRow, 'status' | 'error' | 'tolerance' | 'note'>;

/** The directory has no such piece. */
export const absent = (note: string): Outcome => ({ status: 'absent', note });

/** A check without a number: right where there is no `problem`. */
export const verdict = (problem: string | undefined, note?: string): Outcome =>
  problem === undefined ? { status: 'ok', note } : { status: 'failed', note: problem };

/** Right where `error` is within `tolerance`; NaN is wrong. */
export const within = (error: number, tolerance: number, note?: string): Outcome => ({
  status: error <= tolerance ? 'ok' : 'failed',
  error,
  tolerance,
  note: Number.isNaN(error) ? ['a value is not finite', note].filter(Boolean).join('; ') : note,
});

/** Of several named errors the largest, with its name; NaN is larger than any number. */
export function worst(errors: Iterable<readonly [name: string, error: number]>): { name: string; error: number } {
  let found = { name: '', error: -1 };
  for (const [name, error] of errors) if (!(error <= found.error) && !Number.isNaN(found.error)) found = { name, error };
  return found;
}

const norm = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
};

/** ‖values‖₂. */
export const l2Norm = norm;

/**
 * ‖actual - expected‖ / max(‖expected‖, floor), in float64; NaN where a value is not finite.
 *
 * Throws `E_SHAPE` where the counts differ.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 0): number {
  if (actual.length !== expected.length)
    throw new ArgumentError('E_SHAPE', `expected ${expected.length} values, got ${actual.length}`, {
      help: 'the golden file belongs to another network or another input',
    });
  const difference = new Float64Array(expected.length);
  for (let i = 0; i < difference.length; i++) difference[i] = actual[i]! - expected[i]!;
  const distance = norm(difference);
  const scale = Math.max(norm(expected), floor);
  if (!Number.isFinite(distance) || !Number.isFinite(scale)) return NaN;
  return distance === 0 ? 0 : distance / scale;
}

/** Runs `compute` and frees its tensors, also where it throws; for results that `tf.tidy` need not search for tensors. */
export function computed<T>(compute: () => T): T {
  let result: { value: T } | undefined;
  tf.tidy(() => {
    result = { value: compute() };
  });
  return result!.value;
}

/** Listens to a parity run. */
export interface ParityListener {
  /** A check begins; those of large networks take minutes. */
  onStart?: ((subject: string, check: string) => void) | undefined;
  onRow?: ((row: ParityRow) => void) | undefined;
}

/** Runs the checks of one subject and collects their rows. */
export class Report {
  readonly rows: ParityRow[] = [];
  readonly #listener: ParityListener;

  constructor(listener: ParityListener = {}) {
    this.#listener = listener;
  }

  /** Runs `body`; whatever it throws becomes a failed row. Returns whether the row is `ok`. */
  async check(subject: string, check: string, body: () => Outcome | Promise<Outcome>): Promise<boolean> {
    this.#listener.onStart?.(subject, check);
    const start = performance.now();
    let outcome: Outcome;
    try {
      outcome = await body();
    } catch (error) {
      outcome = { status: 'failed', note: firstLine(error) };
    }
    const row = { subject, check, ...outcome, seconds: (performance.now() - start) / 1000 };
    this.rows.push(row);
    this.#listener.onRow?.(row);
    return row.status === 'ok';
  }
}

const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
