/**
 * onestep/metrics: distances between sets of images.
 */
export type {
  FeatureExtractor,
  FeatureNeed,
  FeatureRows,
  FeatureSet,
  GaussianStatistics,
  ImageShape,
  Metric,
} from '../core/contracts/metric.js';
export { FeatureStatistics } from './feature-statistics.js';
export { frechetDistance } from './frechet.js';
export { readNpz, writeNpz, type NpyArray } from '../core/npz.js';
export { readReference, writeReference } from './reference.js';
