/**
 * One pass over images by number: batches are made or read, handed on and forgotten.
 */
import type { EvaluationProgress } from '../../core/contracts/evaluation.js';
import { RunError } from '../../core/errors.js';
import type { GeneratedImages } from '../numbered-images.js';

/** A batch as stored. */
export type Images = Pick<GeneratedImages, 'images' | 'shape'>;

export interface Pass {
  phase: EvaluationProgress['phase'];
  name: string;
  /** Images from number 0 on. */
  count: number;
  /** Images `first` … `first + count - 1`. */
  images(first: number, count: number): Promise<Images>;
  /** Takes a batch in, in order. */
  use(batch: Images): Promise<void>;
}

export interface PassOptions {
  /** Number of the first image; those before it are done. */
  from?: number;
  batchSize: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  /** Keeps what is done so far; called every `checkpointEvery` images, and where the pass is stopped. */
  checkpoint?: ((done: number) => Promise<void>) | undefined;
  checkpointEvery?: number;
}

const HELP = 'where it has an output directory, the same call goes on from there';

/** Why an evaluation ended early. */
export const stopped = (done: number, count: number): RunError =>
  new RunError('E_RUN_STOPPED', `the evaluation was stopped at ${done} of ${count} images of this pass`, { help: HELP });

/** What ended an evaluation: reads that a signal ended throw errors of their own, which become `E_RUN_STOPPED`. */
export function asStopped(error: unknown, signal: AbortSignal | undefined): Error {
  const byAbort = signal?.aborted === true && (error === signal.reason || (error as Error | undefined)?.name === 'AbortError');
  return byAbort
    ? new RunError('E_RUN_STOPPED', 'the evaluation was stopped between two passes', { help: HELP, cause: error })
    : (error as Error);
}

/** Runs a pass. While a batch is in use the next one is being made. Throws `E_RUN_STOPPED` after `signal`, between two batches. */
export async function runPass({ phase, name, count, images, use }: Pass, options: PassOptions): Promise<void> {
  const { from = 0, batchSize, signal, onProgress, checkpoint, checkpointEvery = Infinity } = options;
  const start = performance.now();
  const report = (done: number) => {
    const seconds = (performance.now() - start) / 1000;
    const imagesPerSecond = done > from ? (done - from) / Math.max(seconds, 1e-9) : 0;
    onProgress?.({
      phase,
      name,
      done,
      count,
      imagesPerSecond,
      ...(imagesPerSecond > 0 && { remainingSeconds: (count - done) / imagesPerSecond }),
    });
  };
  const ask = (first: number): Promise<Images> | undefined => {
    if (first >= count) return undefined;
    const batch = images(first, Math.min(batchSize, count - first));
    // An error is thrown where the batch is awaited.
    batch.catch(() => undefined);
    return batch;
  };

  report(from);
  let saved = from;
  let next = ask(from);
  for (let done = from; done < count;) {
    if (signal?.aborted) {
      await next?.catch(() => undefined);
      if (done > saved) await checkpoint?.(done);
      throw stopped(done, count);
    }
    const batch = await next!;
    done += batch.shape[0];
    next = ask(done);
    await use(batch);
    report(done);
    // Signals, sinks and timers get their turn: evaluation may run inside training.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (done - saved < checkpointEvery && done < count) continue;
    await checkpoint?.(done);
    saved = done;
  }
}
