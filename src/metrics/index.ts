/**
 * onestep/metrics: distances between sets of images.
 */
export type {
  ComputeOptions,
  FeatureExtractor,
  FeatureNeed,
  FeatureRows,
  FeatureSet,
  GaussianStatistics,
  ImageShape,
  Metric,
} from '../core/contracts/metric.js';
export { computeMetrics, type ComputeMetricsOptions } from './compute-metrics.js';
export { densityCoverage, type DensityCoverageOptions } from './density-coverage.js';
export { featureCache, ImageDigest, type FeatureCache, type FeatureCacheOptions, type FeaturesToCollect } from './feature-cache.js';
export { FeatureCollector } from './feature-collector.js';
export { featureRows } from './feature-rows.js';
export { FeatureStatistics, type FeatureStatisticsState } from './feature-statistics.js';
export { frechet, frechetDistance } from './frechet.js';
export { inceptionScore, type InceptionScoreOptions } from './inception-score.js';
export { kernelDistance, type KernelDistanceOptions } from './kernel-distance.js';
export { precisionRecall, type PrecisionRecallOptions } from './precision-recall.js';
export { readNpz, writeNpz, type NpyArray } from '../core/npz.js';
export { readReference, writeReference, type ReadReferenceOptions, type ReferenceArrays } from './reference.js';
export { decibels, RadialSpectrum, type SpectrumCurve } from './radial-spectrum.js';
