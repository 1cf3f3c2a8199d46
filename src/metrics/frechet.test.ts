import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhiloxRandom } from '../core/random.js';
import { FeatureStatistics } from './feature-statistics.js';
import { frechetDistance } from './frechet.js';
import { readNpz } from '../core/npz.js';

const golden = (name: string) => fileURLToPath(new URL(`../../test/golden/${name}`, import.meta.url));

function statisticsOf(rows: Float32Array | Float64Array, dimensions: number): FeatureStatistics {
  const statistics = new FeatureStatistics(dimensions);
  statistics.add(rows);
  return statistics;
}

describe('FeatureStatistics', () => {
  it('mean and unbiased covariance by hand', () => {
    const { mean, covariance } = statisticsOf(Float32Array.of(1, 10, 2, 20, 6, 0), 2).result();
    expect([...mean]).toEqual([3, 10]);
    expect(covariance).toBeAllclose([7, -20, -20, 100], { rtol: 1e-14 });
  });

  it('any cut into batches and any merge gives the same', () => {
    const rows = new PhiloxRandom(0).stream('rows').normal(700 * 7);
    const whole = statisticsOf(rows, 7).result();
    fc.assert(
      fc.property(fc.array(fc.nat(700), { maxLength: 4 }), fc.nat(700), (cuts, split) => {
        const parts = [new FeatureStatistics(7), new FeatureStatistics(7)];
        const edges = [0, ...cuts, split, 700].sort((a, b) => a - b);
        for (let i = 1; i < edges.length; i++) parts[edges[i]! <= split ? 0 : 1]!.add(rows.subarray(edges[i - 1]! * 7, edges[i]! * 7));
        const count = parts[1]!.count;
        parts[0]!.merge(parts[1]!);
        expect(parts[0]!.count).toBe(700);
        expect(parts[1]!.count).toBe(count);
        const joint = parts[0]!.result();
        expect(joint.mean).toBeAllclose(whole.mean, { rtol: 0, atol: 1e-14 });
        expect(joint.covariance).toBeAllclose(whole.covariance, { rtol: 0, atol: 1e-13 });
      }),
      { numRuns: 40 },
    );
  });

  it('loses no digits where the mean is large', () => {
    const noise = new PhiloxRandom(1).stream('rows').normal(3000);
    const shifted = Float64Array.from(noise, (v) => v + 2 ** 30);
    const back = Float64Array.from(shifted, (v) => v - 2 ** 30);
    expect(statisticsOf(shifted, 3).result().covariance).toBeAllclose(statisticsOf(back, 3).result().covariance, {
      rtol: 0,
      atol: 1e-6,
    });
  });

  it('refuses parts of rows, values that are not finite, and too few rows', () => {
    const statistics = new FeatureStatistics(2);
    expect(() => statistics.add(new Float32Array(3))).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
    expect(() => statistics.add(Float32Array.of(1, 2, 3, NaN))).toThrow(/row 1: expected finite features, got NaN/);
    expect(statistics.count).toBe(0);
    statistics.add(Float32Array.of(1, 2));
    expect(() => statistics.result()).toThrow(/two rows or more, got 1/);
    expect(() => statistics.merge(new FeatureStatistics(3))).toThrow(/expected 2 dimensions, got 3/);
  });
});

describe('frechetDistance', () => {
  const expected = JSON.parse(readFileSync(golden('frechet.json'), 'utf8')) as Record<string, number>;
  const distance = async (name: string) => {
    const arrays = await readNpz(golden(`frechet-${name}.npz`));
    const [a, b] = ['features_a', 'features_b'].map((key) => {
      const { shape, data } = arrays.get(key)!;
      return statisticsOf(data, shape[1]!).result();
    }) as [ReturnType<FeatureStatistics['result']>, ReturnType<FeatureStatistics['result']>];
    return [frechetDistance(a, b), frechetDistance(b, a)] as const;
  };

  it.each(['full', 'singular'])('agrees with the golden value: %s covariances', async (name) => {
    for (const found of await distance(name)) expect(Math.abs(found / expected[name]! - 1)).toBeLessThan(1e-6);
  });

  it('is 0 for equal sets', async () => {
    for (const found of await distance('identical')) {
      expect(found).toBeGreaterThanOrEqual(0);
      expect(found).toBeLessThan(1e-6);
    }
  });

  it('of diagonal Gaussians is the sum of squared differences of means and deviations', () => {
    const diagonal = (mean: number[], deviations: number[]) => ({
      mean: Float64Array.from(mean),
      covariance: Float64Array.from({ length: mean.length ** 2 }, (_, i) =>
        i % (mean.length + 1) === 0 ? deviations[i / (mean.length + 1)]! ** 2 : 0,
      ),
    });
    expect(frechetDistance(diagonal([1, 2, 3], [1, 2, 0]), diagonal([0, 2, 5], [3, 0.5, 0]))).toBeCloseTo(1 + 4 + 4 + 2.25, 10);
    expect(frechetDistance(diagonal([1], [0]), diagonal([1], [2]))).toBeCloseTo(4, 12);
    expect(frechetDistance(diagonal([1], [0]), diagonal([1], [0]))).toBe(0);
  });

  it.each([NaN, Infinity])('refuses statistics that hold %d', (value) => {
    const of = (mean: number, variance: number) => ({ mean: Float64Array.of(0, mean), covariance: Float64Array.of(1, 0, 0, variance) });
    expect(() => frechetDistance(of(0, 1), of(value, 1))).toThrow(`mean of b: expected finite values, got ${value}`);
    expect(() => frechetDistance(of(0, value), of(0, 1))).toThrow(`covariance of a: expected finite values, got ${value}`);
    expect(() => frechetDistance(of(0, value), of(0, 1))).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
  });

  it('refuses statistics of other dimensions', () => {
    const of = (size: number) => ({ mean: new Float64Array(size), covariance: new Float64Array(size * size) });
    expect(() => frechetDistance(of(2), of(3))).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  });
});
