/**
 * Extractors with their metrics and references: everything about them that can be checked before weights are fetched or read.
 */
import type { ReferenceSummary } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor, Metric } from '../../core/contracts/metric.js';
import { permutation } from '../../data/permutation.js';
import { isForeignName, leastImages, metricParts, type MetricName } from './metric-names.js';
import type { ScoringOptions } from './options.js';
import type { Problems } from './problems.js';
import {
  readFeaturesFile,
  referenceAt,
  statisticsReference,
  unservedMetrics,
  type FeaturesFile,
  type ReadyReference,
  type Reference,
} from './reference.js';
import type { OpenData, OpenedData, Score } from './scoring.js';
import { dataIdentity } from './subject.js';

/** A score whose extractor has no weights yet. */
export interface ScoreDraft {
  extractor: FeatureExtractor;
  metrics: readonly Metric[];
  reference: ReadyReference | FeaturesFile | OpenedReference | undefined;
}

/** A data set to compare with. */
interface OpenedReference {
  data: OpenedData;
  /** Images whose features are kept. */
  kept: Uint32Array;
}

/** What is asked for, as far as it decides what can be computed. */
export interface ExpectedImages {
  images: number;
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
 * Opens references and checks paths, dimensions, numbers of images and what metrics need; nothing is fetched and no weights are read.
 *
 * Everything that is wrong goes to `problems`, `notes` gets what to know about the figures.
 */
export async function draftScores(
  options: ScoringOptions,
  expected: ExpectedImages,
  openData: OpenData,
  problems: Problems,
  notes: string[],
): Promise<ScoreDraft[]> {
  const names = new Set(options.extractors.map(({ name }) => name));
  if (names.size < options.extractors.length) problems.add('extractors: expected each of another name');
  if (options.against !== undefined && referenceOf(options.against, options.extractors[0]!) !== options.against)
    for (const name of Object.keys(options.against))
      if (!names.has(name)) problems.add(`against.${name}: no extractor has this name; there is ${[...names].join(', ')}`);
  for (const name of options.metrics ?? [])
    if (!isMetric(name) && options.extractors.every((extractor) => isForeignName(name, extractor)))
      problems.add(`metrics: ${name} is of another extractor than ${[...names].join(', ')}`);
  if (options.against !== undefined && expected.images < 10_000)
    notes.push(
      `Over ${expected.images.toLocaleString('en-US')} images the Fréchet distance is larger than over many: compare it only with distances over as many (published ones are over 50,000).`,
    );
  const drafts: ScoreDraft[] = [];
  for (const extractor of options.extractors) drafts.push(await draftScore(extractor, options, expected, openData, problems));
  return drafts;
}

async function draftScore(
  extractor: FeatureExtractor,
  options: ScoringOptions,
  expected: ExpectedImages,
  openData: OpenData,
  problems: Problems,
): Promise<ScoreDraft> {
  const given = referenceOf(options.against, extractor);
  const own = (options.metrics ?? []).filter(isMetric);
  const asked = (options.metrics ?? []).filter((metric) => typeof metric === 'string').filter((name) => !isForeignName(name, extractor));

  await problems.attempt(() => extractor.check?.());
  const found = given === undefined ? undefined : await problems.attempt(() => open(given, extractor, openData));
  const data = found && 'data' in found ? found.data : undefined;
  const file = found && 'ready' in found ? found : undefined;
  const unknown = given !== undefined && found === undefined;

  const images = data?.description.size ?? (file && (file.ready ? file.set.features?.count : file.count));
  const rows = data ? Math.min(data.description.size, options.references) : images;
  const names = options.metrics === undefined ? defaultNames(extractor, given !== undefined, rows, expected.images) : asked;
  const metrics = [...metricParts(names), ...own];

  if (metrics.length === 0) problems.add(`metrics: none is for ${extractor.name}${given === undefined ? ', which has no reference' : ''}`);
  for (const { name, comparesWithReference, needs } of metrics) {
    if (given === undefined && comparesWithReference) problems.add(`against: ${name} over ${extractor.name} needs a reference`);
    if (needs.includes('probabilities') && !(extractor.classes && extractor.extractWithProbabilities))
      problems.add(`${name}: ${extractor.name} gives no class probabilities`);
  }
  if (file) problems.add(...unservedMetrics(file, metrics));
  for (const name of names) {
    const least = leastImages(name);
    if (expected.images < least) problems.add(`images: ${name} needs ${least} or more, got ${expected.images}`);
    const [part] = metricParts([name]);
    const there = part!.needs.includes('features') ? rows : images;
    if (part!.comparesWithReference && !unknown && there !== undefined && there < least)
      problems.add(`against: ${name} needs ${least} images or more, the reference has ${there}`);
  }
  if (data === undefined) return { extractor, metrics, reference: file };
  const keeps =
    expected.keepReferences || metrics.some(({ needs, comparesWithReference }) => comparesWithReference && needs.includes('features'));
  return { extractor, metrics, reference: { data, kept: keeps ? chosen(data.description.size, options.references) : new Uint32Array(0) } };
}

async function open(
  given: Reference,
  extractor: FeatureExtractor,
  openData: OpenData,
): Promise<ReadyReference | FeaturesFile | { data: OpenedData }> {
  if (typeof given === 'object' && 'mean' in given) return statisticsReference(given, extractor);
  return (typeof given === 'string' ? await referenceAt(given, extractor) : undefined) ?? { data: await openData(given) };
}

/** Compares the images with the references' ones, when they are known. */
export function checkFit(
  drafts: readonly ScoreDraft[],
  { resolution, channels }: { resolution: number; channels: number },
  problems: Problems,
  notes: string[],
): void {
  for (const { reference } of drafts) {
    if (reference === undefined || !('data' in reference)) continue;
    const { description: found } = reference.data;
    if (found.channels !== channels) problems.add(`against: ${found.name} has ${found.channels} channels, the images have ${channels}`);
    if (found.resolution !== resolution)
      notes.push(`${found.name} has ${found.resolution} px, the images have ${resolution} px: resizing alone sets them apart.`);
    if (found.skipped) notes.push(`${found.skipped} images of ${found.name} are invalid and were left out.`);
  }
}

/** Reads weights, and what only they allow to read. Throws as extractors do, and `E_FILE_OTHER_FEATURES`. */
export async function prepareScores(drafts: readonly ScoreDraft[]): Promise<Score[]> {
  const scores: Score[] = [];
  for (const { extractor, metrics, reference } of drafts) {
    await extractor.prepare?.();
    if (reference === undefined) scores.push({ extractor, metrics, reference });
    else if ('ready' in reference)
      scores.push({ extractor, metrics, reference: reference.ready ? reference : await readFeaturesFile(reference, extractor, metrics) });
    else scores.push({ extractor, metrics, reference: await dataReference(reference) });
  }
  return scores;
}

async function dataReference({ data, kept }: OpenedReference): Promise<Exclude<Score['reference'], undefined | ReadyReference>> {
  const { source, description } = data;
  const summary: ReferenceSummary = {
    kind: 'data',
    name: description.name,
    images: description.size,
    ...(kept.length > 0 && kept.length < description.size && { kept: kept.length }),
    identity: await dataIdentity(source, description),
  };
  return { ready: false, summary, data, kept };
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
