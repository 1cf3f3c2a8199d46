/** Concatenation, slices and sums by the fused operations, against those of TensorFlow and against sums in double. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients, installAutodiff, vectorJacobianProduct } from '../autodiff/index.js';
import { random } from '../autodiff/test-support.js';
import { findBindingPackage } from '../backend/binding-package.js';
import { fusedAddon } from './build.js';
import { fusedConcat, fusedSlice, fusedSum } from './channels.js';
import { fusedAdd } from './residual.js';
import { loadFused, runFused, withoutFused } from './fused.js';

const binding = findBindingPackage();
const addon = binding && fusedAddon(binding);
const reason = tf.findBackend('tensorflow') === null || addon === undefined ? 'no TensorFlow' : loadFused(addon, 2);
if (reason !== undefined) console.log(`fused operations skipped: ${reason}`);

const concat = (parts: tf.Tensor[], axis: number) => runFused('OnestepConcat', parts, { integers: { axis, N: parts.length } }, 1)[0]!;
const slice = (x: tf.Tensor, axis: number, begin: number, size: number) =>
  runFused('OnestepSlice', [x], { integers: { axis, begin, size } }, 1)[0]!;
const sum = (x: tf.Tensor, first: number, last: number) => runFused('OnestepSum', [x], { integers: { first, last } }, 1)[0]!;

/** Sums over [first, last] in double. */
function sumInDouble(x: tf.Tensor, first: number, last: number): number[] {
  const inner = tf.util.sizeFromShape(x.shape.slice(last + 1));
  const reduced = tf.util.sizeFromShape(x.shape.slice(first, last + 1));
  const sums = Array<number>(tf.util.sizeFromShape(x.shape.slice(0, first)) * inner).fill(0);
  x.dataSync().forEach((value, i) => (sums[Math.floor(i / (reduced * inner)) * inner + (i % inner)]! += value));
  return sums;
}

const shapes = fc.array(fc.integer({ min: 1, max: 13 }), { minLength: 2, maxLength: 4 });

