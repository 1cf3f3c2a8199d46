/**
 * Several metrics of one pair of sets: what they have in common is computed once.
 */
import type { ComputeOptions, FeatureSet, Metric } from '../core/contracts/metric.js';
import { computeManifolds, isManifoldMetric } from './manifolds.js';

/** Options of {@link computeMetrics}. */
export interface ComputeMetricsOptions extends Omit<ComputeOptions, 'onProgress'> {
  /** As that of a single metric, with the names of the metrics in work; told first that 0 is done. */
  onProgress?: ((names: readonly string[], done: number, count: number) => void) | undefined;
}

/**
 * The values of each metric, in their order: those of `metric.compute`, but that precision, recall, density and coverage share their distances.
 *
 * `reference` serves the metrics that compare. Rejects as `compute`, and with the signal's reason after `signal`.
 */
export async function computeMetrics(
  metrics: readonly Metric[],
  generated: FeatureSet,
  reference?: FeatureSet,
  { signal, onProgress }: ComputeMetricsOptions = {},
): Promise<Record<string, number>[]> {
  const values = new Map<Metric, Record<string, number>>();
  const run = async (group: readonly Metric[], compute: (options: ComputeOptions) => Promise<Record<string, number>[]>) => {
    signal?.throwIfAborted();
    const names = group.map(({ name }) => name);
    onProgress?.(names, 0, 1);
    // Whoever ends the work gets their turn before it begins.
    await new Promise<void>((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    const found = await compute({ signal, onProgress: (done, count) => done < count && onProgress?.(names, done, count) });
    group.forEach((metric, i) => values.set(metric, found[i]!));
    onProgress?.(names, 1, 1);
  };
  const manifolds = metrics.filter(isManifoldMetric);
  for (const metric of metrics) {
    if (values.has(metric)) continue;
    if (isManifoldMetric(metric)) await run(manifolds, (options) => computeManifolds(manifolds, generated, reference, options));
    else
      await run([metric], async (options) => [
        await metric.compute(generated, metric.comparesWithReference ? reference : undefined, options),
      ]);
  }
  return metrics.map((metric) => values.get(metric)!);
}
