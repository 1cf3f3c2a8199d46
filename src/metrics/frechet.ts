/**
 * The Fréchet distance of two Gaussians: |μ_a - μ_b|² + tr(A + B - 2 (A B)^½); of Inception features it is the FID.
 */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { ArgumentError } from '../core/errors.js';
import type { GaussianStatistics } from './feature-statistics.js';

/** A symmetric matrix; rounding may have left the two halves unequal. */
function symmetric(values: Float64Array, size: number): Matrix {
  const matrix = new Matrix(size, size);
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) matrix.set(i, j, (values[i * size + j]! + values[j * size + i]!) / 2);
  return matrix;
}

/**
 * The squared Fréchet distance, in float64; 0 for equal statistics.
 *
 * Works for singular covariances (fewer samples than dimensions): tr (A B)^½ is the sum of the square roots of the eigenvalues of
 * A^½ B A^½, which is symmetric and positive semi-definite; eigenvalues that rounding made negative count as 0.
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

  // A = V Λ Vᵀ. In the basis of V, A^½ B A^½ is Λ^½ (Vᵀ B V) Λ^½; dimensions in which A has no extent drop out.
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(symmetric(a.covariance, size), { assumeSymmetric: true });
  const used = realEigenvalues.map((value, i) => ({ value, i })).filter(({ value }) => value > 0);
  if (used.length === 0) return Math.max(distance, 0);
  const vectors = eigenvectorMatrix.subMatrixColumn(used.map(({ i }) => i));
  const product = vectors.transpose().mmul(symmetric(b.covariance, size)).mmul(vectors);
  used.forEach(({ value }, i) => {
    const root = Math.sqrt(value);
    product.mulRow(i, root).mulColumn(i, root);
  });
  const eigenvalues = new EigenvalueDecomposition(symmetric(Float64Array.from(product.to1DArray()), used.length), { assumeSymmetric: true })
    .realEigenvalues;
  for (const value of eigenvalues) distance -= 2 * Math.sqrt(Math.max(value, 0));
  return Math.max(distance, 0);
}
