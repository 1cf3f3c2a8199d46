/**
 * The stream of training batches: demand-driven, shuffled, resumable from a single number.
 */
import { Observable } from 'rxjs';
import { z } from 'zod';
import type { DataDescription, DataSource, ImageBatch } from '../core/contracts/data.js';
import { ArgumentError, FileError, OnestepError } from '../core/errors.js';
import { hash, mix } from './hash.js';
import { parseOptions } from '../core/options.js';
import { permutation } from './permutation.js';

/** A batch and its place in the stream. */
export interface PositionedBatch extends ImageBatch {
  /** Images consumed, by all processes together, when this batch has been used: give it as `cursor` to go on after it. */
  cursor: number;
}

const batchStreamOptions = z
  .strictObject({
    /** Images in a batch. May exceed the set: batches run over the ends of epochs. */
    batchSize: z.int().min(1),
    /** Seeds the order and the flips. */
    seed: z.int().min(0),
    /** Images already consumed, by all processes together; the stream goes on after them. */
    cursor: z.int().min(0).default(0),
    /** Mirrors each image left to right with probability one half. */
    flip: z.boolean().default(false),
    /** Which of `processes` this one is. */
    rank: z.int().min(0).default(0),
    /**
     * Processes that train together: the batch of one is the part of rank r of `processes` consecutive batches, at positions
     * r, r + processes, … of the stream; together they read what one process with batches so many times as large would.
     */
    processes: z.int().min(1).default(1),
    /** Reads in flight and batches waiting, together, at most. */
    prefetch: z.int().min(1).default(2),
    /** Each value asks for one batch. */
    demand$: z.custom<Observable<void>>((value) => value instanceof Observable, 'expected an Observable'),
    /** Ends the stream with the signal's reason as its error. */
    signal: z.instanceof(AbortSignal).optional(),
    /** What `source.open()` gave, where it has been called already; undefined: the stream calls it on subscription. */
    description: z.custom<DataDescription>().optional(),
  })
  .refine(({ rank, processes }) => rank < processes, { path: ['rank'], message: 'expected less than processes' });

/**
 * Options of `batchStream`.
 *
 * @interface
 */
export type BatchStreamOptions = z.input<typeof batchStreamOptions>;

/**
 * Batches of a source, one for each demand, in a random order that visits every image once per epoch.
 *
 * Each epoch has its own permutation, computed rather than stored. The batch at cursor `c` depends on source, seed, batch size, flip and
 * `c` alone, so that a stream resumed at any cursor equals one that was never interrupted.
 *
 * On subscription up to `prefetch` reads start; each emitted batch makes room for another. Completes when `demand$` has completed and
 * all its demands are met. Unsubscribing, an abort and an error stop the reads and drop what is buffered. A failed read becomes the
 * stream's error when its batch is due, after all batches before it. The source is not closed: whoever made it closes it.
 *
 * ```ts
 * const demand$ = new Subject<void>();
 * batchStream(shapes({ resolution: 16 }), { batchSize: 64, seed: 0, demand$ }).subscribe((batch) => {
 *   train(batch.images);
 *   demand$.next();
 * });
 * demand$.next();
 * ```
 *
 * @throws ConfigError for wrong options; FileError through the stream, with the source's name: `E_FILE_READ`, or the code of the source's own error.
 */
