/**
 * The training run: pulls batches, runs the stages of each iteration, tells what happens, keeps checkpoints.
 *
 * It knows nothing of diffusion: a setup brings the stages, the data and what a checkpoint holds. RxJS has no
 * back-pressure, so a batch is asked for when the iteration before it has ended.
 */
import { concatMap, defer, from, lastValueFrom, Observable, ReplaySubject, Subject, takeUntil, takeWhile } from 'rxjs';
import type { RunEvent, Sink } from './contracts/events.js';
import type { Checkpointable, CheckpointPart, RealImages, Stage } from './contracts/training.js';
import type { RandomSource } from './contracts/random.js';
import { OnestepError, RunError } from './errors.js';

/** When a run does what; all in thousands of images (kimg), 0 switches off. */
export interface RunIntervals {
  checkpoint: number;
  snapshot: number;
  samples: number;
  evaluation: number;
}

/** How a training run goes, whatever it trains. */
export interface RunOptions {
  /** Images at which the run ends. */
  totalImages: number;
  batchSize: number;
  /** Factor of the learning rates after so many images. */
  learningRateScale(imagesSeen: number): number;
  intervals: RunIntervals;
  /** Iterations between two step events. */
  reportEvery: number;
  /** Stops the run as `stop()` does. */
  signal?: AbortSignal | undefined;
  sinks: readonly Sink[];
  /** For the started event. */
  backend: string;
}

/** Where a run keeps its files; undefined in the setup means that it keeps none. */
export interface RunStore {
  readonly path: string;
  saveCheckpoint(kimg: number, parts: Record<string, CheckpointPart>): Promise<string>;
  /** The newest complete checkpoint, or undefined. */
  loadCheckpoint(): Promise<Record<string, CheckpointPart> | undefined>;
  release(): Promise<void>;
}

/** A batch with its place in the stream. */
export interface CursorBatch {
  /** Images consumed when this batch has been used. */
  cursor: number;
}

/** Keeps the best of the evaluated weights on disk. */
export interface BestKeeper {
  /** Takes up what an earlier process of this run has kept; called where the run goes on from a checkpoint. */
  restore(): Promise<void>;
  /** Keeps the weights that were just evaluated if they are better than all before; the path where they are. */
  offer(metrics: Readonly<Record<string, number>>, images: number): Promise<string | undefined>;
}

/** What is trained. */
export interface TrainingSetup<Batch extends CursorBatch, Result> {
  stages: readonly Stage[];
  random: RandomSource;
  /** The stream of batches after `cursor` images, one for each demand. */
  batches(demand$: Observable<void>, cursor: number): Observable<Batch>;
  /** Cuts a batch into micro-batches. */
  microBatches(batch: Batch): readonly RealImages[];
  /** After all stages of an iteration: averages. */
  afterIteration?(imagesSeen: number, batchSize: number): void;
  parameters: { generator: number; frozen: number; discriminator: number };
  /** What is told after `started`; the run goes on. */
  warnings?: readonly { code: string; message: string }[];
  /** What a checkpoint holds besides the position and the random state. */
  checkpoint: Readonly<Record<string, Checkpointable>>;
  /** Writes a snapshot, named by the images seen, and returns its path. */
  snapshot?(images: number): Promise<string>;
  samples?(): Promise<{ batch: Uint8Array; shape: readonly [number, number, number, number] }>;
  /** Metrics by name; `signal` is aborted where the run is asked to stop, and an evaluation that ends early then rejects. */
  evaluate?(signal: AbortSignal): Promise<Record<string, number>>;
  /** Keeps the weights of the best evaluation. */
  best?: BestKeeper | undefined;
  /** The result of a run that has seen all images, or was stopped. */
  finish(reason: 'completed' | 'stopped'): Promise<Result> | Result;
  /** Frees networks, optimizers and data; called once, at the end. The result of `finish` must outlive it. */
  dispose(): void | Promise<void>;
}

/** A run in progress. */
export interface TrainingRun<Result> {
  /** Every event; late subscribers get the last 1,000 first. Completes after `ended`, also where the run fails. */
  readonly events$: Observable<RunEvent>;
  /** The result; rejects where the run failed. A stopped run resolves with what it has. */
  readonly completed: Promise<Result>;
  /** Ends after the iteration in progress, with a checkpoint; resolves when everything is written. */
  stop(): Promise<void>;
  /** Waits after the iteration in progress until `continue()`. */
  pause(): void;
  continue(): void;
}

