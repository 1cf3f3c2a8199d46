/** The fused product along two axes against the composed one. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { alongAxes, gradients, installAutodiff, vectorJacobianProduct } from '../autodiff/index.js';
import { random, values } from '../autodiff/test-support.js';
import { findBindingPackage } from '../backend/binding-package.js';
import { fusedAddon } from './build.js';
import { loadFused, withoutFused } from './fused.js';

const binding = findBindingPackage();
const addon = binding && fusedAddon(binding);
const reason = tf.findBackend('tensorflow') === null || addon === undefined ? 'no TensorFlow' : loadFused(addon, 2);
if (reason !== undefined) console.log(`fused operations skipped: ${reason}`);

/** A matrix whose row i has `terms[i]` values that are not zero, or as many as fit. */
function sparse(terms: readonly number[], columns: number, seed: number): tf.Tensor2D {
  const weights = values(terms.length * columns, seed);
  return tf.tensor2d(
    terms.flatMap((count, row) =>
      Array.from({ length: columns }, (_, i) => ((i * 5 + row) % columns < count ? weights[row * columns + i]! : 0)),
    ),
    [terms.length, columns],
  );
}

describe.skipIf(reason !== undefined)('fused products along height and width', () => {
  beforeAll(async () => {
    await tf.setBackend('tensorflow');
    installAutodiff();
  });

  it('are the composed ones with rows of none to many terms, with gradients of both orders', () => {
    const terms = fc.array(fc.nat(7), { minLength: 1, maxLength: 9 });
    const shape = fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 37 }));
    fc.assert(
      fc.property(shape, terms, terms, (size, down, across) => {
        tf.tidy(() => {
          const x = random(size, 1) as tf.Tensor4D;
          const apply = () => alongAxes(x, sparse(down, size[1], 2), sparse(across, size[2], 3));
          const dy = random(apply().shape, 4);
          const first = () => vectorJacobianProduct(apply, [x], dy);
          const second = () => gradients(() => tf.sum(tf.square(first()[0]!)), [dy]);
          for (const compute of [() => [apply()], first, second]) {
            const [actual, expected] = [compute()[0]!, withoutFused(compute)[0]!];
            expect(actual.shape).toEqual(expected.shape);
            expect(actual.dataSync()).toBeAllclose(expected.dataSync(), { atol: 1e-5, rtol: 1e-5 });
          }
        });
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  it('keep NaN and infinity to the pixels that see them', () => {
    tf.tidy(() => {
      const x = tf.tensor4d([NaN, 1, 2, Infinity], [1, 1, 4, 1]);
      const nearest = tf.tensor2d([1, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1], [4, 4]);
      expect([...alongAxes(x, tf.ones([1, 1]), nearest).dataSync()]).toEqual([NaN, NaN, 3, Infinity]);
    });
  });
});
