/**
 * Cholesky's factor of a positive semi-definite matrix of any rank, in float64.
 */
import { floatMemory, packColumns, roundUp } from './float-memory.js';
import { PANEL } from './kernels.js';

/** A = Σ_k l_k l_kᵀ. */
export interface SemidefiniteFactor {
  rank: number;
  /** The l_k, `[rank, n]`. */
  rows: Float64Array;
}

/** Rows that are found before the rest of the matrix is updated. */
const BLOCK = 64;

/**
 * Factors a positive semi-definite matrix `[n, n]`, of which the part on and above the diagonal is read.
 *
 * Cholesky with diagonal pivoting (Higham, "Analysis of the Cholesky decomposition of a semi-definite matrix", 1990). It ends where the largest
 * pivot left is rounding error: of the first, or no larger than the most negative one, as in a matrix that was rounded to float32.
 */
export function semidefiniteFactor(matrix: Float64Array, n: number): SemidefiniteFactor {
  const width = roundUp(n, PANEL);
  const {
    kernels,
    vectors: [rest, left, right],
  } = floatMemory(width * width, BLOCK * width, BLOCK * width);
  for (let i = 0; i < n; i++) rest.values.set(matrix.subarray(i * n, (i + 1) * n), i * width);

  const pivots = Float64Array.from({ length: n }, (_, i) => matrix[i * n + i]!);
  const threshold = pivots.reduce((a, b) => Math.max(a, b), 0) * n * Number.EPSILON;
  const done = new Uint8Array(n);
  const found: Float64Array[] = [];
  const block = new Float64Array(BLOCK * width);
  for (let ended = false; !ended;) {
    let count = 0;
    for (; count < BLOCK; count++) {
      const pivot = largestPivot(pivots, done, threshold);
      if (pivot < 0) break;
      done[pivot] = 1;
      const row = block.subarray(count * width, (count + 1) * width);
      for (let i = 0; i < pivot; i++) row[i] = rest.values[i * width + pivot]!;
      for (let i = pivot; i < n; i++) row[i] = rest.values[pivot * width + i]!;
      for (let former = 0; former < count; former++) {
        const factor = block[former * width + pivot]!;
        for (let i = 0, at = former * width; i < n; i++) row[i]! -= factor * block[at + i]!;
      }
      const root = Math.sqrt(pivots[pivot]!);
      for (let i = 0; i < n; i++) {
        row[i] = i === pivot ? root : done[i] ? 0 : row[i]! / root;
        pivots[i]! -= row[i]! ** 2;
      }
      found.push(row.slice(0, n));
    }
    ended = count < BLOCK;
    if (ended) break;
    // rest = rest - Σ l lᵀ, panels on and above the diagonal.
    packColumns(block, 0, width, BLOCK, width, right.values);
    for (let i = 0; i < left.values.length; i++) left.values[i] = -right.values[i]!;
    const stride = BLOCK * PANEL * 8;
    for (let j = 0; j < width / PANEL; j++)
      kernels.multiplyPanels(
        left.address,
        right.address + j * stride,
        rest.address + j * PANEL * 8,
        j + 1,
        1,
        BLOCK,
        stride,
        stride,
        width * 8,
      );
  }
  const rows = new Float64Array(found.length * n);
  found.forEach((row, k) => rows.set(row, k * n));
  return { rank: found.length, rows };
}

/** The largest pivot left; -1 where it is rounding error. */
function largestPivot(pivots: Float64Array, done: Uint8Array, threshold: number): number {
  let [pivot, smallest] = [-1, 0];
  for (let i = 0; i < pivots.length; i++) {
    if (done[i]) continue;
    if (pivots[i]! > (pivot < 0 ? threshold : pivots[pivot]!)) pivot = i;
    if (pivots[i]! < smallest) smallest = pivots[i]!;
  }
  return pivot >= 0 && pivots[pivot]! > -smallest ? pivot : -1;
}
