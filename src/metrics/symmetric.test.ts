import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhiloxRandom } from '../core/random.js';
import { semidefiniteFactor, symmetricEigenvalues } from './symmetric.js';

/** X Xᵀ of `n` by `rank` normal values. */
function gram(n: number, rank: number, seed = 0): Float64Array {
  const x = new Matrix(n, rank);
  new PhiloxRandom(seed)
    .stream('x')
    .normal(n * rank)
    .forEach((value, i) => x.set(Math.floor(i / rank), i % rank, value));
  return Float64Array.from(x.mmul(x.transpose()).to1DArray());
}
const sorted = (values: ArrayLike<number>) => Array.from(values).sort((a, b) => a - b);

describe('symmetricEigenvalues', () => {
  it.each([
    ['2 by 2', [2, 0, 1, 2], [1, 3]],
    ['diagonal', [3, 0, 0, 0, -1, 0, 0, 0, 0], [-1, 0, 3]],
    ['zero', [0, 0, 0, 0], [0, 0]],
    ['1 by 1', [5], [5]],
    ['all ones', new Array<number>(16).fill(1), [0, 0, 0, 4]],
  ])('%s by hand', (_, matrix, expected) => {
    expect(sorted(symmetricEigenvalues(Float64Array.from(matrix), expected.length))).toBeAllclose(expected, { rtol: 1e-14, atol: 1e-14 });
  });

  it('agrees with a general decomposition, and leaves its argument alone', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 25 }), fc.nat(30), fc.nat(1000), (n, rank, seed) => {
        const matrix = gram(n, rank + 1, seed);
        const copy = matrix.slice();
        const expected = new EigenvalueDecomposition(Matrix.from1DArray(n, n, matrix), { assumeSymmetric: true }).realEigenvalues;
        expect(sorted(symmetricEigenvalues(matrix, n))).toBeAllclose(sorted(expected), { rtol: 1e-12, atol: 1e-11 });
        expect(matrix).toEqual(copy);
      }),
    );
  });
});

describe('semidefiniteFactor', () => {
  it.each([
    [12, 20, 12],
    [12, 5, 5],
    [1, 1, 1],
  ])('rebuilds a matrix of size %i from %i vectors with rank %i', (n, vectors, rank) => {
    const matrix = gram(n, vectors);
    const rows = semidefiniteFactor(matrix, n);
    expect(rows).toHaveLength(rank);
    const rebuilt = Array.from({ length: n * n }, (_, at) => rows.reduce((sum, row) => sum + row[Math.floor(at / n)]! * row[at % n]!, 0));
    expect(rebuilt).toBeAllclose(matrix, { rtol: 1e-12, atol: 1e-12 });
  });

  it('of zero is empty', () => {
    expect(semidefiniteFactor(new Float64Array(9), 3)).toEqual([]);
  });
});