type EventBody = RunEvent extends infer E ? (E extends RunEvent ? Omit<E, 'time' | 'step' | 'images'> : never) : never;

/** Starts a run at once. `openStore` locks the run's directory, released at the end; `build` allocates. */
export function startTrainingRun<Batch extends CursorBatch, Result>(
  options: RunOptions,
  openStore: () => Promise<RunStore | undefined>,
  build: (store: RunStore | undefined) => Promise<TrainingSetup<Batch, Result>>,
): TrainingRun<Result> {
  return new Run<Batch, Result>(options, openStore, build);
}

class Run<Batch extends CursorBatch, Result> implements TrainingRun<Result> {
  readonly completed: Promise<Result>;
  readonly #events$ = new ReplaySubject<RunEvent>(1_000);
  readonly events$ = this.#events$.asObservable();
  readonly #stopped$ = new Subject<void>();
  #stopRequested = false;
  #paused: { promise: Promise<void>; release: () => void } | undefined;
  #inFlight: Promise<unknown> = Promise.resolve();
  #step = 0;
  #images = 0;
  #startedAt = performance.now();
  #report = { time: 0, images: 0, waited: 0, losses: new Map<string, number>() };
  #lastCheckpoint = -1;
  #evaluatedAtCheckpoint = 0;
  /** Images at the last evaluation that was finished. */
  #evaluated = 0;
  /** Aborted when the run is asked to stop. */
  readonly #stopping = new AbortController();
  /** Of the first sink that failed. */
  #sinkError: { error: unknown } | undefined;
  #store: RunStore | undefined;

  constructor(
    readonly options: RunOptions,
    openStore: () => Promise<RunStore | undefined>,
    build: (store: RunStore | undefined) => Promise<TrainingSetup<Batch, Result>>,
  ) {
    const onAbort = () => void this.stop();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    if (options.signal?.aborted) {
      this.#stopRequested = true;
      this.#stopping.abort();
    }
    this.completed = this.#run(openStore, build).finally(() => options.signal?.removeEventListener('abort', onAbort));
    // A caller that only listens to events$ must not crash the process.
    this.completed.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#requestStop();
    await this.completed.then(
      () => undefined,
      () => undefined,
    );
  }

