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
const path = z.string().min(1);

const student = z.custom<Student>((value) => isObject(value) && 'backbone' in value && 'generate' in value, 'expected a path or a Student');
const teacher = z.custom<Teacher | TeacherLoader>(
  (value) => isObject(value) && ('load' in value || 'backbone' in value),
  'expected a path, a teacher loader or a loaded teacher',
);
const source = z.custom<DataSource>((value) => isObject(value) && 'open' in value && 'read' in value, 'expected a path or a data source');
const extractor = z.custom<FeatureExtractor>(
  (value) => isObject(value) && 'extract' in value,
  'expected a feature extractor, such as inceptionV3()',
);
const reference = z.custom<Reference>(
  (value) => (typeof value === 'string' && value !== '') || (isObject(value) && ('open' in value || 'mean' in value)),
  'expected a path, a data source, or statistics',
);
const metric = z.custom<Metric>(
  (value) => isObject(value) && 'compute' in value && 'needs' in value,
  `expected one of ${METRIC_NAMES.join(', ')}, or a metric`,
);

/** What decides the figures: extractors, metrics and what the images are compared with. */
export const scoringSchema = z.strictObject({
  /** What images are compared with; a record has one for each extractor, by its name. Undefined: only metrics that compare with nothing. */
  against: z.union([reference, z.record(z.string(), reference)]).optional(),
  /** Networks whose features are compared; each image goes through all of them. They stay the caller's. */
  extractors: z.union([extractor.transform((one) => [one]), z.array(extractor).min(1)]),
  /** Names, or metrics of one's own; undefined: the Fréchet distance, and KID and IS where reference, extractor and number of images allow. */
  metrics: z
    .array(z.union([z.enum(METRIC_NAMES as [MetricName, ...MetricName[]]), metric]))
    .min(1)
    .optional(),
  /** Images that are made, read and extracted together. */
  batchSize: z.int().min(1).default(64),
  /** Of a reference data set with more images, so many chosen at random keep their features; mean and covariance are always of all. */
  references: z.int().min(1).default(50_000),
  /** Where features of data sets are kept, keyed by their content; undefined: in the cache of this package; false: nowhere. */
  featureCache: z.union([path, z.literal(false)]).optional(),
});

/** Strict schema of {@link EvaluateOptions}. */
export const evaluateSchema = scoringSchema
  .extend({
    /** A one-step or few-step generator, or the path of one in any format that holds a network. */
    student: z.union([path, student]).optional(),
    /** Noise levels of a student of several steps, falling. */
    sigmas: z.array(z.number().positive()).min(1).optional(),
    /** A diffusion network with EDM's sampler: a path, a published name, a loader, or a loaded one. */
    teacher: z.union([path, teacher]).optional(),
    /** Steps of the teacher's sampler: 2 * steps - 1 evaluations an image. */
    steps: z.int().min(1).default(18),
    /** A set of images: a folder, a zip and what else `dataset` opens, or a data source. */
    data: z.union([path, source]).optional(),
    /** Images of each seed; undefined: 50,000, and of a data set all. */
    images: z.int().min(2).optional(),
    /** Image i of a seed is the same whatever the batch size. */
    seeds: z
      .array(z.int().min(0))
      .min(1)
      .default([0])
      .refine((seeds) => new Set(seeds).size === seeds.length, 'expected each seed once'),
    /** For evaluation.json, evaluation.html, pictures, and the progress of an interrupted evaluation; undefined: no files. */
    outDir: path.optional(),
    /** Of the page; undefined: the name of what is evaluated. */
    title: z.string().optional(),
    /** Images between two states on disk from which an interrupted evaluation goes on. */
    checkpointEvery: z.int().min(1).default(5_000),
    /** What the page shows; `nearest` counts generated images to compare, 0 for none. */
    gallery: z
      .strictObject({
        random: z.int().min(1).default(64),
        nearest: z.int().min(0).default(500),
        interpolations: z.int().min(0).default(6),
      })
      .prefault({}),
    /** How it was called, for evaluation.json. */
    command: z.string().optional(),
    onProgress: z.custom<(progress: EvaluationProgress) => void>((value) => typeof value === 'function').optional(),
    /** Ends the evaluation with `E_RUN_STOPPED`; with `outDir` the same call goes on later. */
    signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal).optional(),
  })
  .superRefine(({ student, teacher, data }, context) => {
    const given = [student, teacher, data].filter((one) => one !== undefined).length;
    if (given !== 1) context.addIssue({ code: 'custom', message: `expected one of student, teacher and data, got ${given} of them` });
  });

/** Options of `evaluate`. @interface */
export type EvaluateOptions = z.input<typeof evaluateSchema>;

export type ParsedEvaluateOptions = z.output<typeof evaluateSchema>;

/** What scores images, by `evaluate` or in training. */
export type ScoringOptions = z.output<typeof scoringSchema>;
