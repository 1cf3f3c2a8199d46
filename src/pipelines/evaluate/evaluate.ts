/**
 * Evaluation: a student, a teacher or a set of images against a reference, in figures and in pictures.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { DataSource } from '../../core/contracts/data.js';
import type { Evaluation, MetricSummary } from '../../core/contracts/evaluation.js';
import type { FeatureSet } from '../../core/contracts/metric.js';
import { withFileErrors, writeFileAtomic } from '../../core/files.js';
import { parseOptions } from '../../core/options.js';
import { packageVersion } from '../../core/version.js';
import { FeatureCollector } from '../../metrics/feature-collector.js';
import { meanAndSpread } from '../../metrics/feature-sets.js';
import { renderEvaluation } from '../../sinks/render-evaluation.js';
import { interpolationPicture, isShown, nearestImages, randomPicture, type GalleryPicture } from './gallery.js';
import { openDataOnce } from './open-data.js';
import { evaluateSchema, type EvaluateOptions, type ParsedEvaluateOptions } from './options.js';
import { asStopped, runPass } from './pass.js';
import { Problems } from './problems.js';
import { ProgressStore } from './progress-store.js';
import { checkFit, draftScores, prepareScores } from './score-drafts.js';
import { collectReference, computeScore, namedValues, type CollectOptions, type OpenData, type Score } from './scoring.js';
import { dataSubject, isSubjectHere, studentSubject, teacherSubject, type Subject } from './subject.js';

/** Names of what an evaluation leaves in its output directory. */
export const EVALUATION_FILE = 'evaluation.json';
export const EVALUATION_PAGE = 'evaluation.html';

const DEFAULT_IMAGES = 50_000;

/** Matches beside each image of the page, and rows of them. */
const MATCHES = 5;
const NEAREST_ROWS = 8;
const INTERPOLATION_STEPS = 9;

/**
 * Scores images against a reference, and with `outDir` writes evaluation.json, evaluation.html and the pictures of the page.
 *
 * Images are made or read in batches, go through every extractor once and are forgotten; memory holds features, of at most `images` and `references` rows.
 * Image i of a seed is the same whatever the batch size. With `outDir` an evaluation that is stopped or killed goes on where it was when it is called again,
 * and its result is that of an uninterrupted one.
 *
 * Throws `E_CONFIG` with every problem before anything long begins; as loaders, extractors and data sources do; `E_RUN_STOPPED` after `signal`,
 * `E_RUN_CONFIG` where `outDir` holds an interrupted evaluation with other options.
 *
 * ```ts
 * const { metrics } = await evaluate({
 *   student: 'runs/c10/best.safetensors',
 *   against: 'cifar10-32x32.npz',
 *   extractors: inceptionV3(),
 *   seeds: [0, 1, 2],
 *   outDir: 'runs/c10/evaluation',
 * });
 * console.log(metrics['fid']!.min);
 * ```
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const parsed = parseOptions(evaluateSchema, options, 'evaluate');
  const opened = openDataOnce();
  let subject: Subject | undefined;
  try {
    const { scores, images, notes } = await checked(parsed, opened.open, (found) => (subject = found));
    return await evaluateSubject(parsed, subject!, { scores, images, notes });
  } catch (error) {
    throw asStopped(error, parsed.signal);
  } finally {
    await subject?.close();
    await opened.close();
  }
}

/** What is ready to be evaluated. */
interface Checked {
  scores: readonly Score[];
  /** Of each seed. */
  images: number;
  notes: string[];
}

/**
 * Opens the subject and the references, then reads weights. What would have to be fetched is, when everything else is right: all problems are said
 * at once before. `keep` takes the subject as soon as it is open.
 */
async function checked(options: ParsedEvaluateOptions, openData: OpenData, keep: (subject: Subject) => void): Promise<Checked> {
  const problems = new Problems('evaluate');
  const notes: string[] = [];
  const open = async () => {
    const opened = await openSubject(options, openData);
    keep(opened);
    return opened;
  };
  const here = await problems.attempt(() => isSubjectHere(options));
  const early = here === true ? await problems.attempt(open) : undefined;
  const images = imagesOf(options, early, problems);
  const keepReferences = options.outDir !== undefined && options.gallery.nearest > 0;
  const drafts = await draftScores(options, { images, keepReferences }, openData, problems, notes);
  if (early) checkFit(drafts, early, problems, notes);
  problems.throwIfAny();
  if (!early) {
    checkFit(drafts, await open(), problems, notes);
    problems.throwIfAny();
  }
  return { scores: await prepareScores(drafts), images, notes };
}

