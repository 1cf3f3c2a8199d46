/**
 * Singular values of a product of two factors, in float64: 2,048 of them in seconds on one core.
 */
import { RunError } from '../../core/errors.js';
import { floatMemory, packRow, roundUp, type FloatVector } from './float-memory.js';
import { PANEL, type Kernels } from './kernels.js';

/** Columns that are reduced before the rest of the matrix is updated; a multiple of eight. */
const BLOCK = 32;

/** Products summed at a time, as in the products of feature rows. */
const DEPTH = 128;

/**
 * The singular values of A Bᵀ in no order, for `a` `[rowsA, length]` and `b` `[rowsB, length]`; the smaller number of rows of them.
 *
 * The product is reduced to two diagonals by Householder's reflections, block by block (Dongarra, Hammarling & Sorensen, "Block reduction of matrices
 * to condensed forms for eigenvalue computations", 1989). Each value has an error of about the rounding of the largest one.
 */
export function productSingularValues(a: Float64Array, rowsA: number, b: Float64Array, rowsB: number, length: number): Float64Array {
  if (rowsA < rowsB) return productSingularValues(b, rowsB, a, rowsA, length);
  if (rowsB === 0) return new Float64Array(0);
  const [height, width] = [roundUp(rowsA, 8), roundUp(rowsB, 8)];
  const {
    kernels,
    vectors: [matrix, left, right, v, y, w, x],
  } = floatMemory(height * width, height * Math.max(length, 2 * BLOCK), width * Math.max(length, 2 * BLOCK), height, width, width, height);
  for (let i = 0; i < rowsA; i++) packRow(a.subarray(i * length, (i + 1) * length), left.values, i);
  for (let i = 0; i < rowsB; i++) packRow(b.subarray(i * length, (i + 1) * length), right.values, i);
  const panel = length * PANEL * 8;
  for (let k = 0; k < length; k += DEPTH)
    kernels.multiplyPanels(
      left.address + k * PANEL * 8,
      right.address + k * PANEL * 8,
      matrix.address,
      height / PANEL,
      width / PANEL,
      Math.min(DEPTH, length - k),
      panel,
      panel,
      width * 8,
    );
  const [diagonal, above] = bidiagonalize({ kernels, matrix, height, width, rows: rowsA, columns: rowsB, left, right, v, y, w, x });

  // The eigenvalues of [[0, B], [Bᵀ, 0]], rows and columns shuffled to one tridiagonal matrix, are plus and minus the singular values of B.
  const coupling = new Float64Array(2 * rowsB);
  diagonal.forEach((value, i) => (coupling[2 * i] = value));
  above.forEach((value, i) => (coupling[2 * i + 1] = value));
  return tridiagonalEigenvalues(new Float64Array(2 * rowsB), coupling).map(Math.abs).sort().filter((_, i) => i % 2 === 1); // prettier-ignore
}

interface Reduction {
  kernels: Kernels;
  /** `[height, width]`, zero beyond `[rows, columns]`; overwritten. */
  matrix: FloatVector;
  height: number;
  width: number;
  rows: number;
  columns: number;
  /** Room for the panels of an update. */
  left: FloatVector;
  right: FloatVector;
  /** Reflection of rows and what it makes of the matrix, `[height]` and `[width]`; then of columns. */
  v: FloatVector;
  y: FloatVector;
  w: FloatVector;
  x: FloatVector;
}

/**
 * To an upper bidiagonal matrix; `rows >= columns`.
 *
 * Within a block the matrix stays as it was, and stands for A - Σ (v_k y_kᵀ + x_k w_kᵀ) with the reflections v_k and w_k found so far.
 */
