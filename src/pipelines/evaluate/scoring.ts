/**
 * Extractors with their metrics and references, checked and ready to score images.
 */
import type { DataDescription, DataSource } from '../../core/contracts/data.js';
import type { EvaluationProgress, ReferenceSummary } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor, FeatureSet, Metric } from '../../core/contracts/metric.js';
import { ConfigError } from '../../core/errors.js';
import { permutation } from '../../data/permutation.js';
import { featureCache } from '../../metrics/feature-cache.js';
import { FeatureCollector } from '../../metrics/feature-collector.js';
import { betterOf, DIRECTED_VALUES, isForeignName, leastImages, metricParts, reportedName, type MetricName } from './metric-names.js';
import type { ScoringOptions } from './options.js';
import { runPass } from './pass.js';
import type { ProgressStore } from './progress-store.js';
import { contentDigest, readyReference, statisticsReference, unservedMetrics, type ReadyReference, type Reference } from './reference.js';
import { dataIdentity } from './subject.js';

/** A data set that is open. */
export interface OpenedData {
  source: DataSource;
  description: DataDescription;
  /** Of the file or folder it was opened from. */
  path: string | undefined;
}

/** Opens a data set once, however often it is named. */
export type OpenData = (data: DataSource | string) => Promise<OpenedData>;

/** An extractor, its metrics, and what they compare with. */
export interface Score {
  extractor: FeatureExtractor;
  metrics: readonly Metric[];
  reference: ReadyReference | { ready: false; summary: ReferenceSummary; data: OpenedData; kept: Uint32Array } | undefined;
}

/** What is known of the images before any is there. */
export interface ExpectedImages {
  images: number;
  resolution: number;
  channels: number;
  /** True where the features of references should be kept whatever the metrics need, for the nearest images. */
  keepReferences: boolean;
}

const isMetric = (metric: MetricName | Metric): metric is Metric => typeof metric !== 'string';

/** The reference of an extractor. */
function referenceOf(against: ScoringOptions['against'], { name }: FeatureExtractor): Reference | undefined {
  if (against === undefined || typeof against === 'string' || 'open' in against || 'mean' in against)
    return against as Reference | undefined;
  return (against as Record<string, Reference>)[name];
}

/**
 * Reads weights and references and checks what can be checked before the first image: paths, dimensions, numbers of images, what metrics need.
 *
 * Throws as extractors and references do, and `E_CONFIG` with every other problem. `notes` gets what to know about the figures.
 */
export async function prepareScores(
  options: ScoringOptions,
  expected: ExpectedImages,
  openData: OpenData,
  notes: string[],
): Promise<Score[]> {
  const problems: string[] = [];
  const names = new Set(options.extractors.map(({ name }) => name));
  if (names.size < options.extractors.length) problems.push('extractors: expected each of another name');
  if (options.against !== undefined && referenceOf(options.against, options.extractors[0]!) !== options.against)
    for (const name of Object.keys(options.against))
      if (!names.has(name)) problems.push(`against.${name}: no extractor has this name; there is ${[...names].join(', ')}`);

  const scores: Score[] = [];
  for (const extractor of options.extractors) {
    await extractor.prepare?.();
    scores.push(await prepareScore(extractor, options, expected, openData, problems, notes));
  }
  for (const name of options.metrics ?? [])
    if (!isMetric(name) && scores.every(({ extractor }) => isForeignName(name, extractor)))
      problems.push(`metrics: ${name} is of another extractor than ${[...names].join(', ')}`);
  if (problems.length > 0)
    throw new ConfigError('evaluate', [...new Set(problems)], { help: 'nothing was started; correct the options and start again' });
  return scores;
}

