/**
 * A set's manifold as k nearest neighbours estimate it: the union of balls around its rows, each as wide as to the row's k-th neighbour
 * (Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019, section 2).
 */
import { forEachDistanceBlock } from './linear-algebra/row-products.js';

/** The squared distance from each row to its k-th nearest other row; 0 where k others equal it. `neighbours` must be below the number of rows. */
export async function squaredRadii(rows: readonly Float32Array[], neighbours: number): Promise<Float64Array> {
  const nearest = new Float64Array(rows.length * neighbours).fill(Infinity);
  const meet = (row: number, distance: number) => {
    const start = row * neighbours;
    let at = start + neighbours - 1;
    if (distance >= nearest[at]!) return;
    for (; at > start && nearest[at - 1]! > distance; at--) nearest[at] = nearest[at - 1]!;
    nearest[at] = distance;
  };
  await forEachDistanceBlock(rows, rows, ({ first, count, firstB, countB, products, stride }) => {
    for (let i = 0; i < count; i++)
      for (let j = Math.max(0, first + i + 1 - firstB); j < countB; j++) {
        meet(first + i, products[i * stride + j]!);
        meet(firstB + j, products[i * stride + j]!);
      }
  });
  return Float64Array.from({ length: rows.length }, (_, i) => nearest[(i + 1) * neighbours - 1]!);
}

/** Calls `visit` with the squared distance of every pair of a real and a generated row, by their numbers. */
export function forEachPair(
  real: readonly Float32Array[],
  generated: readonly Float32Array[],
  visit: (real: number, generated: number, squaredDistance: number) => void,
): Promise<void> {
  return forEachDistanceBlock(real, generated, ({ first, count, firstB, countB, products, stride }) => {
    for (let i = 0; i < count; i++) for (let j = 0; j < countB; j++) visit(first + i, firstB + j, products[i * stride + j]!);
  });
}

/** The share of ones. */
export const share = (flags: Uint8Array): number => flags.reduce((a, b) => a + b, 0) / flags.length;
