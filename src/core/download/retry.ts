/**
 * Trying again after what may pass: a cut connection, a busy server.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OnestepError } from '../errors.js';

/** What may pass. Carries the error that is thrown in the end if it does not. */
export class Transient extends Error {
  constructor(
    readonly failure: OnestepError,
    /** Milliseconds that the server asks to wait; undefined: the next step of the backoff. */
    readonly waitMilliseconds?: number,
    /** Something came through before it failed: the count of attempts begins anew. */
    readonly progressed = false,
  ) {
    super(failure.message, { cause: failure });
  }
}

export interface RetryOptions {
  /** How often in a row, without anything coming through, it is tried again. */
  retries: number;
  /** Wait before the first repetition; doubles with each, up to 30 s. */
  backoffMilliseconds: number;
  signal?: AbortSignal | undefined;
  /** Called before each wait. */
  onRetry?: (failure: OnestepError, waitMilliseconds: number, repetition: number) => void;
}

const LONGEST_WAIT = 30_000;

/** However little comes through each time, it ends. */
const MOST_ATTEMPTS = 1_000;

/** Runs `attempt` until it does not throw {@link Transient}. Other errors pass through; an abort throws the signal's reason. */
export async function withRetries<T>(options: RetryOptions, attempt: () => Promise<T>): Promise<T> {
  const { retries, backoffMilliseconds, signal, onRetry } = options;
  let failed = 0;
  for (let attempts = 1; ; attempts++) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Transient)) throw error;
      failed = error.progressed ? 1 : failed + 1;
      if (failed > retries || attempts >= MOST_ATTEMPTS) throw error.failure;
      const wait = error.waitMilliseconds ?? Math.min(LONGEST_WAIT, backoffMilliseconds * 2 ** (failed - 1));
      onRetry?.(error.failure, wait, failed);
      await sleep(wait, undefined, signal === undefined ? {} : { signal }).catch(() => {});
    }
  }
}

/** Milliseconds that a Retry-After header asks for, as seconds or as a date; undefined where it says nothing. */
export function retryAfter(header: string | undefined, now = Date.now()): number | undefined {
  const text = header?.trim();
  if (!text) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
