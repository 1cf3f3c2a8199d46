import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { withoutFused } from '../native/fused.js';
import { gradients, spectralNorm, stopGradient, vectorJacobianProduct } from './index.js';
import { random } from './test-support.js';

/** As one would write it: u and v unrecorded, then W / (v' W u). */
function composed(weight: tf.Tensor, start: tf.Tensor): tf.Tensor {
  const columns = weight.shape.at(-1)!;
  const matrix = () => tf.reshape(weight, [-1, columns]) as tf.Tensor2D;
  const unit = (x: tf.Tensor) => tf.div(x, tf.maximum(tf.norm(x), 1e-12)) as tf.Tensor2D;
  const { u, v } = stopGradient(() => {
    const rows = unit(tf.matMul(matrix(), tf.reshape(start, [columns, 1])));
    return { v: rows, u: unit(tf.matMul(matrix(), rows, true)) };
  });
  return tf.div(weight, tf.sum(tf.mul(tf.matMul(v, matrix(), true), tf.reshape(u, [1, columns]))));
}

const agree = (actual: tf.Tensor[], expected: tf.Tensor[], rtol: number) =>
  actual.forEach((tensor, i) => {
    expect(tensor.shape).toEqual(expected[i]!.shape);
    expect(tensor.dataSync()).toBeCloseInL2(expected[i]!.dataSync(), rtol);
  });

describe.each(engines)('spectral norm on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('divides by the largest singular value, by hand', () => {
    // W = diag(3, 4): W u = (2.4, 2.4), so v = (1, 1) / sqrt(2), and u becomes (3, 4) / 5.
    const { weight, u, v } = spectralNorm(tf.tensor2d([3, 0, 0, 4], [2, 2]), tf.tensor1d([0.8, 0.6]));
    const [a, b] = [Math.SQRT1_2, Math.SQRT1_2];
    expect(v.dataSync()).toBeAllclose([a, b], { rtol: 1e-6 });
    expect(u.dataSync()).toBeAllclose([0.6, 0.8], { rtol: 1e-6 });
    const sigma = a * 3 * 0.6 + b * 4 * 0.8;
    expect(weight.dataSync()).toBeAllclose([3 / sigma, 0, 0, 4 / sigma], { rtol: 1e-6, atol: 1e-7 });
  });

  it('comes to singular value 1 by iteration', () => {
    const made = random([3, 3, 4, 6], 1);
    let u: tf.Tensor = tf.fill([6], 1 / Math.sqrt(6));
    let weight: tf.Tensor = made;
    for (let i = 0; i < 200; i++) ({ weight, u } = spectralNorm(made, u));
    const rows = tf.reshape(weight, [-1, 6]) as tf.Tensor2D;
    // Powers of W'W tend to the projection on the largest singular vector, whose trace is the power of its value: 1.
    let power: tf.Tensor2D = tf.matMul(rows, rows, true);
    for (let i = 0; i < 8; i++) power = tf.matMul(power, power);
    expect(tf.sum(tf.mul(power, tf.eye(6))).dataSync()[0]).toBeCloseTo(1, 2);
  });

  it.each([
    [[4, 4, 7, 19]],
    [[4, 4, 33, 1]],
    [[1, 1, 1, 5]],
    [[3, 2]],
    // More than one task of the fused operation.
    [[4, 4, 64, 70]],
  ])('%j: values and gradients of both orders are those of the formula', (shape) => {
    const weight = random(shape, 1);
    const start = tf.tidy(() => tf.div(random(shape.slice(-1), 2), tf.norm(random(shape.slice(-1), 2))));
    const cotangent = random(shape, 3);
    const ours = () => spectralNorm(weight, start).weight;
    const plain = () => composed(weight, start);
    agree([ours()], [plain()], 1e-5);
    const first = (f: () => tf.Tensor) => vectorJacobianProduct(f, [weight], cotangent);
    agree(first(ours), first(plain), 1e-4);
    const second = (f: () => tf.Tensor) => gradients(() => tf.sum(tf.square(first(f)[0]!)), [weight, cotangent]);
    agree(second(ours), second(plain), 1e-3);
  });

  it('gives the gradients of the composed operation, whatever the shape', () => {
    const shapes = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(shapes, ([rows, columns]) => {
        tf.tidy(() => {
          const [weight, start] = [tf.add(random([rows, columns], 1), 0.5), random([columns], 2)];
          const made = () => {
            const { weight: y, u, v } = spectralNorm(weight, start);
            return [y, u, v, ...vectorJacobianProduct(() => spectralNorm(weight, start).weight, [weight], random([rows, columns], 3))];
          };
          const size = tf.norm(random([rows, columns], 3)).dataSync()[0]!;
          const expected = withoutFused(made);
          made().forEach((tensor, i) =>
            expect(tensor.dataSync()).toBeAllclose(expected[i]!.dataSync(), { rtol: 1e-4, atol: 1e-5 * (1 + size) }),
          );
        });
      }),
      { numRuns: 20, seed: 1 },
    );
  });

  it('passes NaN on, and keeps zeros from being divided by zero in u and v', () => {
    const [nan, zero] = [tf.tensor2d([1, NaN, 2, 3], [2, 2]), tf.zeros([2, 2])];
    expect([...spectralNorm(nan, tf.tensor1d([1, 0.5])).weight.dataSync()]).toEqual(Array(4).fill(NaN));
    const { weight, u, v } = spectralNorm(zero, tf.tensor1d([1, 0]));
    expect([...u.dataSync(), ...v.dataSync()]).toEqual([0, 0, 0, 0]);
    expect([...weight.dataSync()]).toEqual(Array(4).fill(NaN));
  });

  it('leaves three tensors, and its gradient one', () => {
    const [weight, start] = [random([3, 4], 1), random([4], 2)];
    const before = tf.memory().numTensors;
    const made = spectralNorm(weight, start);
    expect(tf.memory().numTensors).toBe(before + 3);
    tf.dispose(Object.values(made));
    const [gradient] = vectorJacobianProduct(() => spectralNorm(weight, start).weight, [weight]);
    expect(tf.memory().numTensors).toBe(before + 1);
    gradient!.dispose();
  });
});