export function batchStream(source: DataSource, options: BatchStreamOptions): Observable<PositionedBatch> {
  const { batchSize, seed, cursor, flip, rank, processes, prefetch, demand$, signal, description } = parseOptions(
    batchStreamOptions,
    options,
    'batchStream',
  );

  return new Observable((subscriber) => {
    const reads = new AbortController();
    const queue: Slot[] = []; // in order of the stream: in flight or waiting
    let next = cursor; // where the next read starts
    let demands = 0;
    let noMoreDemand = false;
    let delivering = false;
    let opened: DataDescription | undefined;
    let place: Place | undefined;

    const prefetchMore = (): void => {
      while (opened !== undefined && place !== undefined && queue.length < prefetch && !subscriber.closed) {
        if (noMoreDemand && queue.length >= demands) return;
        const slot: Slot = { state: 'reading' };
        queue.push(slot);
        const { name } = opened;
        const start = next;
        next += batchSize * processes;
        readBatch(source, place, { start, rank, processes, batchSize, flip }, reads.signal).then(
          (batch) => settle(slot, { state: 'ready', batch }),
          (cause: unknown) => settle(slot, { state: 'failed', error: readError(name, start, cause) }),
        );
      }
    };

    const settle = (slot: Slot, outcome: Slot): void => {
      if (subscriber.closed) return;
      Object.assign(slot, outcome);
      deliver();
    };

    const deliver = (): void => {
      if (delivering) return; // a subscriber asks for more while it is given a batch
      delivering = true;
      while (demands > 0 && !subscriber.closed) {
        const head = queue[0];
        if (head === undefined || head.state === 'reading') break;
        if (head.state === 'failed') {
          subscriber.error(head.error);
          break;
        }
        queue.shift();
        demands--;
        prefetchMore();
        subscriber.next(head.batch);
      }
      delivering = false;
      if (noMoreDemand && demands === 0) subscriber.complete();
    };

    const abort = (): void => subscriber.error(signal!.reason);
    subscriber.add(() => {
      reads.abort();
      queue.length = 0;
      signal?.removeEventListener('abort', abort);
    });
    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort);

    subscriber.add(
      demand$.subscribe({
        next: () => {
          demands++;
          prefetchMore();
          deliver();
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => {
          noMoreDemand = true;
          deliver();
        },
      }),
    );
    if (subscriber.closed) return;

    const begin = (found: DataDescription): void => {
      if (subscriber.closed) return;
      if (found.size === 0) {
        subscriber.error(new ArgumentError('E_VALUE', `batchStream: expected images in ${found.name}, got none`));
        return;
      }
      opened = found;
      place = places(found.size, seed);
      prefetchMore();
    };
    if (description !== undefined) begin(description);
    else source.open().then(begin, (error: unknown) => subscriber.error(error));
  });
}

type Slot = { state: 'reading' } | { state: 'ready'; batch: PositionedBatch } | { state: 'failed'; error: OnestepError };

/** Which image stands at a position of the endless stream, and whether it is mirrored there. */
type Place = (position: number) => { index: number; mirrored: boolean };

function places(size: number, seed: number): Place {
  let epoch = -1;
  let permute = permutation(size, seed, 0);
  let flipKey = 0;
  return (position) => {
    const wanted = Math.floor(position / size);
    if (wanted !== epoch) {
      epoch = wanted;
      permute = permutation(size, seed, epoch);
      flipKey = hash(seed, epoch, ROUND_OF_FLIPS);
    }
    const within = position - epoch * size;
    return { index: permute(within), mirrored: mix(within ^ flipKey) < 0 };
  };
}

/** Beyond the rounds of the permutation, which hashes the same seed and epoch. */
const ROUND_OF_FLIPS = 1000;

/** Which images a batch holds. */
interface Draw {
  /** Position of the first image of rank 0. */
  start: number;
  rank: number;
  processes: number;
  batchSize: number;
  flip: boolean;
}

async function readBatch(source: DataSource, place: Place, draw: Draw, signal: AbortSignal): Promise<PositionedBatch> {
  const { start, rank, processes, batchSize, flip } = draw;
  const indices = new Uint32Array(batchSize);
  const mirrored = new Uint8Array(batchSize);
  for (let k = 0; k < batchSize; k++) {
    const at = place(start + k * processes + rank);
    indices[k] = at.index;
    mirrored[k] = flip && at.mirrored ? 1 : 0;
  }
  const batch = await source.read(indices, signal);
  const [count, height, width, channels] = batch.shape;
  if (count !== batchSize || batch.images.length !== count * height * width * channels) {
    throw new ArgumentError(
      'E_SHAPE',
      `expected ${batchSize} images, got shape [${batch.shape.join(', ')}] and ${batch.images.length} bytes`,
    );
  }
  const positioned: PositionedBatch = { ...batch, cursor: start + batchSize * processes };
  if (flip) positioned.images = mirror(batch.images, batch.shape, mirrored);
  return positioned;
}

/** A copy in which the chosen images are mirrored left to right; the source may keep the original. */
function mirror(images: Uint8Array, [count, height, width, channels]: ImageBatch['shape'], chosen: Uint8Array): Uint8Array {
  const out = images.slice();
  const stride = width * channels;
  for (let row = 0; row < count * height; row++) {
    if (chosen[Math.floor(row / height)] === 0) continue;
    const from = row * stride;
    for (let column = 0; column < width; column++) {
      const to = from + (width - 1 - column) * channels;
      for (let c = 0; c < channels; c++) out[to + c] = images[from + column * channels + c]!;
    }
  }
  return out;
}

/** An error of ours keeps its code and its help. */
function readError(name: string, start: number, cause: unknown): FileError {
  const where = `${name}: reading the batch at cursor ${start}`;
  if (!(cause instanceof OnestepError))
    return new FileError('E_FILE_READ', `${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  const message = cause.help === undefined ? cause.message : cause.message.slice(0, cause.message.lastIndexOf('\nhelp: '));
  return new FileError(cause.code, `${where}: ${message}`, { cause, help: cause.help });
}