async function openSubject({ student, sigmas, teacher, steps, data }: ParsedEvaluateOptions, openData: OpenData): Promise<Subject> {
  if (student !== undefined) return studentSubject(student, sigmas);
  if (teacher !== undefined) return teacherSubject(teacher, steps);
  const { source, description } = await openData(data as DataSource | string);
  return dataSubject(source, description);
}

/** Images of each seed; what is wrong with their number goes to `problems`. */
function imagesOf({ images, seeds }: ParsedEvaluateOptions, subject: Subject | undefined, problems: Problems): number {
  if (subject?.size === undefined) return images ?? DEFAULT_IMAGES;
  const { size, name } = subject;
  const count = images ?? size;
  if (count > size) problems.add(`images: ${name} has ${size}, got ${count}`);
  if (count < 2) problems.add(`data: expected two images or more, ${name} has ${size}`);
  if (count === size && seeds.length > 1)
    problems.add(`seeds: all images of ${name} are used, so every seed gives the same; give fewer images, or one seed`);
  return count;
}

async function evaluateSubject(options: ParsedEvaluateOptions, subject: Subject, { scores, images, notes }: Checked): Promise<Evaluation> {
  const { outDir, seeds, signal, onProgress, checkpointEvery, batchSize } = options;
  const begun = performance.now();
  const started = new Date().toISOString();
  const extractors = scores.map(({ extractor, reference }) => ({
    name: extractor.name,
    dimensions: extractor.dimensions,
    ...(extractor.identity && { identity: extractor.identity() }),
    ...(reference && { reference: reference.summary }),
  }));
  const identity = subject.identity;
  const metricNames = scores.map(({ metrics }) => metrics.map(({ name }) => name));
  const store =
    outDir === undefined
      ? undefined
      : await ProgressStore.open(outDir, { subject: identity, images, seeds, extractors, metrics: metricNames });
  try {
    const context: CollectOptions = { options, store, checkpointEvery, onProgress, signal, say: (line) => void notes.push(line) };
    const references: (FeatureSet | undefined)[] = [];
    for (const score of scores) references.push(await collectReference(score, context));

    const values: Record<string, number>[][] = [];
    for (const [index, seed] of seeds.entries()) {
      const name = seeds.length > 1 ? `seed ${seed}, ${index + 1} of ${seeds.length}` : subject.name;
      values.push(await seedValues({ subject, seed, images, name, scores, references, context, batchSize }));
    }

    const summary = (pictures: Pick<Evaluation, 'nearest'>): Evaluation => ({
      format: 'onestep-evaluation',
      version: 1,
      subject: {
        kind: subject.kind,
        name: subject.name,
        identity,
        resolution: subject.resolution,
        channels: subject.channels,
        ...(subject.evaluations !== undefined && { evaluations: subject.evaluations }),
      },
      images,
      seeds,
      metrics: summarize(scores, values),
      extractors,
      ...pictures,
      notes,
      versions: { onestep: packageVersion(), node: process.version, engine: tf.getBackend() },
      ...(options.command !== undefined && { command: options.command }),
      started: store?.started ?? started,
      finished: new Date().toISOString(),
      seconds: store?.seconds ?? (performance.now() - begun) / 1000,
    });
    if (outDir === undefined) return summary({});

    onProgress?.({ phase: 'page', name: 'pictures', done: 0, count: 1, imagesPerSecond: 0 });
    const { pictures, nearest } = await gallery(options, subject, images, scores[0]!, references[0]);
    const evaluation = summary(nearest);
    await writeAll(outDir, evaluation, pictures, options.title);
    await store!.remove();
    onProgress?.({ phase: 'page', name: 'pictures', done: 1, count: 1, imagesPerSecond: 0 });
    return evaluation;
  } finally {
    await store?.release();
  }
}

