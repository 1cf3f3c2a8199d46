import fc from 'fast-check';
import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { describe, expect, it } from 'vitest';
import { PhiloxRandom } from '../../core/random.js';
import { featureRows } from '../feature-rows.js';
import { floatMemory, packRow } from './float-memory.js';
import { forEachDistanceBlock, forEachProductBlock, rowViews } from './row-products.js';
import { semidefiniteFactor } from './semidefinite-factor.js';
import { productSingularValues } from './singular-values.js';

function normal(rows: number, columns: number, seed = 0): Matrix {
  const values = new PhiloxRandom(seed).stream('x').normal(rows * columns);
  return Matrix.from1DArray(rows, columns, Float64Array.from(values));
}
const flat = (matrix: Matrix) => Float64Array.from(matrix.to1DArray());
const rowsOf = (matrix: Matrix) => rowViews(featureRows(Float32Array.from(matrix.to1DArray()), matrix.columns));

describe('kernels', () => {
  it('multiply panels by hand, add to what is there and leave the rest alone', () => {
    const {
      kernels,
      vectors: [a, b, c],
    } = floatMemory(8, 16, 4 * 10);
    for (let r = 0; r < 4; r++) packRow([r + 1, 10 * (r + 1)], a.values, r);
    for (let r = 0; r < 8; r++) packRow([1, r], b.values, r);
    c.values.fill(0.5);
    kernels.multiplyPanels(a.address, b.address, c.address, 1, 2, 2, 64, 64, 80);
    const expected = Array.from({ length: 40 }, (_, at) => {
      const [i, j] = [Math.floor(at / 10), at % 10];
      return 0.5 + (j < 8 ? (i + 1) * (1 + 10 * j) : 0);
    });
    expect([...c.values]).toEqual(expected);
  });

  it('multiply a matrix and its transpose with a vector', () => {
    const {
      kernels,
      vectors: [a, x, y, z],
    } = floatMemory(8 * 24, 24, 8, 24);
    const matrix = normal(8, 24);
    const vector = normal(24, 1, 1);
    a.values.set(matrix.to1DArray());
    x.values.set(vector.to1DArray());
    kernels.multiplyVector(a.address, x.address, y.address, 8, 3, 24 * 8);
    expect(y.values).toBeAllclose(matrix.mmul(vector).to1DArray(), { rtol: 1e-13, atol: 1e-13 });
    kernels.multiplyVectorTransposed(a.address, y.address, z.address, 2, 12, 24 * 8);
    expect(z.values).toBeAllclose(matrix.transpose().mmul(matrix).mmul(vector).to1DArray(), { rtol: 1e-12, atol: 1e-12 });
  });
});

describe('forEachProductBlock and forEachDistanceBlock', () => {
  it.each([
    [1, 1, 1],
    [513, 259, 3],
    [30, 1030, 129],
  ])('%i rows with %i rows of %i values', async (n, m, width) => {
    const [a, b] = [normal(n, width), normal(m, width, 1)];
    const expected = a.mmul(b.transpose());
    const seen = new Matrix(n, m);
    await forEachProductBlock(rowsOf(a), rowsOf(b), ({ first, count, firstB, countB, products, stride }) => {
      for (let i = 0; i < count; i++)
        for (let j = 0; j < countB; j++) seen.set(first + i, firstB + j, seen.get(first + i, firstB + j) + products[i * stride + j]!);
    });
    expect(seen.to1DArray()).toBeAllclose(expected.to1DArray(), { rtol: 1e-12, atol: 1e-12 });
  });

  it('of one set visit every pair at least once, and give the same bits on both sides of the diagonal', async () => {
    const count = 600;
    const rows = rowsOf(normal(count, 5));
    const found = new Float64Array(count * count).fill(-1);
    let differing = 0;
    await forEachDistanceBlock(rows, rows, (block) => {
      for (let i = 0; i < block.count; i++)
        for (let j = 0; j < block.countB; j++) {
          const [low, high] = [Math.min(block.first + i, block.firstB + j), Math.max(block.first + i, block.firstB + j)];
          const [at, distance] = [low * count + high, block.products[i * block.stride + j]!];
          if (found[at]! >= 0 && found[at] !== distance) differing++;
          found[at] = distance;
        }
    });
    expect(differing).toBe(0);
    expect(found.filter((distance) => distance >= 0)).toHaveLength((count * (count + 1)) / 2);
    expect(found[5 * count + 5]).toBe(0);
  });

  it('of no rows visit nothing', async () => {
    await forEachProductBlock([], [], () => expect.unreachable());
    await forEachProductBlock(rowsOf(normal(2, 2)), [], () => expect.unreachable());
  });
});

