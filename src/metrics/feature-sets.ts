/**
 * What metrics ask of the feature sets they are given.
 */
import type { FeatureRows, FeatureSet } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { rowViews } from './linear-algebra/row-products.js';

/** The reference of a metric that compares. Throws `E_VALUE` where it is absent, `E_SHAPE` where it is of another extractor. */
export function requireReference(metric: string, generated: FeatureSet, reference: FeatureSet | undefined): FeatureSet {
  if (!reference)
    throw new ArgumentError('E_VALUE', `${metric}: expected a reference set, got none`, {
      help: 'give the features of real images as well',
    });
  const [size, found] = [generated.statistics.mean.length, reference.statistics.mean.length];
  if (generated.extractor !== reference.extractor || size !== found)
    throw new ArgumentError(
      'E_SHAPE',
      `${metric}: expected a reference of ${generated.extractor} with ${size} dimensions, got ${reference.extractor} with ${found}`,
      { help: 'compare features of the same extractor' },
    );
  return reference;
}

/**
 * The rows of a set, as views.
 *
 * Throws `E_VALUE` where the set keeps no such rows, has fewer than `atLeast`, or holds a value that is not finite; `E_SHAPE` for rows of another length.
 */
export function requireRows(
  metric: string,
  of: 'generated' | 'reference',
  set: FeatureSet,
  kind: 'features' | 'probabilities',
  atLeast = 1,
  why = '',
): Float32Array[] {
  const rows: FeatureRows | undefined = set[kind];
  if (!rows)
    throw new ArgumentError('E_VALUE', `${metric}: expected the ${kind} of the ${of} images, got their statistics only`, {
      help:
        of === 'reference'
          ? 'a reference that holds only mu and sigma serves the Fréchet distance; make one with features from the images'
          : 'name this metric to the FeatureCollector, so that it keeps what the metric needs',
    });
  if (rows.count < atLeast)
    throw new ArgumentError('E_VALUE', `${metric}: expected ${atLeast} ${of} images or more${why}, got ${rows.count}`, {
      help: 'add images, or choose smaller numbers in the options of the metric',
    });
  const size = kind === 'features' ? set.statistics.mean.length : rows.dimensions;
  const views = rowViews(rows);
  if (rows.dimensions !== size || views.length !== rows.count || views.some(({ length }) => length !== size))
    throw new ArgumentError(
      'E_SHAPE',
      `${metric}: expected ${rows.count} rows of ${size} ${kind}, got ${views.length} of ${rows.dimensions}`,
      {
        help: 'give whole rows of the same extractor',
      },
    );
  views.forEach((row, i) => {
    const found = row.find((value) => !Number.isFinite(value));
    if (found !== undefined)
      throw new ArgumentError('E_VALUE', `${metric}: ${of} image ${i}: expected finite ${kind}, got ${found}`, {
        help: 'check that image and the extractor',
      });
  });
  return views;
}

/** Mean and standard deviation (divided by N, as published numbers are). */
export function meanAndSpread(values: readonly number[]): { mean: number; spread: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return { mean, spread: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
}
