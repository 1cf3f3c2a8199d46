import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { permutation } from './permutation.js';

const places = (size: number, ...key: number[]) => Array.from({ length: size }, (_, k) => k).map(permutation(size, ...key));

describe('permutation', () => {
  it('is a bijection for every size and key', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.maxSafeNat(), fc.nat(100), (size, seed, epoch) => {
        const seen = new Uint8Array(size);
        for (const place of places(size, seed, epoch)) seen[place] = 1;
        return seen.every((once) => once === 1);
      }),
      { numRuns: 200 },
    );
    for (const size of [1, 2, 3, 4, 5, 9, 10])
      expect(places(size, 7).sort((x, y) => x - y)).toEqual(Array.from({ length: size }, (_, k) => k));
  });

  it('differs from epoch to epoch and from seed to seed', () => {
    expect(places(100, 1, 0)).not.toEqual(places(100, 1, 1));
    expect(places(100, 1, 0)).not.toEqual(places(100, 2, 0));
    expect(places(100, 1, 0)).not.toEqual(places(100, 0, 1));
    expect(places(100, 5, 0)).not.toEqual(places(100, 2 ** 32 + 5, 0));
  });

  it.each([6, 10, 97])('sends each of %i indices to each place about equally often, independent of its neighbour', (size) => {
    const epochs = 200 * size;
    const counts = new Float64Array(size * size);
    const gaps = new Float64Array(size);
    for (let epoch = 0; epoch < epochs; epoch++) {
      const place = permutation(size, 3, epoch);
      for (let k = 0; k < size; k++) counts[k * size + place(k)]!++;
      gaps[(place(1) - place(0) + size) % size]!++;
    }
    // Chi-square over mean: 1 on average, spread sqrt(2 / degrees of freedom).
    const spread = (values: Float64Array, mean: number) => values.reduce((sum, n) => sum + (n - mean) ** 2 / mean, 0) / values.length;
    expect(spread(counts, epochs / size)).toBeLessThan(1.6);
    expect(gaps[0]).toBe(0);
    expect(spread(gaps.subarray(1), epochs / (size - 1))).toBeLessThan(2.5);
  });

  it('costs nothing for a set of four thousand million', () => {
    const place = permutation(2 ** 32, 1, 2);
    const seen = new Set(Array.from({ length: 10_000 }, (_, k) => place(k)));
    expect(seen.size).toBe(10_000);
    expect(Math.max(...seen)).toBeGreaterThan(2 ** 32 * 0.99);
    expect(Math.max(...seen)).toBeLessThan(2 ** 32);
  });
});