  #requestStop(): void {
    this.#stopRequested = true;
    this.#stopping.abort();
    this.continue();
    this.#stopped$.next();
  }

  pause(): void {
    if (this.#paused || this.#stopRequested) return;
    let release!: () => void;
    const promise = new Promise<void>((resolve) => (release = resolve));
    this.#paused = { promise, release };
    this.#emit({ kind: 'paused' });
  }

  continue(): void {
    if (!this.#paused) return;
    this.#paused.release();
    this.#paused = undefined;
    this.#emit({ kind: 'continued' });
  }

  async #run(
    openStore: () => Promise<RunStore | undefined>,
    build: (store: RunStore | undefined) => Promise<TrainingSetup<Batch, Result>>,
  ): Promise<Result> {
    let setup: TrainingSetup<Batch, Result> | undefined;
    let sinks: Promise<void>[] = [];
    try {
      this.#store = await openStore();
      sinks = this.options.sinks.map((sink) => this.#attach(sink));
      setup = await build(this.#store);
      const cursor = await this.#restore(setup);
      await this.#train(setup, cursor);
      if (this.#images >= this.options.totalImages) await this.#finalFiles(setup);
      const unfinished = this.#images < this.options.totalImages || this.#lacksEvaluation(setup);
      const reason = this.#stopRequested && unfinished ? 'stopped' : 'completed';
      await this.#checkpoint(setup);
      if (this.#sinkError) throw this.#sinkError.error;
      const result = await setup.finish(reason);
      this.#emit({ kind: 'ended', reason, seconds: this.#seconds() });
      this.#events$.complete();
      await Promise.all(sinks);
      return result;
    } catch (error) {
      const { code, message } = error instanceof OnestepError ? error : { code: 'E_UNEXPECTED', message: String(error) };
      this.#emit({ kind: 'ended', reason: 'failed', seconds: this.#seconds(), error: { code, message } });
      this.#events$.complete();
      await Promise.all(sinks);
      throw error;
    } finally {
      await setup?.dispose();
      await this.#store?.release();
    }
  }

  /** Hands the newest checkpoint out; returns the cursor of the data stream. */
  async #restore(setup: TrainingSetup<Batch, Result>): Promise<number> {
    const parts = await this.#store?.loadCheckpoint();
    let cursor = 0;
    if (parts) {
      const missing = ['run', ...Object.keys(setup.checkpoint)].filter((name) => !parts[name]);
      if (missing.length > 0)
        throw new RunError(
          'E_RUN_CHECKPOINT',
          `the checkpoint in ${this.#store!.path} lacks the part${missing.length > 1 ? 's' : ''} ${missing.join(', ')}`,
          {
            help: 'it was made by another configuration; use another run directory',
          },
        );
      for (const [name, part] of Object.entries(setup.checkpoint)) part.restoreState(parts[name]!);
      const state = parts['run']!.json as {
        step: number;
        images: number;
        cursor: number;
        random: Parameters<RandomSource['restore']>[0];
        evaluated?: number;
      };
      setup.random.restore(state.random);
      [this.#step, this.#images, cursor] = [state.step, state.images, state.cursor];
      this.#lastCheckpoint = this.#images;
      this.#evaluated = this.#evaluatedAtCheckpoint = state.evaluated ?? this.#images;
      await setup.best?.restore();
    }
    this.#startedAt = performance.now();
    this.#report = { time: this.#startedAt, images: this.#images, waited: 0, losses: new Map() };
    this.#cursor = cursor;
    this.#emit({
      kind: 'started',
      runDir: this.#store?.path,
      backend: this.options.backend,
      totalImages: this.options.totalImages,
      batchSize: this.options.batchSize,
      resumed: parts !== undefined,
      parameters: setup.parameters,
    });
    for (const warning of setup.warnings ?? []) this.#emit({ kind: 'warning', ...warning });
    if (!parts) await this.#emitSamples(setup);
    // One that was due at the checkpoint and was stopped.
    else if (this.#images < this.options.totalImages && this.#isDue(this.options.intervals.evaluation, this.#evaluated))
      await this.#evaluate(setup);
    return cursor;
  }

  #cursor = 0;

  async #train(setup: TrainingSetup<Batch, Result>, cursor: number): Promise<void> {
    if (this.#stopRequested || this.#images >= this.options.totalImages) return;
    const demand$ = new Subject<void>();
    let askedAt = 0;
    const ask = () => {
      askedAt = performance.now();
      demand$.next();
    };
    const iterate = async (batch: Batch): Promise<boolean> => {
      this.#report.waited += performance.now() - askedAt;
      await this.#iteration(setup, batch);
      if (this.#paused) await this.#paused.promise;
      // Let signals, sinks and timers have their turn between two iterations.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const more = this.#images < this.options.totalImages && !this.#stopRequested;
      if (more) ask();
      return more;
    };
    const iterations$ = defer(() => {
      const batches$ = setup.batches(demand$, cursor).pipe(
        concatMap((batch) => (this.#inFlight = iterate(batch)) as Promise<boolean>),
        takeWhile((more) => more),
      );
      // Subscribing comes first: a demand before it would be lost.
      return new Observable<boolean>((subscriber) => {
        const subscription = batches$.subscribe(subscriber);
        ask();
        return subscription;
      });
    });
    // A stop while data is awaited ends at once; one during an iteration lets it finish.
    const stop$ = this.#stopped$.pipe(concatMap(() => from(this.#inFlight.catch(() => undefined))));
    await lastValueFrom(iterations$.pipe(takeUntil(stop$)), { defaultValue: false });
  }

  async #iteration(setup: TrainingSetup<Batch, Result>, batch: Batch): Promise<void> {
    const { batchSize, totalImages, reportEvery, intervals } = this.options;
    const context = {
      step: this.#step,
      imagesSeen: this.#images,
      batchSize,
      learningRateScale: this.options.learningRateScale(this.#images),
      microBatches: setup.microBatches(batch),
      random: setup.random,
    };
    for (const stage of setup.stages) {
      if (this.#step % stage.every !== 0) continue;
      for (const [name, value] of Object.entries(stage.run(context))) this.#report.losses.set(name, value);
    }
    const before = this.#images;
    this.#step++;
    this.#images += batchSize;
    this.#cursor = batch.cursor;
    setup.afterIteration?.(this.#images, batchSize);
    if (this.#step % reportEvery === 0 || this.#images >= totalImages) this.#emitStep();

    const due = (kimg: number) => this.#isDue(kimg, before);
    if (this.#images >= totalImages) return;
    if (due(intervals.samples)) await this.#emitSamples(setup);
    if (due(intervals.evaluation)) await this.#evaluate(setup);
    if (due(intervals.snapshot)) await this.#snapshot(setup);
    if (due(intervals.checkpoint)) await this.#checkpoint(setup);
  }

  /** True where a multiple of `kimg` lies in (`before`, now]. */
  #isDue(kimg: number, before: number): boolean {
    return kimg > 0 && Math.floor(this.#images / (kimg * 1000)) > Math.floor(before / (kimg * 1000));
  }

  /** True where what there is now should be scored at the end and is not. */
  #lacksEvaluation(setup: TrainingSetup<Batch, Result>): boolean {
    return setup.evaluate !== undefined && this.options.intervals.evaluation > 0 && this.#evaluated < this.#images;
  }

  async #finalFiles(setup: TrainingSetup<Batch, Result>): Promise<void> {
    const trained = this.#lastCheckpoint !== this.#images;
    if (trained) await this.#emitSamples(setup);
    if (this.#lacksEvaluation(setup)) await this.#evaluate(setup);
    if (trained) await this.#snapshot(setup);
  }

  /** An evaluation that was stopped is made again when the run goes on. */
  async #evaluate(setup: TrainingSetup<Batch, Result>): Promise<void> {
    if (!setup.evaluate || this.#stopping.signal.aborted) return;
    let metrics: Record<string, number>;
    try {
      metrics = await setup.evaluate(this.#stopping.signal);
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      throw error;
    }
    this.#evaluated = this.#images;
    this.#emit({ kind: 'evaluation', metrics });
    const best = this.#store && (await setup.best?.offer(metrics, this.#images));
    if (best !== undefined) this.#emit({ kind: 'snapshot', path: best });
  }

  async #snapshot(setup: TrainingSetup<Batch, Result>): Promise<void> {
    if (!this.#store || !setup.snapshot) return;
    this.#emit({ kind: 'snapshot', path: await setup.snapshot(this.#images) });
  }

  async #checkpoint(setup: TrainingSetup<Batch, Result>): Promise<void> {
    if (!this.#store || (this.#lastCheckpoint === this.#images && this.#evaluatedAtCheckpoint === this.#evaluated)) return;
    const parts: Record<string, CheckpointPart> = Object.fromEntries(
      Object.entries(setup.checkpoint).map(([name, part]) => [name, part.saveState()]),
    );
    const position = { step: this.#step, images: this.#images, cursor: this.#cursor, evaluated: this.#evaluated };
    parts['run'] = { json: { ...position, random: setup.random.state() }, tensors: [] };
    const path = await this.#store.saveCheckpoint(this.#images / 1000, parts);
    [this.#lastCheckpoint, this.#evaluatedAtCheckpoint] = [this.#images, this.#evaluated];
    this.#emit({ kind: 'checkpoint', path });
  }

  async #emitSamples(setup: TrainingSetup<Batch, Result>): Promise<void> {
    const samples = await setup.samples?.();
    if (samples) this.#emit({ kind: 'samples', ...samples });
  }

  #emitStep(): void {
    const now = performance.now();
    const seconds = Math.max(1e-9, (now - this.#report.time) / 1000);
    const imagesPerSecond = (this.#images - this.#report.images) / seconds;
    this.#emit({
      kind: 'step',
      losses: Object.fromEntries(this.#report.losses),
      imagesPerSecond,
      elapsedSeconds: this.#seconds(),
      remainingSeconds: (this.options.totalImages - this.#images) / imagesPerSecond,
      waitShare: Math.min(1, this.#report.waited / 1000 / seconds),
    });
    this.#report = { time: now, images: this.#images, waited: 0, losses: new Map() };
  }

  /** Attaches a sink; one that fails ends the run unless it is optional. */
  async #attach(sink: Sink): Promise<void> {
    try {
      await sink.attach(this.events$, { runDir: this.#store?.path });
    } catch (error) {
      if (sink.optional) {
        this.#emit({ kind: 'warning', code: 'W_SINK', message: `${sink.name} stopped: ${String(error)}` });
        return;
      }
      this.#sinkError ??= { error };
      this.#requestStop();
    }
  }

  #seconds = () => (performance.now() - this.#startedAt) / 1000;

  #emit(event: EventBody): void {
    this.#events$.next({ time: Date.now(), step: this.#step, images: this.#images, ...event } as RunEvent);
  }
}
