/**
 * A set's manifold as k nearest neighbours estimate it: the union of balls around its rows, each as wide as to the row's k-th neighbour
 * (Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019, section 2).
 *
 * Metrics of manifolds compare every row with every other one. Those that are computed together share their distances.
 */
import type { ComputeOptions, FeatureSet, Metric } from '../core/contracts/metric.js';
import { requireReference, requireRows } from './feature-sets.js';
import { forEachDistanceBlock, type ProductBlock } from './linear-algebra/row-products.js';

/** Squared radii of the balls around the rows of both sets. */
export interface SquaredRadii {
  real: Float64Array;
  /** Empty for a metric that asks for no balls around generated images. */
  generated: Float64Array;
  generatedCount: number;
}

/** Meets every pair once, then says what it has seen. */
export interface PairCounter {
  /** A real and a generated row, by their numbers. */
  meet(real: number, generated: number, squaredDistance: number): void;
  values(): Record<string, number>;
}

/** What sets a metric of manifolds apart from the others. */
export interface ManifoldMetric {
  name: string;
  /** A ball reaches to this neighbour of its centre. */
  neighbours: number;
  /** Whether generated images have balls, too. */
  both: boolean;
  count(radii: SquaredRadii): PairCounter;
}

const definitions = new WeakMap<Metric, ManifoldMetric>();

/** A metric that compares every real with every generated image. `compute` throws as `requireReference` and `requireRows`. */
export function manifoldMetric(definition: ManifoldMetric): Metric {
  const { name } = definition;
  const metric: Metric = {
    name,
    needs: ['features'],
    comparesWithReference: true,
    compute: async (generated, reference, options) => (await computeDefinitions([definition], generated, reference, options))[0]!,
  };
  definitions.set(metric, definition);
  return metric;
}

export const isManifoldMetric = (metric: Metric): boolean => definitions.has(metric);

/** The values of several metrics of {@link manifoldMetric}, in their order, from distances that are computed once. Throws as they do. */
export function computeManifolds(
  metrics: readonly Metric[],
  generated: FeatureSet,
  reference: FeatureSet | undefined,
  options?: ComputeOptions,
): Promise<Record<string, number>[]> {
  return computeDefinitions(
    metrics.map((metric) => definitions.get(metric)!),
    generated,
    reference,
    options,
  );
}

async function computeDefinitions(
  wanted: readonly ManifoldMetric[],
  generated: FeatureSet,
  given: FeatureSet | undefined,
  { signal, onProgress }: ComputeOptions = {},
): Promise<Record<string, number>[]> {
  let real: Float32Array[] = [];
  let fake: Float32Array[] = [];
  for (const { name, neighbours, both } of wanted) {
    const reference = requireReference(name, generated, given);
    const why = ` for ${neighbours} neighbours`;
    fake = requireRows(name, 'generated', generated, 'features', both ? neighbours + 1 : 1, why);
    real = requireRows(name, 'reference', reference, 'features', neighbours + 1, why);
  }
  const most = (of: readonly ManifoldMetric[]) => Math.max(0, ...of.map(({ neighbours }) => neighbours));
  const [ofReal, ofFake] = [most(wanted), most(wanted.filter(({ both }) => both))];

  const within = (rows: number) => (rows * (rows - 1)) / 2;
  const pairs = within(real.length) + (ofFake > 0 ? within(fake.length) : 0) + real.length * fake.length;
  let done = 0;
  const onBlock = (met: number) => {
    signal?.throwIfAborted();
    onProgress?.((done += met), pairs);
  };
  const nearestReal = await nearestDistances(real, ofReal, onBlock);
  const nearestFake = ofFake > 0 ? await nearestDistances(fake, ofFake, onBlock) : new Float64Array(0);
  const counters = wanted.map(({ neighbours, both, count }) =>
    count({
      real: everyNth(nearestReal, ofReal, neighbours),
      generated: both ? everyNth(nearestFake, ofFake, neighbours) : new Float64Array(0),
      generatedCount: fake.length,
    }),
  );
  await forEachDistanceBlock(real, fake, ({ first, count, firstB, countB, products, stride }) => {
    for (const counter of counters)
      for (let i = 0; i < count; i++) for (let j = 0; j < countB; j++) counter.meet(first + i, firstB + j, products[i * stride + j]!);
    onBlock(count * countB);
  });
  return counters.map((counter) => counter.values());
}

/** The `rank`-th of each row of `nearest` `[N, kept]`, rank 1 being the nearest. */
const everyNth = (nearest: Float64Array, kept: number, rank: number) =>
  Float64Array.from({ length: nearest.length / kept }, (_, i) => nearest[i * kept + rank - 1]!);

/** The squared distances from each row to its `neighbours` nearest other rows, rising: `[N, neighbours]`. Throws what `onBlock` throws. */
async function nearestDistances(
  rows: readonly Float32Array[],
  neighbours: number,
  onBlock: (pairs: number) => void = () => undefined,
): Promise<Float64Array> {
  const nearest = new Float64Array(rows.length * neighbours).fill(Infinity);
  const meet = (row: number, distance: number) => {
    const start = row * neighbours;
    let at = start + neighbours - 1;
    if (distance >= nearest[at]!) return;
    for (; at > start && nearest[at - 1]! > distance; at--) nearest[at] = nearest[at - 1]!;
    nearest[at] = distance;
  };
  const visit = ({ first, count, firstB, countB, products, stride }: ProductBlock) => {
    let met = 0;
    for (let i = 0; i < count; i++) {
      const begin = Math.max(0, first + i + 1 - firstB);
      for (let j = begin; j < countB; j++) {
        meet(first + i, products[i * stride + j]!);
        meet(firstB + j, products[i * stride + j]!);
      }
      met += Math.max(0, countB - begin);
    }
    onBlock(met);
  };
  await forEachDistanceBlock(rows, rows, visit);
  return nearest;
}

/** The squared distance from each row to its k-th nearest other row; 0 where k others equal it. `neighbours` must be below the number of rows. */
export async function squaredRadii(rows: readonly Float32Array[], neighbours: number): Promise<Float64Array> {
  return everyNth(await nearestDistances(rows, neighbours), neighbours, neighbours);
}

/** The share of ones. */
export const share = (flags: Uint8Array): number => flags.reduce((a, b) => a + b, 0) / flags.length;