interface SeedOptions {
  subject: Subject;
  seed: number;
  images: number;
  name: string;
  scores: readonly Score[];
  references: readonly (FeatureSet | undefined)[];
  context: CollectOptions;
  batchSize: number;
}

/** The values of one seed, one record an extractor: kept ones, or those of a pass that begins or goes on. */
async function seedValues({
  subject,
  seed,
  images,
  name,
  scores,
  references,
  context,
  batchSize,
}: SeedOptions): Promise<Record<string, number>[]> {
  const { store, signal, onProgress, checkpointEvery } = context;
  const kept = store?.values(seed);
  if (kept) return kept;
  const key = `seed-${seed}`;
  const collectors = scores.map(({ extractor, metrics }) => new FeatureCollector(extractor, metrics));
  const from = (await store?.restore(key, collectors)) ?? 0;
  await runPass(
    {
      phase: 'images',
      name,
      count: images,
      images: (first, count) => subject.images(seed, first, count, images),
      use: async (batch) => {
        for (const collector of collectors) await collector.add(batch.images, batch.shape);
      },
    },
    { from, batchSize, signal, onProgress, checkpointEvery, checkpoint: store && ((done) => store.save(key, done, collectors)) },
  );
  const values: Record<string, number>[] = [];
  for (const [i, score] of scores.entries())
    values.push(await computeScore(score, collectors[i]!.result(), references[i], { onProgress, signal }));
  await store?.finish(seed, key, values);
  return values;
}

/** Mean, spread, lowest and highest over the seeds. */
function summarize(scores: readonly Score[], ofSeeds: readonly (readonly Record<string, number>[])[]): Record<string, MetricSummary> {
  return Object.fromEntries(
    namedValues(scores, ofSeeds).map(({ name, values, extractor, better }) => [
      name,
      {
        ...meanAndSpread(values),
        min: Math.min(...values),
        max: Math.max(...values),
        values,
        extractor: extractor.name,
        ...(better && { better }),
      },
    ]),
  );
}

async function gallery(
  { seeds, batchSize, gallery: wanted, signal }: ParsedEvaluateOptions,
  subject: Subject,
  images: number,
  { extractor, reference }: Score,
  features: FeatureSet | undefined,
): Promise<{ pictures: GalleryPicture[]; nearest: Pick<Evaluation, 'nearest'> }> {
  const seed = seeds[0]!;
  const pictures: GalleryPicture[] = [];
  if (isShown(subject)) pictures.push(await randomPicture(subject, seed, Math.min(wanted.random, images)));
  let nearest: Pick<Evaluation, 'nearest'> = {};
  if (wanted.nearest > 0 && reference && !reference.ready && features?.features) {
    const found = await nearestImages({
      subject,
      extractor,
      source: reference.data.source,
      indices: reference.kept,
      features: features.features,
      seed,
      of: images,
      checked: Math.min(wanted.nearest, images),
      rows: NEAREST_ROWS,
      top: MATCHES,
      batchSize,
      signal,
    });
    if (found.picture) pictures.push(found.picture);
    nearest = { nearest: found.summary };
  }
  if (isShown(subject) && wanted.interpolations > 0) {
    const ways = interpolationPicture(subject, seed, wanted.interpolations, INTERPOLATION_STEPS, batchSize);
    if (ways) pictures.push(ways);
  }
  return { pictures, nearest };
}

/** The page before the JSON: where evaluation.json is, everything is. */
async function writeAll(
  outDir: string,
  evaluation: Evaluation,
  pictures: readonly GalleryPicture[],
  title: string | undefined,
): Promise<void> {
  await withFileErrors(outDir, 'write', () => mkdir(outDir, { recursive: true }));
  for (const { name, png } of pictures) await writeFileAtomic(join(outDir, `${name}.png`), png);
  await writeFileAtomic(join(outDir, EVALUATION_PAGE), renderEvaluation(evaluation, pictures, title));
  await writeFileAtomic(join(outDir, EVALUATION_FILE), `${JSON.stringify(evaluation, null, 2)}\n`);
}
