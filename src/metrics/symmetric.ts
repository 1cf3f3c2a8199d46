/**
 * Dense symmetric matrices in float64, `[n, n]` row-major: what the Fréchet distance needs at 2,048 dimensions,
 * where a general decomposition with eigenvectors takes minutes.
 */

/**
 * Factors a positive semi-definite matrix: A = Σ_k l_k l_kᵀ; returns the l_k as rows `[rank, n]`.
 *
 * Cholesky with diagonal pivoting (Higham, "Analysis of the Cholesky decomposition of a semi-definite matrix", 1990); it ends where
 * the largest pivot left is rounding error of the first. Only the lower triangle is read.
 */
export function semidefiniteFactor(matrix: Float64Array, n: number): Float64Array[] {
  const pivots = Float64Array.from({ length: n }, (_, i) => matrix[i * n + i]!);
  const threshold = Math.max(...pivots) * n * Number.EPSILON;
  const done = new Uint8Array(n);
  const rows: Float64Array[] = [];
  for (;;) {
    let pivot = -1;
    for (let i = 0; i < n; i++) if (!done[i] && pivots[i]! > (pivot < 0 ? threshold : pivots[pivot]!)) pivot = i;
    if (pivot < 0) return rows;
    done[pivot] = 1;
    const row = new Float64Array(n);
    for (let i = 0; i < n; i++) row[i] = i < pivot ? matrix[pivot * n + i]! : matrix[i * n + pivot]!;
    for (const former of rows) {
      const factor = former[pivot]!;
      for (let i = 0; i < n; i++) row[i]! -= factor * former[i]!;
    }
    const root = Math.sqrt(pivots[pivot]!);
    for (let i = 0; i < n; i++) {
      row[i] = i === pivot ? root : done[i] ? 0 : row[i]! / root;
      pivots[i]! -= row[i]! ** 2;
    }
    rows.push(row);
  }
}

/** Eigenvalues in no order. Only the lower triangle is read; the matrix is unchanged. */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array {
  const [diagonal, below] = tridiagonalize(Float64Array.from(matrix), n);
  return tridiagonalEigenvalues(diagonal, below);
}

/** Householder reduction (Golub & Van Loan, algorithm 8.3.1) of the lower triangle of `a`, which it overwrites. */
function tridiagonalize(a: Float64Array, n: number): [diagonal: Float64Array, below: Float64Array] {
  const diagonal = new Float64Array(n);
  const below = new Float64Array(n);
  const v = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    diagonal[k] = a[k * n + k]!;
    if (k === n - 1) break;
    // H = 1 - v vᵀ / h takes the column below the diagonal to (alpha, 0, …).
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm = Math.hypot(norm, (v[i] = a[i * n + k]!));
    const alpha = v[k + 1]! > 0 ? -norm : norm;
    below[k] = alpha;
    const h = norm * norm - alpha * v[k + 1]!;
    if (h === 0) continue;
    v[k + 1]! -= alpha;

    // p = A v / h, q = p - v (vᵀ p / 2 h), A = A - v qᵀ - q vᵀ.
    p.fill(0, k + 1);
    for (let i = k + 1; i < n; i++) {
      const vi = v[i]!;
      const row = i * n;
      let sum = a[row + i]! * vi;
      for (let j = k + 1; j < i; j++) {
        const value = a[row + j]!;
        sum += value * v[j]!;
        p[j]! += value * vi;
      }
      p[i]! += sum;
    }
    let dot = 0;
    for (let i = k + 1; i < n; i++) dot += v[i]! * (p[i]! /= h);
    for (let i = k + 1; i < n; i++) p[i]! -= (v[i]! * dot) / (2 * h);
    for (let i = k + 1; i < n; i++) {
      const vi = v[i]!;
      const qi = p[i]!;
      const row = i * n;
      for (let j = k + 1; j <= i; j++) a[row + j]! -= vi * p[j]! + qi * v[j]!;
    }
  }
  return [diagonal, below];
}

/** QL iterations with implicit shifts (EISPACK's imtql1). Overwrites and returns `d`; `e[i]` couples i and i+1. */
function tridiagonalEigenvalues(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  e[n - 1] = 0;
  for (let l = 0; l < n; l++) {
    for (let iteration = 0; iteration < 60; iteration++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]!) > Number.EPSILON * (Math.abs(d[m]!) + Math.abs(d[m + 1]!))) m++;
      if (m === l) break;
      let g = (d[l + 1]! - d[l]!) / (2 * e[l]!);
      let r = Math.hypot(g, 1);
      g = d[m]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r));
      let [s, c, p] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1]! - p;
        r = (d[i]! - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (i >= l) continue;
      d[l]! -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  return d;
}