async function prepareScore(
  extractor: FeatureExtractor,
  options: ScoringOptions,
  expected: ExpectedImages,
  openData: OpenData,
  problems: string[],
  notes: string[],
): Promise<Score> {
  const given = referenceOf(options.against, extractor);
  const own = (options.metrics ?? []).filter(isMetric);
  const asked = (options.metrics ?? []).filter((metric) => typeof metric === 'string').filter((name) => !isForeignName(name, extractor));

  let data: OpenedData | undefined;
  let ready: ReadyReference | undefined;
  if (given !== undefined && typeof given === 'object' && 'mean' in given) ready = statisticsReference(given, extractor);
  else if (typeof given === 'string') ready = await readyReference(given, extractor, [...metricParts(asked), ...own]);
  if (given !== undefined && ready === undefined) data = await openData(given as string | DataSource);

  const references = data ? Math.min(data.description.size, options.references) : ready?.set.features?.count;
  const names = options.metrics === undefined ? defaultNames(extractor, given !== undefined, references, expected.images) : asked;
  const metrics = [...metricParts(names), ...own];
  const need = (kind: 'probabilities') => metrics.filter(({ needs }) => needs.includes(kind));

  if (metrics.length === 0) problems.push(`metrics: none is for ${extractor.name}${given === undefined ? ', which has no reference' : ''}`);
  if (given === undefined)
    for (const { name, comparesWithReference } of metrics)
      if (comparesWithReference) problems.push(`against: ${name} over ${extractor.name} needs a reference`);
  if (ready) problems.push(...unservedMetrics(ready, metrics));
  for (const { name } of need('probabilities'))
    if (!extractor.classes || !extractor.extractWithProbabilities) problems.push(`${name}: ${extractor.name} gives no class probabilities`);
  for (const name of names) {
    const least = leastImages(name);
    if (expected.images < least) problems.push(`images: ${name} needs ${least} or more, got ${expected.images}`);
    const [part] = metricParts([name]);
    const there = part!.needs.includes('features') ? references : data?.description.size;
    if (part!.comparesWithReference && there !== undefined && there < least)
      problems.push(`against: ${name} needs ${least} images or more, the reference has ${there}`);
  }
  if (data && data.description.channels !== expected.channels)
    problems.push(`against: ${data.description.name} has ${data.description.channels} channels, the images have ${expected.channels}`);
  if (data && data.description.resolution !== expected.resolution)
    notes.push(
      `${data.description.name} has ${data.description.resolution} px, the images have ${expected.resolution} px: resizing alone sets them apart.`,
    );
  if (data?.description.skipped)
    notes.push(`${data.description.skipped} images of ${data.description.name} are invalid and were left out.`);
  if (given !== undefined && expected.images < 10_000)
    notes.push(
      `Over ${expected.images.toLocaleString('en-US')} images the Fréchet distance is larger than over many: compare it only with distances over as many (published ones are over 50,000).`,
    );

  if (data === undefined) return { extractor, metrics, reference: ready };
  const { source, description } = data;
  const keeps =
    expected.keepReferences || metrics.some(({ needs, comparesWithReference }) => comparesWithReference && needs.includes('features'));
  const kept = keeps ? chosen(description.size, options.references) : new Uint32Array(0);
  const summary: ReferenceSummary = {
    kind: 'data',
    name: description.name,
    images: description.size,
    ...(keeps && kept.length < description.size && { kept: kept.length }),
    identity: await dataIdentity(source, description),
  };
  return { extractor, metrics, reference: { ready: false, summary, data, kept } };
}

/** What is computed where nothing was asked for: what is quick, and possible. */
function defaultNames(
  { classes, extractWithProbabilities }: FeatureExtractor,
  compares: boolean,
  references: number | undefined,
  images: number,
): MetricName[] {
  const names: MetricName[] = compares ? ['fid'] : [];
  const enough = (name: MetricName) => Math.min(images, references ?? 0) >= leastImages(name);
  if (compares && enough('kid')) names.push('kid');
  if (classes && extractWithProbabilities && images >= leastImages('is')) names.push('is');
  return names;
}

/** `count` of `size` indices, rising: all, or some chosen at random. */
function chosen(size: number, count: number): Uint32Array {
  if (count >= size) return Uint32Array.from({ length: size }, (_, i) => i);
  const place = permutation(size, 0);
  return Uint32Array.from({ length: count }, (_, i) => place(i)).sort();
}

export interface CollectOptions {
  options: ScoringOptions;
  store: ProgressStore | undefined;
  checkpointEvery: number;
  onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Takes what is worth a line. */
  say: (line: string) => void;
}

