/**
 * Inner products and squared distances between all rows of two sets, a block at a time, in float64.
 */
import type { FeatureRows } from '../../core/contracts/metric.js';
import { floatMemory, packRow, roundUp } from './float-memory.js';
import { PANEL } from './kernels.js';

/** Rows of a block of A: packed once, then met by all of B. */
const A_ROWS = 512;

/** Rows of a block of B; with both, a block of products is 1 MiB. */
const B_ROWS = 256;

/** Products summed at a time: panels of A this deep stay in the second-level cache. */
const DEPTH = 128;

/** The rows of `rows`, without copies. */
export function rowViews({ chunks, dimensions }: FeatureRows): Float32Array[] {
  return chunks.flatMap((chunk) =>
    Array.from({ length: chunk.length / dimensions }, (_, i) => chunk.subarray(i * dimensions, (i + 1) * dimensions)),
  );
}

/** Products of rows `first` … of A with rows `firstB` … of B; valid until the next block. */
export interface ProductBlock {
  first: number;
  count: number;
  firstB: number;
  countB: number;
  /** Product of A's row first + i and B's row firstB + j at `[i * stride + j]`. */
  products: Float64Array;
  stride: number;
}

/**
 * Visits every block of A Bᵀ, or, where `b` is `a`, those on and above the diagonal; between blocks the event loop gets its turn.
 *
 * Every product sums its terms in the same order wherever its rows stand, so equal rows have equal products, bit for bit.
 */
export async function forEachProductBlock(
  a: readonly ArrayLike<number>[],
  b: readonly ArrayLike<number>[],
  visit: (block: ProductBlock) => void,
): Promise<void> {
  const width = a[0]?.length ?? 0;
  if (width === 0 || b.length === 0) return;
  const rowsA = Math.min(A_ROWS, roundUp(a.length, PANEL));
  const rowsB = Math.min(B_ROWS, roundUp(b.length, PANEL));
  const {
    kernels,
    vectors: [left, right, out],
  } = floatMemory(rowsA * width, rowsB * width, rowsA * rowsB);
  const panel = width * PANEL * 8;

  for (let first = 0; first < a.length; first += rowsA) {
    const count = Math.min(rowsA, a.length - first);
    for (let i = 0; i < count; i++) packRow(a[first + i]!, left.values, i);
    for (let firstB = a === b ? Math.floor(first / rowsB) * rowsB : 0; firstB < b.length; firstB += rowsB) {
      const countB = Math.min(rowsB, b.length - firstB);
      for (let j = 0; j < countB; j++) packRow(b[firstB + j]!, right.values, j);
      out.values.fill(0);
      for (let k = 0; k < width; k += DEPTH)
        kernels.multiplyPanels(
          left.address + k * PANEL * 8,
          right.address + k * PANEL * 8,
          out.address,
          Math.ceil(count / PANEL),
          Math.ceil(countB / PANEL),
          Math.min(DEPTH, width - k),
          panel,
          panel,
          rowsB * 8,
        );
      visit({ first, count, firstB, countB, products: out.values, stride: rowsB });
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
}

/** Below this share of |x|² + |y|², the difference of large sums has lost its digits: equal rows would be a little apart. */
const CANCELLED = 1e-7;

/** As {@link forEachProductBlock}, with squared Euclidean distances; that of equal rows is exactly 0. */
export function forEachDistanceBlock(
  a: readonly ArrayLike<number>[],
  b: readonly ArrayLike<number>[],
  visit: (block: ProductBlock) => void,
): Promise<void> {
  const squares = (rows: readonly ArrayLike<number>[]) => Float64Array.from(rows, (row) => squaredNorm(row));
  const squaresA = squares(a);
  const squaresB = a === b ? squaresA : squares(b);
  return forEachProductBlock(a, b, (block) => {
    const { first, count, firstB, countB, products, stride } = block;
    for (let i = 0; i < count; i++)
      for (let j = 0; j < countB; j++) {
        const sum = squaresA[first + i]! + squaresB[firstB + j]!;
        const distance = sum - 2 * products[i * stride + j]!;
        products[i * stride + j] = distance < CANCELLED * sum ? squaredDistance(a[first + i]!, b[firstB + j]!) : distance;
      }
    visit(block);
  });
}

function squaredNorm(row: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < row.length; k++) sum += row[k]! * row[k]!;
  return sum;
}

function squaredDistance(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += (x[k]! - y[k]!) ** 2;
  return sum;
}
