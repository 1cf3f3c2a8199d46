/**
 * Options that every training run shares.
 */
import { z } from 'zod';
import * as tf from '@tensorflow/tfjs-core';
import type { Sink } from '../core/contracts/events.js';
import { ConfigError } from '../core/errors.js';
import { describeIssues } from '../core/options.js';
import type { RunIntervals, RunOptions } from '../core/training-run.js';

const kimg = z.number().min(0);

/** How long a run is, and its batches. */
export const scheduleSchema = z
  .strictObject({
    /** Real images to see. */
    images: z.number().int().positive(),
    batchSize: z.number().int().positive().default(64),
    /** Images of a micro-batch; gradients are accumulated over the batch. Default: the whole batch. */
    microBatch: z.number().int().positive().optional(),
    /** Images over which the learning rates rise linearly from 0. */
    warmUp: z.number().min(0).default(0),
    /** Images at the end over which the learning rates fall linearly to 0. */
    coolDown: z.number().min(0).default(0),
  })
  .superRefine(({ batchSize, microBatch }, context) => {
    if (microBatch !== undefined && batchSize % microBatch !== 0)
      context.addIssue({ code: 'custom', path: ['microBatch'], message: `${microBatch} does not divide the batch size ${batchSize}` });
  });

/** In thousands of images; 0 switches off. */
export const intervalsSchema = z.strictObject({
  /** Everything to go on. */
  checkpoint: kimg.default(500),
  /** EMA weights. */
  snapshot: kimg.default(500),
  /** A grid of the EMA generator's images. */
  samples: kimg.default(100),
  /** Metrics; needs `evaluate`. */
  evaluation: kimg.default(500),
}) satisfies z.ZodType<RunIntervals>;

/** Schema of {@link RunSettings}. */
export const runSchema = z.strictObject({
  schedule: scheduleSchema,
  intervals: intervalsSchema.prefault({}),
  /** Half-life of the average of the weights, in images; at most 5% of the images seen. */
  emaHalfLife: z.number().positive().default(500_000),
  /** Seeds everything that is random. */
  seed: z.number().int().min(0).default(0),
  /** Mirrors real images at random. */
  flip: z.boolean().default(false),
  /** Directory for everything that the run leaves; undefined: no files. */
  runDir: z.string().min(1).optional(),
  /** `auto` goes on from the newest checkpoint in `runDir` where there is one; `never` refuses a used directory. */
  resume: z.enum(['auto', 'never']).default('auto'),
  /** Checkpoints to keep. */
  keepCheckpoints: z.number().int().positive().default(2),
  /** Iterations between two step events. */
  reportEvery: z.number().int().positive().default(1),
  /** Images in the sample grids. */
  sampleCount: z.number().int().positive().default(64),
});

/**
 * What `distill` and `trainTeacher` share.
 *
 * @interface
 */
export type RunSettings = z.input<typeof runSchema>;

/** The settings with defaults; throws `E_CONFIG` with every problem of the settings and of the parts, before anything starts. */
export function checkRunOptions<P extends z.ZodType>(
  where: string,
  settings: unknown,
  partsSchema: P,
  parts: unknown,
): z.output<typeof runSchema> {
  const checkedParts = partsSchema.safeParse(parts);
  const checked = runSchema.safeParse(settings);
  const problems = [checkedParts, checked].flatMap(({ error }) => (error ? describeIssues(error) : []));
  if (!checked.success || problems.length > 0)
    throw new ConfigError(where, problems, { help: 'nothing was started; correct the options and start again' });
  return checked.data;
}

/** What the training run itself needs of the settings. */
export function trainingRunOptions(
  settings: z.output<typeof runSchema>,
  sinks: readonly Sink[],
  signal: AbortSignal | undefined,
): RunOptions {
  const { schedule, intervals, reportEvery } = settings;
  return {
    totalImages: schedule.images,
    batchSize: schedule.batchSize,
    learningRateScale: learningRateScale(schedule),
    intervals,
    reportEvery,
    signal,
    sinks,
    backend: tf.getBackend(),
  };
}

/** Factor of the learning rate after so many images: linear rise, level, linear fall. */
export function learningRateScale({ images, warmUp, coolDown }: z.output<typeof scheduleSchema>): (imagesSeen: number) => number {
  return (seen) => Math.min(1, warmUp > 0 ? (seen + 1) / warmUp : 1, coolDown > 0 ? Math.max(0, images - seen) / coolDown : 1);
}
