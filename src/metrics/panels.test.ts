import { Matrix } from 'ml-matrix';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { dotRows } from './panels.js';

it('dotRows is A Bᵀ, whatever the sizes', () => {
  const size = fc.integer({ min: 1, max: 11 });
  fc.assert(
    fc.property(size, size, size, (m, n, k) => {
      const [a, b] = [Matrix.rand(m, k), Matrix.rand(n, k)];
      const found = dotRows(
        a.to2DArray().map((row) => Float64Array.from(row)),
        b.to2DArray().map((row) => Float64Array.from(row)),
      );
      expect(found.map((row) => row.length)).toEqual(new Array<number>(m).fill(n));
      expect(found.flatMap((row) => [...row])).toBeAllclose(a.mmul(b.transpose()).to1DArray(), { rtol: 1e-12 });
    }),
  );
});
