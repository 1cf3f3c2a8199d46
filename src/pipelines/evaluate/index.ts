export { evaluate } from './evaluate.js';
export { frechetEvaluator, metricsEvaluator, type FrechetOptions, type MetricsEvaluatorOptions } from './evaluators.js';
export type { MetricName } from './metric-names.js';
export type { EvaluateOptions } from './options.js';
export type { Reference } from './reference.js';
export { dataStatistics, featureStatistics } from './statistics.js';
export { makeReference, type MakeReferenceOptions } from './make-reference.js';