describe('semidefiniteFactor', () => {
  const rebuild = ({ rank, rows }: ReturnType<typeof semidefiniteFactor>, n: number) => {
    const factor = Matrix.from1DArray(rank, n, rows);
    return factor.transpose().mmul(factor).to1DArray();
  };

  it.each([
    [12, 20, 12],
    [12, 5, 5],
    [1, 1, 1],
    [90, 200, 90],
    [80, 70, 70],
  ])('rebuilds a matrix of size %i from %i vectors with rank %i', (n, vectors, rank) => {
    const x = normal(n, vectors);
    const matrix = flat(x.mmul(x.transpose()));
    const copy = matrix.slice();
    const factor = semidefiniteFactor(matrix, n);
    expect(factor.rank).toBe(rank);
    expect(rebuild(factor, n)).toBeAllclose(matrix, { rtol: 1e-11, atol: 1e-11 });
    expect(matrix).toEqual(copy);
  });

  it('of zero is empty', () => {
    expect(semidefiniteFactor(new Float64Array(9), 3)).toEqual({ rank: 0, rows: new Float64Array(0) });
  });

  it('rebuilds a singular matrix that was rounded to float32 to within that rounding', () => {
    const x = normal(100, 30);
    const matrix = Float64Array.from(x.mmul(x.transpose()).to1DArray(), Math.fround);
    expect(rebuild(semidefiniteFactor(matrix, 100), 100)).toBeAllclose(matrix, { rtol: 0, atol: 1e-3 });
  });
});

describe('productSingularValues', () => {
  const sorted = (values: ArrayLike<number>) => Array.from(values).sort((x, y) => y - x);
  const singularValues = (a: Matrix, b: Matrix) => productSingularValues(flat(a), a.rows, flat(b), b.rows, a.columns);

  it('agrees with a general decomposition, for any two shapes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 45 }),
        fc.integer({ min: 1, max: 45 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(1000),
        (n, m, length, seed) => {
          const [a, b] = [normal(n, length, seed), normal(m, length, seed + 1)];
          const expected = sorted(new SingularValueDecomposition(a.mmul(b.transpose()), { autoTranspose: true }).diagonal).slice(
            0,
            Math.min(n, m),
          );
          expect(sorted(singularValues(a, b))).toBeAllclose(expected, { rtol: 1e-11, atol: 1e-12 * expected[0]! });
        },
      ),
      { numRuns: 40 },
    );
  });

  it('agrees with a general decomposition over several blocks', () => {
    const [a, b] = [normal(140, 150), normal(101, 150, 1)];
    const expected = sorted(new SingularValueDecomposition(a.mmul(b.transpose())).diagonal);
    expect(sorted(singularValues(a, b))).toBeAllclose(expected, { rtol: 1e-11, atol: 1e-11 });
  });

  it('by hand: diagonal, of rank one, zero, empty', () => {
    const identity = Matrix.eye(4);
    expect(sorted(singularValues(Matrix.diag([3, -2, 0, 1]), identity))).toBeAllclose([3, 2, 1, 0], { rtol: 1e-15, atol: 1e-15 });
    expect(sorted(singularValues(Matrix.ones(40, 4), identity))).toBeAllclose([Math.sqrt(160), 0, 0, 0], { rtol: 1e-13, atol: 1e-13 });
    expect([...singularValues(Matrix.zeros(3, 4), identity)]).toEqual([0, 0, 0]);
    expect(productSingularValues(new Float64Array(0), 0, flat(identity), 4, 4)).toHaveLength(0);
  });

  it('keeps small values to the rounding of the largest, where a product of covariances would lose them', () => {
    const values = Array.from({ length: 60 }, (_, i) => 10 ** (-i / 5));
    const turn = (seed: number) => new SingularValueDecomposition(normal(60, 60, seed)).leftSingularVectors;
    const a = Matrix.diag(values).mmul(turn(1).transpose());
    expect(sorted(singularValues(a, turn(2)))).toBeAllclose(values, { rtol: 0, atol: 1e-14 });
  });
});
