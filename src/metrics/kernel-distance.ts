/**
 * The kernel distance: squared maximum mean discrepancy with a cubic kernel; of Inception features it is the KID
 * (Bińkowski et al., "Demystifying MMD GANs", 2018, section 4).
 */
import { z } from 'zod';
import type { Metric } from '../core/contracts/metric.js';
import { parseOptions } from '../core/options.js';
import { PhiloxRandom } from '../core/random.js';
import { meanAndSpread, requireReference, requireRows } from './feature-sets.js';
import { forEachProductBlock } from './linear-algebra/row-products.js';

const schema = z.strictObject({
  subsets: z.int().min(1).default(100),
  subsetSize: z.int().min(2).default(1000),
  seed: z.int().min(0).default(0),
});

/** Options of `kernelDistance`. */
export interface KernelDistanceOptions {
  /** Pairs of subsets that are compared. Default 100. */
  subsets?: number;
  /** Images of each side of a pair, drawn without replacement. Default 1000. */
  subsetSize?: number;
  /** Which images are drawn. Default 0. */
  seed?: number;
}

/**
 * The unbiased estimate of MMD² with k(x, y) = (xᵀy / D + 1)³, over random subsets of both sets.
 *
 * Values `kernelDistance`, the mean over the subsets, and `kernelDistanceSpread`, their standard deviation (divided by their number).
 * Lower is better; around 0, and now and then below, for sets of one distribution, however few the images.
 * `compute` throws `E_VALUE` for a set smaller than a subset.
 */
export function kernelDistance(options: KernelDistanceOptions = {}): Metric {
  const { subsets, subsetSize, seed } = parseOptions(schema, options, 'kernelDistance');
  const name = 'kernel-distance';
  return {
    name,
    needs: ['features'],
    comparesWithReference: true,
    compute: async (generated, given, { signal, onProgress } = {}) => {
      const reference = requireReference(name, generated, given);
      const why = ' for a subset';
      const x = requireRows(name, 'generated', generated, 'features', subsetSize, why);
      const y = requireRows(name, 'reference', reference, 'features', subsetSize, why);
      const random = new PhiloxRandom(seed);
      const draw = (rows: readonly Float32Array[], stream: string) => subset(rows, subsetSize, random, stream);
      const values: number[] = [];
      for (let i = 0; i < subsets; i++) {
        values.push(await unbiasedMmd(draw(x, 'generated'), draw(y, 'reference'), signal));
        onProgress?.(i + 1, subsets);
      }
      const { mean, spread } = meanAndSpread(values);
      return { kernelDistance: mean, kernelDistanceSpread: spread };
    },
  };
}

/** `size` rows, each at most once: the first steps of Fisher and Yates' shuffle. */
function subset<T>(rows: readonly T[], size: number, random: PhiloxRandom, stream: string): T[] {
  const pool = rows.slice();
  for (let i = 0; i < size; i++) {
    const j = i + random.stream(stream).integers(1, pool.length - i)[0]!;
    [pool[i], pool[j]] = [pool[j]!, pool[i]!];
  }
  return pool.slice(0, size);
}

/**
 * MMD² of two sets: the kernel's means over the pairs of each set, less twice its mean over all pairs of both. Rejects with the reason of `signal`
 * between two blocks.
 */
export async function unbiasedMmd(x: readonly Float32Array[], y: readonly Float32Array[], signal?: AbortSignal): Promise<number> {
  const [n, m] = [x.length, y.length];
  const [xx, yy, xy] = [await kernelSum(x, x, signal), await kernelSum(y, y, signal), await kernelSum(x, y, signal)];
  return (2 * xx) / (n * (n - 1)) + (2 * yy) / (m * (m - 1)) - (2 * xy) / (n * m);
}

/** Σ k(a_i, b_j) over all pairs, or over i < j where both are one set. */
async function kernelSum(a: readonly Float32Array[], b: readonly Float32Array[], signal: AbortSignal | undefined): Promise<number> {
  const dimensions = a[0]!.length;
  let total = 0;
  await forEachProductBlock(a, b, ({ first, count, firstB, countB, products, stride }) => {
    signal?.throwIfAborted();
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (let j = a === b ? Math.max(0, first + i + 1 - firstB) : 0; j < countB; j++) {
        const base = products[i * stride + j]! / dimensions + 1;
        sum += base * base * base;
      }
      total += sum;
    }
  });
  return total;
}
