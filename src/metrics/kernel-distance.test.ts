import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernelDistance, unbiasedMmd } from './kernel-distance.js';
import { normalRows, setOf } from './test-support.js';

const kernel = (x: readonly number[], y: readonly number[]) => (x.reduce((sum, v, k) => sum + v * y[k]!, 0) / x.length + 1) ** 3;

/** The estimate as the paper writes it, pair by pair. */
function mmdByPairs(x: number[][], y: number[][]): number {
  const within = (rows: number[][]) =>
    rows.flatMap((a, i) => rows.map((b, j) => (i === j ? 0 : kernel(a, b)))).reduce((s, v) => s + v, 0) / (rows.length * (rows.length - 1));
  const across = x.flatMap((a) => y.map((b) => kernel(a, b))).reduce((s, v) => s + v, 0) / (x.length * y.length);
  return within(x) + within(y) - 2 * across;
}
const floats = (rows: number[][]) => rows.map((row) => Float32Array.from(row));

describe('unbiasedMmd', () => {
  it('by hand in one dimension', async () => {
    // k(x, y) = (xy + 1)³: within {0, 1} 1, within {2, 3} 7³, across (1 + 1 + 27 + 64) / 4.
    expect(await unbiasedMmd(floats([[0], [1]]), floats([[2], [3]]))).toBe(1 + 343 - (2 * 93) / 4);
  });

  it('agrees with the sum pair by pair, across the edges of blocks', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(2, 5, 255, 257, 513, 600), fc.constantFrom(2, 3, 130, 300), fc.nat(100), async (n, m, seed) => {
        const [x, y] = [normalRows(n, 3, seed), normalRows(m, 3, seed + 1, 0.5)];
        expect([await unbiasedMmd(floats(x), floats(y))]).toBeAllclose([mmdByPairs(x, y)], { rtol: 1e-11, atol: 1e-11 });
      }),
      { numRuns: 8 },
    );
  });
});

describe('kernelDistance', () => {
  it('of whole sets is the estimate itself, without spread', async () => {
    const [x, y] = [normalRows(50, 7, 0), normalRows(50, 7, 1, 1)];
    const found = await kernelDistance({ subsets: 3, subsetSize: 50 }).compute(setOf(x), setOf(y));
    expect(found['kernelDistance']).toBeCloseTo(mmdByPairs(x, y), 11);
    expect(found['kernelDistanceSpread']).toBeLessThan(1e-12);
  });

  it('over subsets lies around the whole, has a spread, and depends on the seed alone', async () => {
    const [x, y] = [normalRows(400, 5, 0), normalRows(300, 5, 1, 0.5)];
    const compute = (seed: number) => kernelDistance({ subsets: 60, subsetSize: 60, seed }).compute(setOf(x), setOf(y));
    const [first, again, other] = [await compute(3), await compute(3), await compute(4)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    const spread = first['kernelDistanceSpread']!;
    expect(spread).toBeGreaterThan(0);
    expect(Math.abs(first['kernelDistance']! - mmdByPairs(x, y))).toBeLessThan((4 * spread) / Math.sqrt(60));
  });

  it('is around 0, not below by more than chance, for sets of one distribution', async () => {
    const { kernelDistance: value, kernelDistanceSpread: spread } = await kernelDistance({ subsets: 40, subsetSize: 100 }).compute(
      setOf(normalRows(500, 4, 5)),
      setOf(normalRows(500, 4, 6)),
    );
    expect(Math.abs(value!)).toBeLessThan(2 * spread!);
  });

  it('refuses sets smaller than a subset, features that are not finite, other extractors, statistics only', async () => {
    const metric = kernelDistance({ subsetSize: 3 });
    const [three, two] = [setOf([[0], [1], [2]]), setOf([[0], [1]])];
    await expect(metric.compute(two, three)).rejects.toThrow(/expected 3 generated images or more for a subset, got 2/);
    await expect(metric.compute(three, two)).rejects.toThrow(/expected 3 reference images or more for a subset, got 2/);
    await expect(metric.compute(setOf([[0], [NaN], [2]]), three)).rejects.toThrow(/generated image 1: expected finite features, got NaN/);
    await expect(metric.compute(three)).rejects.toThrow(/expected a reference set, got none/);
    await expect(metric.compute(three, setOf([[0], [1], [2]], 'another'))).rejects.toMatchObject({ code: 'E_SHAPE' });
    await expect(metric.compute(three, { ...three, features: undefined })).rejects.toThrow(/reference that holds only mu and sigma/);
    expect(() => kernelDistance({ subsetSize: 1 })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
    expect(() => kernelDistance({ subset: 5 } as object)).toThrow(/subset/);
  });
});
