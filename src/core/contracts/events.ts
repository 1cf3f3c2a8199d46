/**
 * What a run tells: one stream of typed events, plain values only, each of them a line of `events.jsonl`.
 */
import type { Observable } from 'rxjs';

interface EventBase {
  /** Milliseconds since the epoch. */
  time: number;
  /** Optimizer steps done. */
  step: number;
  /** Real images seen by the discriminator (the papers' unit of training length). */
  images: number;
}

/** The first event: training begins, or goes on. */
export interface StartedEvent extends EventBase {
  kind: 'started';
  runDir: string | undefined;
  /** The engine, as in `openBackend().name`. */
  backend: string;
  /** Images at which the run will end. */
  totalImages: number;
  batchSize: number;
  /** True where the run goes on from a checkpoint. */
  resumed: boolean;
  parameters: { generator: number; frozen: number; discriminator: number };
}

/** Every `reportEvery` iterations, and after the last. */
export interface StepEvent extends EventBase {
  kind: 'step';
  /** Losses and penalties of this step by name, such as `generator`, `discriminator`, `r1`. */
  losses: Record<string, number>;
  /** Over the last steps, waiting for data included. */
  imagesPerSecond: number;
  /** Seconds since this process began to train. */
  elapsedSeconds: number;
  /** Estimate. */
  remainingSeconds: number;
  /** Share of the time since the last step event that was spent waiting for data, 0 to 1. */
  waitShare: number;
}

/** The averaged generator was scored. */
export interface EvaluationEvent extends EventBase {
  kind: 'evaluation';
  /** Metrics by name, such as `frechet`. */
  metrics: Record<string, number>;
}

/** Images to look at: before the first iteration, at the interval `samples`, and at the end. */
export interface SamplesEvent extends EventBase {
  kind: 'samples';
  /** `[B, H, W, C]` uint8, the EMA generator's images for the run's fixed latents. */
  batch: Uint8Array;
  shape: readonly [number, number, number, number];
}

/** A file was written: `snapshot` holds EMA weights, `checkpoint` everything to go on. */
export interface FileEvent extends EventBase {
  kind: 'snapshot' | 'checkpoint';
  path: string;
}

/** Something that does not end the run. */
export interface WarningEvent extends EventBase {
  kind: 'warning';
  /** Stable: `W_DATA_SKIPPED` invalid images were left out, `W_SINK` an optional sink failed. */
  code: string;
  message: string;
}

/** `pause()` and `continue()` were called. */
export interface PauseEvent extends EventBase {
  kind: 'paused' | 'continued';
}

/** The last event. */
export interface EndedEvent extends EventBase {
  kind: 'ended';
  /** `completed`: all images seen; `stopped`: by an AbortSignal, SIGINT or `stop()`; `failed`: by an error. */
  reason: 'completed' | 'stopped' | 'failed';
  seconds: number;
  error?: { code: string; message: string };
}

/** Everything that a run tells, by `kind`. */
export type RunEvent = StartedEvent | StepEvent | EvaluationEvent | SamplesEvent | FileEvent | WarningEvent | PauseEvent | EndedEvent;

/**
 * Something that listens to a run: console progress, files, charts.
 *
 * An error thrown by a sink stops the run unless `optional` is true; then it becomes a warning event.
 */
export interface Sink {
  readonly name: string;
  readonly optional?: boolean;
  /** Called once, before the first event. Must resolve when the stream has completed and everything is written. */
  attach(events$: Observable<RunEvent>, context: SinkContext): Promise<void>;
}

/** What a sink knows of its run. */
export interface SinkContext {
  /** The run's directory; undefined where the run leaves no files. */
  runDir: string | undefined;
}
