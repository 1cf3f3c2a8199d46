/**
 * Worker threads that read and decode images in parallel.
 */
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { FileError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { packTask, taskSize, unpackResult, type DecodeResult, type DecodeTask, type DecodeWorkerData } from './decode-task.js';
import type { DecodedImage, EncodedImages, ImageLocation } from './encoded-images.js';
import { imageError, ImageProblem } from './image-problem.js';
import { startDecodeWorker } from './start-worker.js';

/** More threads than this wait for each other: the main thread joins what they decode. */
const MOST_WORKERS = 8;

export const workersOption = z
  .int()
  .min(1)
  .max(256)
  .default(() => Math.min(MOST_WORKERS, availableParallelism()));

const decodePoolOptions = z.strictObject({
  /** Threads; by default one for each core, 8 at most. */
  workers: workersOption,
});

/**
 * Options of `decodePool`.
 *
 * @interface
 */
export type DecodePoolOptions = z.input<typeof decodePoolOptions>;

/** Decodes images of any set, of equal sizes or not. */
export interface DecodePool {
  readonly workers: number;
  /**
   * Decodes the images of the given indices: one result for each, in the given order; an image that cannot be decoded gives its
   * FileError (`E_IMAGE_FORMAT`, `E_IMAGE_DECODER`, `E_FILE_…`) with its name.
   *
   * Rejects with FileError `E_IMAGE_WORKER` where a worker dies, naming the image it was at; with the signal's reason on abort, which
   * ends every worker at once. Later calls start new ones. May be called again before the last call has ended.
   */
  decode(images: EncodedImages, indices: ArrayLike<number>, signal?: AbortSignal): Promise<(DecodedImage | FileError)[]>;
  /** Ends every worker at once; decoding in progress rejects. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * A pool of worker threads that decode images.
 *
 * Threads start with the first images, and do not keep a process alive that has nothing else to do.
 *
 * @throws ConfigError for wrong or unknown options.
 */
export function decodePool(options: DecodePoolOptions = {}): DecodePool {
  return new Pool(parseOptions(decodePoolOptions, options, 'decodePool').workers, startDecodeWorker);
}

/** A pool whose threads are started by `start`: for tests of threads that die. */
export const decodePoolOf = (workers: number, start: (data: DecodeWorkerData) => Worker): DecodePool => new Pool(workers, start);

/** A part of one call that one thread decodes. */
interface Part {
  task: DecodeTask;
  /** The index in the set of each image. */
  indices: number[];
  images: EncodedImages;
  signal: AbortSignal | undefined;
  resolve(images: (DecodedImage | ImageProblem)[]): void;
  reject(error: unknown): void;
}

interface Thread {
  worker: Worker;
  /** Which image of its first part it is at. */
  progress: Int32Array;
  /** In the order they were sent. */
  parts: Map<number, Part>;
}

class Pool implements DecodePool {
  #threads: Thread[] = [];
  #nextId = 0;
  #closed = false;
  /** Signals with a listener of ours; weak, so that a signal for each call leaves nothing behind. */
  readonly #watched = new WeakSet<AbortSignal>();

  constructor(
    readonly workers: number,
    private readonly start: (data: DecodeWorkerData) => Worker,
  ) {}

  async decode(images: EncodedImages, indices: ArrayLike<number>, signal?: AbortSignal): Promise<(DecodedImage | FileError)[]> {
    this.#check(signal);
    const wanted = Array.from(indices);
    if (wanted.length === 0) return [];
    const locations: ImageLocation[] = [];
    for (const index of wanted) {
      const location = images.location(index);
      locations.push(location instanceof Promise ? await location : location);
    }
    this.#check(signal);

    const share = Math.ceil(wanted.length / this.workers);
    const parts: Promise<(DecodedImage | ImageProblem)[]>[] = [];
    for (let from = 0; from < wanted.length; from += share) {
      const task = packTask(this.#nextId++, locations.slice(from, from + share));
      parts.push(
        new Promise((resolve, reject) => this.#send({ task, images, signal, resolve, reject, indices: wanted.slice(from, from + share) })),
      );
    }
    const decoded = (await Promise.all(parts)).flat();
    return decoded.map((image, k) => (image instanceof ImageProblem ? imageError(image, nameOf(images, wanted[k]!)) : image));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#end(() => closedError());
  }

  #check(signal: AbortSignal | undefined): void {
    if (this.#closed) throw closedError();
    signal?.throwIfAborted();
    if (signal === undefined || this.#watched.has(signal)) return;
    this.#watched.add(signal);
    // A signal that outlives the pool does not keep it.
    const reference = new WeakRef(this);
    const onAbort = () => {
      const pool = reference.deref();
      if (pool !== undefined) pool.#abort(signal);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** Ends every thread; what others than the aborted asked for begins again in new ones. */
  #abort(signal: AbortSignal): void {
    const others: Part[] = [];
    void this.#end((part) => {
      if (part.signal === signal) return signal.reason;
      others.push(part);
      return undefined;
    });
    for (const part of others) this.#send(part);
  }

  #send(part: Part): void {
    if (this.#threads.length < this.workers && this.#threads.every(({ parts }) => parts.size > 0)) this.#startThread();
    const waiting = ({ parts }: Thread) => [...parts.values()].reduce((sum, { task }) => sum + taskSize(task), 0);
    const thread = this.#threads.reduce((least, other) => (waiting(other) < waiting(least) ? other : least));
    thread.parts.set(part.task.id, part);
    thread.worker.ref();
    thread.worker.postMessage(part.task);
  }

  #startThread(): void {
    const progress = new Int32Array(new SharedArrayBuffer(4));
    const thread: Thread = { worker: this.start({ progress }), progress, parts: new Map() };
    thread.worker.on('message', (result: DecodeResult) => this.#receive(thread, result));
    thread.worker.on('error', (error: unknown) => this.#died(thread, error instanceof Error ? error.message : String(error)));
    thread.worker.on('exit', (code) => this.#died(thread, `it ended with exit code ${code}`));
    this.#threads.push(thread);
  }

  #receive(thread: Thread, result: DecodeResult): void {
    const part = thread.parts.get(result.id);
    if (part === undefined) return;
    if (result.failure !== undefined) return this.#died(thread, result.failure);
    thread.parts.delete(result.id);
    if (thread.parts.size === 0) thread.worker.unref();
    part.resolve(unpackResult(result));
  }

  /** One thread has ended by itself: all are ended, and everything asked for fails with the image that it was at. */
  #died(thread: Thread, reason: string): void {
    if (!this.#threads.includes(thread)) return;
    const [part] = thread.parts.values();
    const at =
      part && `${nameOf(part.images, part.indices[Atomics.load(thread.progress, 0)] ?? part.indices[0]!)}: the worker that decoded it died`;
    const error = new FileError('E_IMAGE_WORKER', `${at ?? 'a worker that decodes images died'}: ${reason}`, {
      help: 'look at that image, at the memory of this machine and its limits; fewer workers need less',
    });
    void this.#end(() => error);
  }

  /** Ends every thread; parts for which `why` gives a reason reject with it. */
  async #end(why: (part: Part) => unknown): Promise<void> {
    const threads = this.#threads;
    this.#threads = [];
    for (const { parts } of threads) {
      for (const part of parts.values()) {
        const reason = why(part);
        if (reason !== undefined) part.reject(reason);
      }
    }
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }
}

const nameOf = (images: EncodedImages, index: number) => `${images.name}: ${images.entryName(index)}`;

const closedError = () =>
  new FileError('E_FILE_CLOSED', 'decodePool: expected an open pool, found it closed', {
    help: 'read images before you close their source',
  });
