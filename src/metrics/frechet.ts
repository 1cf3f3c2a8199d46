/**
 * The Fréchet distance of two Gaussians: |μ_a - μ_b|² + tr(A + B - 2 (A B)^½); of Inception features it is the FID.
 */
import type { GaussianStatistics, Metric } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { requireReference } from './feature-sets.js';
import { semidefiniteFactor, type SemidefiniteFactor } from './linear-algebra/semidefinite-factor.js';
import { productSingularValues } from './linear-algebra/singular-values.js';

/**
 * The squared Fréchet distance, in float64; 0 for equal statistics.
 *
 * Works for singular covariances (fewer samples than dimensions): with A = LᵀL and B = MᵀM, tr (A B)^½ is the sum of the singular values of L Mᵀ.
 * No square root is taken of an eigenvalue, so what is left is rounding of the largest covariance times the dimensions, not its square root.
 * Throws `E_SHAPE` where the dimensions differ, `E_VALUE` for a value that is not finite.
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
  requireFinite({ a, b });

  let distance = 0;
  for (let i = 0; i < size; i++) distance += (a.mean[i]! - b.mean[i]!) ** 2 + a.covariance[i * size + i]! + b.covariance[i * size + i]!;

  const [factorA, factorB] = [a, b].map(({ covariance }) => semidefiniteFactor(covariance, size)) as [
    SemidefiniteFactor,
    SemidefiniteFactor,
  ];
  for (const value of productSingularValues(factorA.rows, factorA.rank, factorB.rows, factorB.rank, size)) distance -= 2 * value;
  return Math.max(distance, 0);
}

function requireFinite(sets: Record<string, GaussianStatistics>): void {
  for (const [name, statistics] of Object.entries(sets))
    for (const kind of ['mean', 'covariance'] as const) {
      const at = statistics[kind].findIndex((value) => !Number.isFinite(value));
      if (at >= 0)
        throw new ArgumentError('E_VALUE', `frechetDistance: ${kind} of ${name}: expected finite values, got ${statistics[kind][at]}`, {
          help: 'check the file that they are from, or the extractor',
        });
    }
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