describe.skipIf(reason !== undefined)('fused operations along an axis', () => {
  beforeAll(async () => {
    await tf.setBackend('tensorflow');
    installAutodiff();
  });

  it('join and part as TensorFlow does, bit by bit', () => {
    fc.assert(
      fc.property(shapes, fc.nat(3), fc.array(fc.nat(40), { minLength: 1, maxLength: 4 }), (shape, place, lengths) => {
        tf.tidy(() => {
          const axis = place % shape.length;
          const parts = lengths.map((length, i) => random(shape.with(axis, length), i + 1));
          const joined = concat(parts, axis);
          expect(joined.shape).toEqual(
            shape.with(
              axis,
              lengths.reduce((a, b) => a + b),
            ),
          );
          const expected = withoutFused(() => tf.concat(parts, axis));
          expect(joined.dataSync()).toEqual(expected.dataSync());
          let begin = 0;
          for (const part of parts) {
            const length = part.shape[axis]!;
            const cut = slice(joined, axis, begin, length);
            expect(cut.shape).toEqual(part.shape);
            expect(cut.dataSync()).toEqual(part.dataSync());
            begin += length;
          }
        });
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it('sum as one does in double', () => {
    fc.assert(
      fc.property(shapes, fc.nat(3), fc.nat(3), (shape, a, b) => {
        tf.tidy(() => {
          const [first, last] = [Math.min(a, b) % shape.length, Math.max(a, b) % shape.length].sort((x, y) => x - y) as [number, number];
          const x = random(shape, 1);
          const y = sum(x, first, last);
          expect(y.shape).toEqual([...shape.slice(0, first), ...shape.slice(last + 1)]);
          expect(y.dataSync()).toBeAllclose(sumInDouble(x, first, last), { atol: 2e-5, rtol: 1e-6 });
        });
      }),
      { numRuns: 60, seed: 2 },
    );
  });

  it('sum many pixels precisely, with the same bits by any number of threads', () => {
    tf.tidy(() => {
      const x = tf.add(random([16, 31, 33, 40], 3), 100);
      const expected = sumInDouble(x, 0, 2);
      const sums = [1, 3].map((threads) => {
        loadFused(addon!, threads);
        return sum(x, 0, 2).dataSync();
      });
      expect(sums[0]).toEqual(sums[1]);
      sums[0]!.forEach((value, c) => expect(Math.abs(value / expected[c]! - 1)).toBeLessThan(2e-7));
    });
  });

  it('take nothing, NaN and infinity as TensorFlow does', () => {
    tf.tidy(() => {
      expect(concat([tf.zeros([0, 3, 4]), tf.zeros([0, 3, 9])], 2).shape).toEqual([0, 3, 13]);
      expect(slice(tf.zeros([0, 3, 4]), 2, 1, 2).shape).toEqual([0, 3, 2]);
      expect([...sum(tf.zeros([0, 3, 4]), 0, 1).dataSync()]).toEqual([0, 0, 0, 0]);
      expect([
        ...sum(
          tf.tensor2d([
            [NaN, Infinity, -Infinity, Infinity],
            [1, 1, 1, -Infinity],
          ]),
          0,
          0,
        ).dataSync(),
      ]).toEqual([NaN, Infinity, -Infinity, NaN]);
    });
  });

  it('stand in for TensorFlow where they are faster, and differentiate as they did', () => {
    tf.tidy(() => {
      const parts = [random([3, 9, 7, 24], 1), random([3, 9, 7, 17], 2)];
      const weights = random([3, 9, 7, 41], 3);
      const join = () => tf.concat(parts, 3);
      expect(fusedConcat(parts, 3)!.dataSync()).toEqual(join().dataSync());
      expect(fusedSlice(weights, [0, 0, 0, 5], [3, 9, 7, 20])!.dataSync()).toEqual(
        tf.slice(weights, [0, 0, 0, 5], [-1, -1, -1, 20]).dataSync(),
      );
      expect(fusedSum(weights, [1, 2], true)!.shape).toEqual([3, 1, 1, 41]);
      expect(tf.sum(weights, [1, 2], true).shape).toEqual([3, 1, 1, 41]);
      const first = () => vectorJacobianProduct(join, parts, weights);
      const second = () => gradients(() => tf.addN(first().map((dx) => tf.sum(tf.square(tf.sum(dx, [0, 1, 2]))))), [weights]);
      for (const compute of [first, second]) {
        const expected = withoutFused(compute);
        compute().forEach((tensor, i) => expect(tensor.dataSync()).toBeAllclose(expected[i]!.dataSync(), { atol: 1e-5, rtol: 1e-5 }));
      }
    });
  });

  it('add what has one shape, in every size, NaN and infinity among it', () => {
    for (const shape of [[16384], [3, 129, 50], [2, 16, 16, 41]])
      tf.tidy(() => {
        const [a, b] = [random(shape, 1), random(shape, 2)];
        const values = a.dataSync().slice();
        values.set([NaN, Infinity, -Infinity], values.length - 3);
        const x = tf.tensor(values, shape);
        expect(fusedAdd(x, b)!.dataSync()).toEqual(withoutFused(() => tf.add(x, b)).dataSync());
      });
    expect(fusedAdd(tf.ones([16384]), tf.ones([1]))).toBeUndefined();
    expect(fusedAdd(tf.ones([2, 8192], 'int32'), tf.ones([2, 8192], 'int32'))).toBeUndefined();
    expect(fusedAdd(tf.ones([0]), tf.ones([0]))).toBeUndefined();
    expect(() => runFused('OnestepAdd', [tf.ones([2]), tf.ones([3])], {}, 1)).toThrow('expected a and b of one shape, got [2] and [3]');
  });

  it('leave to TensorFlow what they are not made for', () => {
    tf.tidy(() => {
      const x = random([16, 8, 8, 16], 1);
      expect(fusedConcat([x, x], 0)).toBeUndefined();
      expect(fusedConcat([tf.cast(x, 'int32'), tf.cast(x, 'int32')], 3)).toBeUndefined();
      expect(fusedSlice(x, [0, 0, 1, 1], [16, 8, 2, 2])).toBeUndefined();
      expect(fusedSlice(x, [0, 0, 0, 0], [16, 8, 8, 16])).toBeUndefined();
      expect(fusedSum(x, [3], false)).toBeUndefined();
      expect(fusedSum(x, [0, 2], false)).toBeUndefined();
      for (const compute of [
        () => tf.concat([x, x], 0),
        () => tf.slice(x, [0, 0, 1, 1], [16, 8, 2, 2]),
        () => tf.sum(x, [0, 2]),
        () => tf.sum(x),
      ])
        expect(compute().dataSync()).toBeAllclose(withoutFused(compute).dataSync(), { rtol: 1e-5, atol: 1e-3 });
    });
  });

  it('say what is wrong with their inputs', () => {
    tf.tidy(() => {
      const x = random([2, 3, 4]);
      expect(() => concat([x, random([2, 2, 4])], 2)).toThrow("part 1 [2, 2, 4]: expected the first part's shape but for axis 2");
      expect(() => concat([x, random([3, 4])], 1)).toThrow('part 1 [3, 4]');
      expect(() => concat([x], 3)).toThrow('expected an axis 3');
      expect(() => slice(x, 2, 3, 2)).toThrow('x [2, 3, 4]: expected an axis 2 of 5 or more');
      expect(() => sum(x, 2, 3)).toThrow('x [2, 3, 4]: expected axes 2 to 3');
    });
  });
});
