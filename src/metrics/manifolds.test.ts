import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FeatureSet } from '../core/contracts/metric.js';
import { densityCoverage } from './density-coverage.js';
import { squaredRadii } from './manifolds.js';
import { precisionRecall } from './precision-recall.js';
import { normalRows, setOf } from './test-support.js';

const squared = (x: readonly number[], y: readonly number[]) => x.reduce((sum, v, k) => sum + (v - y[k]!) ** 2, 0);
const radiiByPairs = (rows: number[][], k: number) =>
  rows.map((x, i) => rows.map((y, j) => (i === j ? Infinity : squared(x, y))).sort((a, b) => a - b)[k - 1]!);

describe('squaredRadii', () => {
  it('are distances to the k-th other row, whatever the blocks', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(6, 255, 513), fc.integer({ min: 1, max: 5 }), fc.nat(100), async (n, k, seed) => {
        const rows = normalRows(n, 4, seed);
        const found = await squaredRadii(
          rows.map((row) => Float32Array.from(row)),
          k,
        );
        expect(found).toBeAllclose(radiiByPairs(rows, k), { rtol: 1e-12, atol: 0 });
      }),
      { numRuns: 5 },
    );
  });

  it('keep their digits where rows are far from zero, and are exactly 0 for equal rows', async () => {
    const rows = normalRows(40, 6, 1, 1000);
    const twice = [...rows, ...rows].map((row) => Float32Array.from(row));
    expect(await squaredRadii(twice, 1)).toEqual(new Float64Array(80));
    expect(await squaredRadii(twice, 3)).toBeAllclose(radiiByPairs([...rows, ...rows], 3), { rtol: 1e-6, atol: 0 });
  });
});

describe('precisionRecall', () => {
  it('by hand on a line', async () => {
    // Real 0 1 2 10 with one neighbour: balls of radius 1 1 1 8. Generated 2.5 3.5 30: radii 1 1 26.5.
    const found = await precisionRecall({ neighbours: 1 }).compute(setOf([[2.5], [3.5], [30]]), setOf([[0], [1], [2], [10]]));
    expect(found).toEqual({ precision: 2 / 3, recall: 2 / 4 });
  });

  it('holds the surface of a ball', async () => {
    // Real 0 1: radii 1. Generated 2 lies on the surface of the ball around 1.
    const { precision } = await precisionRecall({ neighbours: 1 }).compute(setOf([[2], [5]]), setOf([[0], [1]]));
    expect(precision).toBe(1 / 2);
  });

  it('agrees with a count pair by pair', async () => {
    const [fake, real] = [normalRows(300, 3, 0, 0.7), normalRows(270, 3, 1)];
    const inside = (points: number[][], centres: number[][]) => {
      const radii = radiiByPairs(centres, 3);
      return points.filter((x) => centres.some((y, i) => squared(x, y) <= radii[i]!)).length / points.length;
    };
    const found = await precisionRecall().compute(setOf(fake), setOf(real));
    expect(found).toEqual({ precision: inside(fake, real), recall: inside(real, fake) });
    expect(found['precision']).toBeLessThan(1);
  });
});

describe('densityCoverage', () => {
  it('by hand on a line', async () => {
    // Real 0 1 2 10 with two neighbours: radii 2 1 2 9. Generated 1.5 lies in the balls of 0, 1, 2 and 10; 40 in none; 2.5 in those of 2 and 10.
    const found = await densityCoverage({ neighbours: 2 }).compute(setOf([[1.5], [40], [2.5]]), setOf([[0], [1], [2], [10]]));
    expect(found).toEqual({ density: 6 / (2 * 3), coverage: 1 });
  });

  it('does not hold the surface of a ball', async () => {
    const found = await densityCoverage({ neighbours: 1 }).compute(setOf([[2], [5]]), setOf([[0], [1]]));
    expect(found).toEqual({ density: 0, coverage: 0 });
  });

  it('judges a single generated image', async () => {
    const found = await densityCoverage({ neighbours: 1 }).compute(setOf([[0.5]]), setOf([[0], [1], [7]]));
    expect(found).toEqual({ density: 2, coverage: 2 / 3 });
  });
});

describe('both', () => {
  const metrics = [precisionRecall({ neighbours: 3 }), densityCoverage({ neighbours: 3 })];
  const compute = async (generated: FeatureSet, reference: FeatureSet) =>
    Object.assign({}, ...(await Promise.all(metrics.map((metric) => metric.compute(generated, reference))))) as object;

  it('are 1 for identical sets, in any order', async () => {
    const rows = normalRows(600, 5, 2);
    expect(await compute(setOf(rows), setOf([...rows].reverse()))).toEqual({ precision: 1, recall: 1, density: 1, coverage: 1 });
  });

  it('are 0 for sets far apart', async () => {
    expect(await compute(setOf(normalRows(30, 5, 2, 100)), setOf(normalRows(40, 5, 2)))).toEqual({
      precision: 0,
      recall: 0,
      density: 0,
      coverage: 0,
    });
  });

  it('take sets of copies', async () => {
    const copies = Array.from({ length: 8 }, () => [0.1, 0.2, 0.3]);
    expect(await compute(setOf(copies), setOf(copies))).toEqual({ precision: 1, recall: 1, density: 0, coverage: 0 });
  });

  it('refuse as many neighbours as images, or more', async () => {
    const [three, four] = [setOf([[0], [1], [2]]), setOf([[0], [1], [2], [3]])];
    for (const metric of metrics)
      await expect(metric.compute(four, three)).rejects.toThrow(/expected 4 reference images or more for 3 neighbours, got 3/);
    await expect(metrics[0]!.compute(three, four)).rejects.toThrow(/expected 4 generated images or more for 3 neighbours, got 3/);
    expect(() => precisionRecall({ neighbours: 0 })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
    expect(() => densityCoverage({ neighbours: 1.5 })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  });

  it('refuse features that are not finite', async () => {
    const [whole, broken] = [setOf(normalRows(6, 2, 0)), setOf([...normalRows(5, 2, 0), [0, Infinity]])];
    for (const metric of metrics) await expect(metric.compute(whole, broken)).rejects.toThrow(/reference image 5: expected finite/);
  });
});