/** The features of a score's reference: what is there, what is in the cache, or a pass over the set. */
export async function collectReference({ extractor, reference }: Score, context: CollectOptions): Promise<FeatureSet | undefined> {
  if (reference === undefined || reference.ready) return reference?.set;
  const { data, kept } = reference;
  const { size } = data.description;
  const rows: Pick<Metric, 'name' | 'needs'> = { name: 'features', needs: ['features'] };
  const all = Uint32Array.from({ length: size }, (_, i) => i);
  const pass = (name: string, indices: Uint32Array, wanted: readonly Pick<Metric, 'name' | 'needs'>[]) =>
    collectData(name, extractor, data, indices, wanted, context);
  // Every pass leaves statistics; where the features of all are kept, one is enough.
  if (kept.length === size) return pass('all', all, [rows]);
  const whole = await pass('all', all, []);
  if (kept.length === 0) return whole;
  const part = await pass('kept', kept, [rows]);
  return { ...whole, features: part.features! };
}

async function collectData(
  name: string,
  extractor: FeatureExtractor,
  { source, path, description }: OpenedData,
  indices: Uint32Array,
  wanted: readonly Pick<Metric, 'name' | 'needs'>[],
  { options, store, checkpointEvery, onProgress, signal, say }: CollectOptions,
): Promise<FeatureSet> {
  const { batchSize } = options;
  const key = `reference-${name}-${extractor.name.replace(/[^\w.-]+/g, '_')}`;
  const fill = async (collector: FeatureCollector): Promise<void> => {
    const from = (await store?.restore(key, [collector])) ?? 0;
    await runPass(
      {
        phase: 'reference',
        name: `${description.name}, ${extractor.name}`,
        count: indices.length,
        images: async (first, count) => {
          const { images, shape } = await source.read(indices.subarray(first, first + count), signal);
          return { images, shape: [...shape] };
        },
        use: ({ images, shape }) => collector.add(images, shape),
      },
      { from, batchSize, signal, onProgress, checkpointEvery, checkpoint: store && ((done) => store.save(key, done, [collector])) },
    );
  };
  if (options.featureCache === false || extractor.identity === undefined) {
    const collector = new FeatureCollector(extractor, wanted);
    await fill(collector);
    return collector.result();
  }
  const cache = featureCache({ say, ...(options.featureCache !== undefined && { directory: options.featureCache }) });
  const images = await contentDigest(source, path, indices, batchSize, signal);
  const set = await cache.collect({ extractor, metrics: wanted, images, fill, ...(signal && { signal }) });
  await store?.drop(key);
  return set;
}

/** Values of all metrics of a score, under the names of reports. Throws as `compute`. */
export async function computeScore(
  { extractor, metrics }: Score,
  generated: FeatureSet,
  reference: FeatureSet | undefined,
  onMetric?: (name: string) => void,
): Promise<Record<string, number>> {
  const values: Record<string, number> = {};
  for (const metric of metrics) {
    onMetric?.(metric.name);
    for (const [name, value] of Object.entries(await metric.compute(generated, metric.comparesWithReference ? reference : undefined)))
      values[reportedName(name, extractor)] = value;
  }
  return values;
}

/** Which way a reported value is better. */
export function betterOfReported(reported: string, extractor: FeatureExtractor): 'lower' | 'higher' | undefined {
  const value = DIRECTED_VALUES.find((name) => reportedName(name, extractor) === reported);
  return value === undefined ? undefined : betterOf(value);
}

/** Values by name over several seeds; a name that two extractors share is told apart by theirs. */
export function namedValues(
  scores: readonly Score[],
  ofSeeds: readonly (readonly Record<string, number>[])[],
): { name: string; values: number[]; extractor: FeatureExtractor; better: 'lower' | 'higher' | undefined }[] {
  const taken = new Set<string>();
  return scores.flatMap(({ extractor }, i) =>
    Object.keys(ofSeeds[0]![i]!).map((reported) => {
      const name = taken.has(reported) ? `${extractor.name}_${reported}` : reported;
      taken.add(name);
      return { name, values: ofSeeds.map((seed) => seed[i]![reported]!), extractor, better: betterOfReported(reported, extractor) };
    }),
  );
}
