/**
 * Options of `evaluate`, and everything about them that can be checked before anything long begins.
 */
import { z } from 'zod';
import type { DataSource } from '../../core/contracts/data.js';
import type { EvaluationProgress } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor, Metric } from '../../core/contracts/metric.js';
import type { Teacher, TeacherLoader } from '../../models/teachers/teacher.js';
import type { Student } from '../student.js';
import { METRIC_NAMES, type MetricName } from './metric-names.js';
import type { Reference } from './reference.js';

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** What was given, short enough for a line. */
function described(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 60 ? `${value.slice(0, 60)}…` : value}'`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return isObject(value) ? `an object with ${Object.keys(value).slice(0, 5).join(', ') || 'nothing'}` : String(value);
}

/** The message of a schema: what was expected and what was found. */
const expected = (what: string) => ({ error: ({ input }: { input?: unknown }) => `expected ${what}, got ${described(input)}` });

const path = z.string(expected('a path')).min(1, expected('a path'));
const whole = (least: number) => {
  const message = expected(`a whole number of ${least} or more`);
  return z.int(message).min(least, message);
};
const object = <T>(what: string, ...keys: string[]) =>
  z.custom<T>((value) => isObject(value) && keys.every((key) => key in value), expected(what));

const source = object<DataSource>('a data source', 'open', 'read');
const extractor = object<FeatureExtractor>('a feature extractor, such as inceptionV3()', 'extract');
const referenceKinds = 'a path, a data source, or statistics';
const reference = z.custom<Reference>(
  (value) => (typeof value === 'string' && value !== '') || (isObject(value) && ('open' in value || 'mean' in value)),
  expected(referenceKinds),
);
const metricNames = z.enum(METRIC_NAMES as [MetricName, ...MetricName[]]);

/** What decides the figures: extractors, metrics and what the images are compared with. */
export const scoringSchema = z.strictObject({
  /** What images are compared with; a record has one for each extractor, by its name. Undefined: only metrics that compare with nothing. */
  against: z
    .union([reference, z.record(z.string(), reference)], expected(`${referenceKinds}, or a record of them by extractor`))
    .optional(),
  /** Networks whose features are compared; each image goes through all of them. They stay the caller's. */
  extractors: z.union([extractor.transform((one) => [one]), z.array(extractor).min(1)], expected('a feature extractor or a list of them')),
  /** Names, or metrics of one's own; undefined: the Fréchet distance, and KID and IS where reference, extractor and number of images allow. */
  metrics: z
    .array(
      z.union([metricNames, object<Metric>('a metric', 'compute', 'needs')], expected(`one of ${METRIC_NAMES.join(', ')}, or a metric`)),
    )
    .min(1, expected('a metric or more'))
    .optional(),
  /** Images that are made, read and extracted together. */
  batchSize: whole(1).default(64),
  /** Of a reference data set with more images, so many chosen at random keep their features; mean and covariance are always of all. */
  references: whole(1).default(50_000),
  /** Where features of data sets are kept, keyed by their content; undefined: in the cache of this package; false: nowhere. */
  featureCache: z.union([path, z.literal(false)], expected('a path, or false')).optional(),
});

/** What tells how far something is, and ends it. */
const watching = {
  onProgress: z.custom<(progress: EvaluationProgress) => void>((value) => typeof value === 'function', expected('a function')).optional(),
  /** Ends it with `E_RUN_STOPPED`. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, expected('an AbortSignal')).optional(),
};

/** Strict schema of `MakeReferenceOptions`. */
export const makeReferenceSchema = scoringSchema.pick({ batchSize: true, featureCache: true }).extend({ extractor, ...watching });

/** Strict schema of {@link EvaluateOptions}. */
export const evaluateSchema = scoringSchema
  .extend({
    ...watching,
    /** A one-step or few-step generator, or the path of one in any format that holds a network. */
    student: z.union([path, object<Student>('a Student', 'backbone', 'generate')], expected('a path or a Student')).optional(),
    /** Noise levels of a student of several steps, falling. */
    sigmas: z
      .array(z.number(expected('a noise level above 0')).positive(expected('a noise level above 0')))
      .min(1, expected('a noise level or more'))
      .optional(),
    /** A diffusion network with EDM's sampler: a path, a published name, a loader, or a loaded one. */
    teacher: z
      .union(
        [path, object<TeacherLoader>('a loader', 'load'), object<Teacher>('a teacher', 'backbone')],
        expected('a path, a teacher loader or a loaded teacher'),
      )
      .optional(),
    /** Steps of the teacher's sampler: 2 * steps - 1 evaluations an image. */
    steps: whole(1).default(18),
    /** A set of images: a folder, a zip and what else `dataset` opens, or a data source. */
    data: z.union([path, source], expected('a path or a data source')).optional(),
    /** Images of each seed; undefined: 50,000, and of a data set all. */
    images: whole(2).optional(),
    /** Image i of a seed is the same whatever the batch size. */
    seeds: z
      .array(whole(0))
      .min(1, expected('a seed or more'))
      .default([0])
      .refine((seeds) => new Set(seeds).size === seeds.length, 'expected each seed once'),
    /** For evaluation.json, evaluation.html, pictures, and the progress of an interrupted evaluation; undefined: no files. */
    outDir: path.optional(),
    /** Of the page; undefined: the name of what is evaluated. */
    title: z.string().optional(),
    /** Images between two states on disk from which an interrupted evaluation goes on. */
    checkpointEvery: whole(1).default(5_000),
    /** What the page shows; `nearest` counts generated images to compare, 0 for none. */
    gallery: z
      .strictObject({
        random: whole(1).default(64),
        nearest: whole(0).default(500),
        interpolations: whole(0).default(6),
      })
      .prefault({}),
    /** How it was called, for evaluation.json. */
    command: z.string().optional(),
  })
  .check(({ value: { student, teacher, data }, issues }) => {
    const given = [student, teacher, data].filter((one) => one !== undefined).length;
    if (given !== 1)
      issues.push({ code: 'custom', message: `expected one of student, teacher and data, got ${given} of them`, input: given });
  });

/** Options of `evaluate`. @interface */
export type EvaluateOptions = z.input<typeof evaluateSchema>;

export type ParsedEvaluateOptions = z.output<typeof evaluateSchema>;

/** What scores images, by `evaluate` or in training. */
export type ScoringOptions = z.output<typeof scoringSchema>;
