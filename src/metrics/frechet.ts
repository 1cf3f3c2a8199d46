/**
 * The Fréchet distance of two Gaussians: |μ_a - μ_b|² + tr(A + B - 2 (A B)^½); of Inception features it is the FID.
 */
import type { GaussianStatistics, Metric } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { requireReference } from './feature-sets.js';
import { dotRows } from './panels.js';
import { semidefiniteFactor, symmetricEigenvalues } from './symmetric.js';

/**
 * The squared Fréchet distance, in float64; 0 for equal statistics.
 *
 * Works for singular covariances (fewer samples than dimensions): with A = Lᵀ L, tr (A B)^½ is the sum of the square roots of the
 * eigenvalues of L B Lᵀ, which is symmetric and positive semi-definite; eigenvalues that rounding made negative count as 0.
 * Throws `E_SHAPE` where the dimensions differ.
 */
export function frechetDistance(a: GaussianStatistics, b: GaussianStatistics): number {
  const size = a.mean.length;
  for (const [name, { mean, covariance }] of Object.entries({ a, b }))
    if (mean.length !== size || covariance.length !== size * size)
      throw new ArgumentError(
        'E_SHAPE',
        `frechetDistance: expected ${size} means and ${size * size} covariances, got ${mean.length} and ${covariance.length} in ${name}`,
        { help: 'compare statistics of the same extractor' },
      );

  let distance = 0;
  for (let i = 0; i < size; i++) distance += (a.mean[i]! - b.mean[i]!) ** 2 + a.covariance[i * size + i]! + b.covariance[i * size + i]!;

  const factor = semidefiniteFactor(a.covariance, size);
  if (factor.length === 0) return Math.max(distance, 0);
  const rowsOfB = Array.from({ length: size }, (_, i) => b.covariance.subarray(i * size, (i + 1) * size));
  const product = dotRows(dotRows(factor, rowsOfB), factor);
  const rank = factor.length;
  const flat = new Float64Array(rank * rank);
  product.forEach((row, i) => flat.set(row, i * rank));
  for (const value of symmetricEigenvalues(flat, rank)) distance -= 2 * Math.sqrt(Math.max(value, 0));
  return Math.max(distance, 0);
}

/**
 * The Fréchet distance as a metric: value `frechet`, at least 0, lower is better. With Inception features it is the FID, with those of CLIP
 * the CLIP-FID, with DINOv2's the FD-DINOv2. It falls with the number of images: published numbers are over 50,000.
 */
export function frechet(): Metric {
  const name = 'frechet';
  return {
    name,
    needs: ['statistics'],
    comparesWithReference: true,
    compute: async (generated, reference) => ({
      frechet: frechetDistance(generated.statistics, requireReference(name, generated, reference).statistics),
    }),
  };
}
