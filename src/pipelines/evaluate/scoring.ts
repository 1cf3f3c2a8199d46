/**
 * Extractors with their metrics and references, ready to score images.
 */
import type { DataDescription, DataSource } from '../../core/contracts/data.js';
import type { EvaluationProgress, ReferenceSummary } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor, FeatureSet, Metric } from '../../core/contracts/metric.js';
import { computeMetrics } from '../../metrics/compute-metrics.js';
import { featureCache } from '../../metrics/feature-cache.js';
import { FeatureCollector } from '../../metrics/feature-collector.js';
import { betterOf, DIRECTED_VALUES, reportedName } from './metric-names.js';
import type { ScoringOptions } from './options.js';
import { runPass } from './pass.js';
import type { ProgressStore } from './progress-store.js';
import { contentDigest, type ReadyReference } from './reference.js';

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

/** Values of all metrics of a score, under the names of reports. Throws as `computeMetrics`. */
export async function computeScore(
  { extractor, metrics }: Score,
  generated: FeatureSet,
  reference: FeatureSet | undefined,
  { onProgress, signal }: Pick<CollectOptions, 'onProgress' | 'signal'> = {},
): Promise<Record<string, number>> {
  let start = performance.now();
  const found = await computeMetrics(metrics, generated, reference, {
    signal,
    onProgress: (names, done, count) => {
      if (done === 0) start = performance.now();
      const share = done / count;
      onProgress?.({
        phase: 'metrics',
        name: `${names.join(', ')} over ${extractor.name}`,
        done,
        count,
        imagesPerSecond: 0,
        ...(share > 0 && { remainingSeconds: ((performance.now() - start) / 1000) * (1 / share - 1) }),
      });
    },
  });
  return Object.fromEntries(
    found.flatMap((values) => Object.entries(values).map(([name, value]): [string, number] => [reportedName(name, extractor), value])),
  );
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
