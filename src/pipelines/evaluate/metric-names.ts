/**
 * Metrics by the names that the field uses for them, which depend on the extractor: one formula is the FID, the CLIP-FID and the FD-DINOv2.
 */
import type { FeatureExtractor, Metric } from '../../core/contracts/metric.js';
import { densityCoverage } from '../../metrics/density-coverage.js';
import { frechet } from '../../metrics/frechet.js';
import { inceptionScore } from '../../metrics/inception-score.js';
import { kernelDistance } from '../../metrics/kernel-distance.js';
import { precisionRecall } from '../../metrics/precision-recall.js';

interface MetricFamily {
  make: () => Metric;
  /** Least images of each side for the default options. */
  atLeast: number;
}

const FRECHET: MetricFamily = { make: frechet, atLeast: 2 };
const MANIFOLD: MetricFamily = { make: () => precisionRecall(), atLeast: 4 };
const DENSITY: MetricFamily = { make: () => densityCoverage(), atLeast: 6 };

/** What a metric is asked for by. The prefixed names stand for the same formulas: which one it is follows from the extractor. */
const FAMILIES = {
  fid: FRECHET,
  clip_fid: FRECHET,
  fd_dinov2: FRECHET,
  frechet: FRECHET,
  kid: { make: () => kernelDistance(), atLeast: 1000 },
  is: { make: () => inceptionScore(), atLeast: 10 },
  precision: MANIFOLD,
  recall: MANIFOLD,
  density: DENSITY,
  coverage: DENSITY,
} satisfies Record<string, MetricFamily>;

/** Names that `evaluate` takes. */
export type MetricName = keyof typeof FAMILIES;

export const METRIC_NAMES = Object.keys(FAMILIES) as MetricName[];

/** Least images, of each side, that the metric of that name can be computed of. */
export const leastImages = (name: MetricName): number => FAMILIES[name].atLeast;

/** The parts behind names, each once. */
export function metricParts(names: readonly MetricName[]): Metric[] {
  return [...new Set(names.map((name) => FAMILIES[name]))].map(({ make }) => make());
}

type ExtractorFamily = 'inception' | 'clip' | 'dinov2' | 'other';

const familyOf = ({ name }: Pick<FeatureExtractor, 'name'>): ExtractorFamily =>
  (['inception', 'clip', 'dinov2'] as const).find((family) => name.toLowerCase().startsWith(family)) ?? 'other';

/** What a name of `FAMILIES` can only mean with another extractor than this one. */
export function isForeignName(name: MetricName, extractor: Pick<FeatureExtractor, 'name'>): boolean {
  const family = familyOf(extractor);
  if (name === 'clip_fid') return family !== 'clip';
  if (name === 'fd_dinov2') return family !== 'dinov2';
  return false;
}

const PLAIN: Record<string, string> = {
  frechet: 'fid',
  kernelDistance: 'kid',
  kernelDistanceSpread: 'kid_spread',
  inceptionScore: 'is',
  inceptionScoreSpread: 'is_spread',
};

const SNAKE: Record<string, string> = {
  kernelDistance: 'kernel_distance',
  kernelDistanceSpread: 'kernel_distance_spread',
  inceptionScore: 'classifier_score',
  inceptionScoreSpread: 'classifier_score_spread',
};

/**
 * The name of a metric's value in reports: of Inception `fid`, `kid`, `is`, `precision`, …; of CLIP `clip_fid`, `clip_kid`, …; of DINOv2 `fd_dinov2`,
 * `dinov2_kid`, …; of any other network `frechet`, `kernel_distance`, `precision`, …, since FID and KID mean Inception.
 */
export function reportedName(value: string, extractor: Pick<FeatureExtractor, 'name'>): string {
  switch (familyOf(extractor)) {
    case 'inception':
      return PLAIN[value] ?? value;
    case 'clip':
      return `clip_${PLAIN[value] ?? value}`;
    case 'dinov2':
      return value === 'frechet' ? 'fd_dinov2' : `dinov2_${PLAIN[value] ?? value}`;
    case 'other':
      return SNAKE[value] ?? value;
  }
}

const HIGHER = new Set(['inceptionScore', 'precision', 'recall', 'density', 'coverage']);
const LOWER = new Set(['frechet', 'kernelDistance']);

/** Values whose better way is known. */
export const DIRECTED_VALUES = [...LOWER, ...HIGHER];

/** What each of our metrics is first about, by the metric's name. */
export const MAIN_VALUES: Readonly<Record<string, string>> = {
  frechet: 'frechet',
  'kernel-distance': 'kernelDistance',
  'inception-score': 'inceptionScore',
  'precision-recall': 'precision',
  'density-coverage': 'density',
};

/** Which way a metric's value is better; undefined for spreads and for values of metrics of one's own. */
export function betterOf(value: string): 'lower' | 'higher' | undefined {
  return HIGHER.has(value) ? 'higher' : LOWER.has(value) ? 'lower' : undefined;
}