function bidiagonalize(r: Reduction): [diagonal: Float64Array, above: Float64Array] {
  const { kernels, matrix, height, width, rows, columns } = r;
  const diagonal = new Float64Array(columns);
  const above = new Float64Array(columns - 1);
  const A = matrix.values;
  const vectors = (length: number) => Array.from({ length: BLOCK }, () => new Float64Array(length));
  const [V, X, Y, W] = [vectors(height), vectors(height), vectors(width), vectors(width)] as const;

  for (let start = 0; start < columns; start += BLOCK) {
    const end = Math.min(start + BLOCK, columns);
    for (let i = start; i < end; i++) {
      const now = i - start;
      const [v, x, y, w] = [V[now]!, X[now]!, Y[now]!, W[now]!];

      // Column i as it is by now, and the reflection that takes it to (d, 0, …).
      v.fill(0);
      for (let row = i; row < rows; row++) v[row] = A[row * width + i]!;
      for (let k = 0; k < now; k++) {
        subtract(v, Y[k]![i]!, V[k]!, i, rows);
        subtract(v, W[k]![i]!, X[k]!, i, rows);
      }
      const tauV = reflect(v, i, rows, (value) => (diagonal[i] = value));

      // y = τ (A - …)ᵀ v, to the right of column i.
      y.fill(0);
      if (i + 1 < columns && tauV !== 0) {
        r.v.values.set(v);
        r.y.values.fill(0);
        const [top, first] = [i - (i % PANEL), i + 1 - ((i + 1) % 2)];
        kernels.multiplyVectorTransposed(
          matrix.address + (top * width + first) * 8,
          r.v.address + top * 8,
          r.y.address + first * 8,
          (height - top) / PANEL,
          (width - first) / 2,
          width * 8,
        );
        for (let j = i + 1; j < columns; j++) y[j] = r.y.values[j]!;
        for (let k = 0; k < now; k++) {
          subtract(y, dot(V[k]!, v, i, rows), Y[k]!, i + 1, columns);
          subtract(y, dot(X[k]!, v, i, rows), W[k]!, i + 1, columns);
        }
        for (let j = i + 1; j < columns; j++) y[j]! *= tauV;
      }

      // Row i right of the diagonal, and the reflection that takes it to (e, 0, …).
      w.fill(0);
      x.fill(0);
      if (i + 1 >= columns) continue;
      for (let j = i + 1; j < columns; j++) w[j] = A[i * width + j]!;
      for (let k = 0; k <= now; k++) subtract(w, V[k]![i]!, Y[k]!, i + 1, columns);
      for (let k = 0; k < now; k++) subtract(w, X[k]![i]!, W[k]!, i + 1, columns);
      const tauW = reflect(w, i + 1, columns, (value) => (above[i] = value));
      if (tauW === 0) {
        w.fill(0);
        continue;
      }

      // x = τ (A - …) w, below row i.
      if (i + 1 >= rows) continue;
      r.w.values.set(w);
      const first = i + 1 - ((i + 1) % 8);
      kernels.multiplyVector(
        matrix.address + ((i + 1) * width + first) * 8,
        r.w.address + first * 8,
        r.x.address + (i + 1) * 8,
        rows - i - 1,
        (width - first) / 8,
        width * 8,
      );
      for (let row = i + 1; row < rows; row++) x[row] = r.x.values[row]!;
      for (let k = 0; k <= now; k++) subtract(x, dot(Y[k]!, w, i + 1, columns), V[k]!, i + 1, rows);
      for (let k = 0; k < now; k++) subtract(x, dot(W[k]!, w, i + 1, columns), X[k]!, i + 1, rows);
      for (let row = i + 1; row < rows; row++) x[row]! *= tauW;
    }
    if (end < columns) update(r, end, [...V, ...X], [...Y, ...W]);
  }
  return [diagonal, above];
}

/** A = A - Σ_k left_k right_kᵀ from row and column `from` on. */
function update(
  { kernels, matrix, height, width, left, right }: Reduction,
  from: number,
  lefts: Float64Array[],
  rights: Float64Array[],
): void {
  const depth = lefts.length;
  const pack = (vectors: Float64Array[], length: number, panels: Float64Array, sign: number) => {
    for (let p = from, to = 0; p < length; p += PANEL)
      for (let k = 0; k < depth; k++) for (let c = 0; c < PANEL; c++) panels[to++] = sign * vectors[k]![p + c]!;
  };
  pack(lefts, height, left.values, -1);
  pack(rights, width, right.values, 1);
  const stride = depth * PANEL * 8;
  kernels.multiplyPanels(
    left.address,
    right.address,
    matrix.address + (from * width + from) * 8,
    (height - from) / PANEL,
    (width - from) / PANEL,
    depth,
    stride,
    stride,
    width * 8,
  );
}

/** H = 1 - τ v vᵀ takes the values from `begin` on to (value, 0, …); they become v, with 1 at `begin`. Returns τ. */
function reflect(v: Float64Array, begin: number, end: number, keep: (value: number) => void): number {
  let rest = 0;
  for (let i = begin + 1; i < end; i++) rest += v[i]! ** 2;
  const alpha = v[begin]!;
  if (rest === 0) {
    keep(alpha);
    v[begin] = 1;
    return 0;
  }
  const norm = Math.sqrt(alpha * alpha + rest);
  const beta = alpha > 0 ? -norm : norm;
  for (let i = begin + 1; i < end; i++) v[i]! /= alpha - beta;
  v[begin] = 1;
  keep(beta);
  return (beta - alpha) / beta;
}

function subtract(from: Float64Array, factor: number, vector: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++) from[i]! -= factor * vector[i]!;
}

function dot(a: Float64Array, b: Float64Array, begin: number, end: number): number {
  let [even, odd] = [0, 0];
  let i = begin;
  for (; i + 1 < end; i += 2) {
    even += a[i]! * b[i]!;
    odd += a[i + 1]! * b[i + 1]!;
  }
  return i < end ? even + odd + a[i]! * b[i]! : even + odd;
}

/** Far more than QL needs for any eigenvalue. */
const ITERATIONS = 100;

/** QL iterations with implicit shifts (EISPACK's imtql1). Overwrites and returns `d`; `e[i]` couples i and i+1. */
function tridiagonalEigenvalues(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  e[n - 1] = 0;
  const largest = e.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  // Couplings below this change no eigenvalue by more than a thousandth of the rounding of the largest.
  const negligible = 1e-3 * largest;
  for (let l = 0; l < n; l++) {
    for (let iteration = 0; ; iteration++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]!) > Number.EPSILON * Math.max(Math.abs(d[m]!) + Math.abs(d[m + 1]!), negligible)) m++;
      if (m === l) break;
      if (!(iteration < ITERATIONS))
        throw new RunError('E_RUN_NOT_CONVERGED', `singular values: expected convergence in ${ITERATIONS} iterations`, {
          help: 'check that features and statistics are finite',
        });
      let g = (d[l + 1]! - d[l]!) / (2 * e[l]!);
      let r = Math.sqrt(g * g + 1);
      g = d[m]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r));
      let [s, c, p] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        r = Math.sqrt(f * f + g * g);
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
