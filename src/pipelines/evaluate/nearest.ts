/**
 * The reference images nearest to generated ones in feature space: what a generator has learnt by heart shows here.
 */
import type { FeatureRows } from '../../core/contracts/metric.js';
import { forEachDistanceBlock, rowViews } from '../../metrics/linear-algebra/row-products.js';

/** A generated image and the reference images nearest to it, the nearest first. */
export interface NearestRow {
  image: number;
  /** `distance` is Euclidean, in feature space. */
  matches: { reference: number; distance: number }[];
}

/** The `top` nearest rows of `references` to each of `generated`; with `others`, both are one set's, and a row is no match of itself. */
export async function nearestRows(
  generated: readonly Float32Array[],
  references: FeatureRows,
  top: number,
  others?: readonly number[],
): Promise<NearestRow[]> {
  const rows: NearestRow[] = generated.map((_, image) => ({ image, matches: [] }));
  await forEachDistanceBlock(generated, rowViews(references), ({ first, count, firstB, countB, products, stride }) => {
    for (let i = 0; i < count; i++) {
      const { matches } = rows[first + i]!;
      for (let j = 0; j < countB; j++) {
        const squared = products[i * stride + j]!;
        if (matches.length === top && squared >= matches.at(-1)!.distance) continue;
        if (others?.[first + i] === firstB + j) continue;
        const at = matches.findIndex(({ distance }) => squared < distance);
        matches.splice(at < 0 ? matches.length : at, 0, { reference: firstB + j, distance: squared });
        if (matches.length > top) matches.pop();
      }
    }
  });
  for (const { matches } of rows) for (const match of matches) match.distance = Math.sqrt(Math.max(0, match.distance));
  return rows;
}

/** The middle value; of an even number, the mean of the two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
