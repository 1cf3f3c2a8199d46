/**
 * Metrics as evaluators of students in training.
 */
import { z } from 'zod';
import type { FeatureExtractor, FeatureSet, GaussianStatistics } from '../../core/contracts/metric.js';
import { ConfigError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { FeatureCollector } from '../../metrics/feature-collector.js';
import { frechet } from '../../metrics/frechet.js';
import type { BackboneConfig } from '../../models/backbones/backbone.js';
import type { BestMetric } from '../best-snapshot.js';
import type { Evaluator } from '../evaluator.js';
import type { Student } from '../student.js';
import { MAIN_VALUES, reportedName } from './metric-names.js';
import { openDataOnce } from './open-data.js';
import { scoringSchema } from './options.js';
import { runPass } from './pass.js';
import { statisticsReference } from './reference.js';
import { Problems } from './problems.js';
import { checkFit, draftScores, prepareScores } from './score-drafts.js';
import { betterOfReported, collectReference, computeScore, namedValues, type Score } from './scoring.js';
import { studentSubject } from './subject.js';

const schema = scoringSchema.extend({
  /** Images to generate. Fewer than 50,000 give larger distances; comparable within a run. */
  images: z.int().min(2).default(10_000),
  /** Seed of the latents; image i is the same at every evaluation. */
  seed: z.int().min(0).default(0),
  /** The metric by which the run keeps its best snapshot, as it is reported; undefined: the first that is computed. */
  best: z.string().optional(),
});

/** Options of `metricsEvaluator`. @interface */
export type MetricsEvaluatorOptions = z.input<typeof schema>;

/**
 * Scores the averaged student with the metrics of `evaluate` at every evaluation of a run, which keeps its best snapshot.
 *
 * Weights and reference are read, and a reference set's features collected, before training begins. Throws `E_CONFIG` for wrong options;
 * the rest is found in `prepare`, which the run awaits first.
 *
 * ```ts
 * const run = distill({
 *   teacher: teacher('edm-cifar10-32x32-uncond-ve'),
 *   data: source,
 *   schedule: { images: 5_000_000, batchSize: 256 },
 *   intervals: { evaluation: 500 }, // kimg
 *   evaluate: metricsEvaluator({ extractors: inceptionV3(), against: 'cifar10-32x32.npz', metrics: ['fid', 'is'], best: 'fid' }),
 *   runDir: 'runs/c10',
 * });
 * ```
 */
export function metricsEvaluator(options: MetricsEvaluatorOptions): Evaluator {
  const parsed = parseOptions(schema, options, 'metricsEvaluator');
  const { images, seed, batchSize, best, ...scoring } = parsed;
  const names = parsed.extractors.map(({ name }) => name).join(', ');
  let ready: Promise<{ scores: Score[]; references: (FeatureSet | undefined)[] }> | undefined;
  let keep: BestMetric | undefined;

  const prepare = async (network: { resolution: number; channels: number }) => {
    const opened = openDataOnce();
    try {
      const settings = { ...scoring, batchSize };
      const problems = new Problems('metricsEvaluator');
      const drafts = await draftScores(settings, { images, keepReferences: false }, opened.open, problems, []);
      checkFit(drafts, network, problems, []);
      keep = await problems.attempt(() => bestOf(drafts, best));
      problems.throwIfAny();
      const scores = await prepareScores(drafts);
      const references: (FeatureSet | undefined)[] = [];
      const say = (line: string) => void process.stderr.write(`${line}\n`);
      for (const score of scores)
        references.push(await collectReference(score, { options: settings, store: undefined, checkpointEvery: Infinity, say }));
      return { scores, references };
    } finally {
      await opened.close();
    }
  };
  const sizeOf = ({ img_resolution, img_channels }: BackboneConfig) => ({ resolution: img_resolution, channels: img_channels });
  return {
    name: `metrics over ${names}`,
    get best() {
      return keep;
    },
    prepare: async (network) => void (await (ready ??= prepare(sizeOf(network)))),
    evaluate: async (student, signal) => {
      const { scores, references } = await (ready ??= prepare(sizeOf(student.backbone.config)));
      const collectors = scores.map(({ extractor, metrics }) => new FeatureCollector(extractor, metrics));
      await collectStudent(student, collectors, { images, seed, batchSize, signal });
      const values: Record<string, number>[] = [];
      for (const [i, score] of scores.entries()) values.push(await computeScore(score, collectors[i]!.result(), references[i], { signal }));
      return Object.fromEntries(namedValues(scores, [values]).map(({ name, values: [value] }) => [name, value!]));
    },
  };
}

/** Generates images of a student, batch by batch, for collectors. */
async function collectStudent(
  student: Student,
  collectors: readonly FeatureCollector[],
  { images, seed, batchSize, signal }: { images: number; seed: number; batchSize: number; signal: AbortSignal | undefined },
): Promise<void> {
  const subject = await studentSubject(student);
  await runPass(
    {
      phase: 'images',
      name: student.name,
      count: images,
      images: (first, count) => subject.images(seed, first, count, images),
      use: async (batch) => {
        for (const collector of collectors) await collector.add(batch.images, batch.shape);
      },
    },
    { batchSize, signal },
  );
}

/** The metric to keep the best snapshot by: the one that is named, else what the first metric is about. */
function bestOf(scores: readonly Pick<Score, 'extractor' | 'metrics'>[], best: string | undefined): BestMetric | undefined {
  const names = scores.flatMap(({ extractor, metrics }) =>
    metrics.flatMap(({ name }) => (name in MAIN_VALUES ? [{ name: reportedName(MAIN_VALUES[name]!, extractor), extractor }] : [])),
  );
  const metric = best ?? names[0]?.name;
  if (metric === undefined) return undefined;
  const better = scores.map(({ extractor }) => betterOfReported(metric, extractor)).find((way) => way !== undefined);
  if (better === undefined && scores.every(({ metrics }) => metrics.every(({ name }) => name in MAIN_VALUES)))
    throw new ConfigError('metricsEvaluator', [
      `best: expected a metric that is computed, such as ${names.map(({ name }) => name).join(', ')}, got ${metric}`,
    ]);
  return { metric, better: better ?? 'lower' };
}

/** Options of `frechetEvaluator`. */
export interface FrechetOptions {
  extractor: FeatureExtractor;
  reference: GaussianStatistics;
  /** Images to generate. */
  images: number;
  /** Seed of the latents; image i is the same whatever else happens. Default 0. */
  seed?: number;
}

/** Generates images and reports `{ frechet }` against statistics, whatever the extractor; `metricsEvaluator` knows more metrics and references. */
export function frechetEvaluator({ extractor, reference, images, seed = 0 }: FrechetOptions): Evaluator {
  return {
    name: `frechet over ${extractor.name}`,
    best: { metric: 'frechet' },
    prepare: async () => void statisticsReference(reference, extractor),
    evaluate: async (student, signal) => {
      const collector = new FeatureCollector(extractor, [frechet()]);
      await collectStudent(student, [collector], { images, seed, batchSize: 64, signal });
      return frechet().compute(collector.result(), statisticsReference(reference, extractor).set, { signal });
    },
  };
}
