import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { alongAxes, batchNorm, gradients, leakyRelu, vectorJacobianProduct } from './index.js';
import { random } from './test-support.js';

/** As one would write it. */
function composed(x: tf.Tensor4D, gamma: tf.Tensor, beta: tf.Tensor, slope: number): tf.Tensor {
  const mean = tf.mean(x, [0, 1, 2]);
  const variance = tf.mean(tf.squaredDifference(x, mean), [0, 1, 2]);
  return leakyRelu(tf.add(tf.mul(tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5))), gamma), beta), slope);
}

const agree = (actual: tf.Tensor[], expected: tf.Tensor[], rtol: number) =>
  actual.forEach((tensor, i) => expect(tensor.dataSync()).toBeCloseInL2(expected[i]!.dataSync(), rtol));

describe.each(engines)('batch norm on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('has mean 0 and variance 1, by hand', () => {
    const { y, mean, variance } = batchNorm(tf.tensor2d([1, 10, 3, 10], [2, 2]), tf.tensor1d([1, 1]), tf.tensor1d([0, 5]), {
      epsilon: 0,
      slope: 0.5,
    });
    expect(mean.dataSync()).toBeAllclose([2, 10]);
    expect(variance.dataSync()).toBeAllclose([1, 0]);
    expect(Array.from(y.dataSync()).filter((_, i) => i % 2 === 0)).toEqual([-0.5, 1]);
  });

  it.each([
    [[3, 5, 4, 21], 0.2],
    [[2, 30, 20, 8], 0.2],
    [[2, 3, 3, 5], 1],
    [[1, 2, 2, 3], 0],
  ] as const)('%j with slope %d: values and gradients of both orders are those of the formula', (shape, slope) => {
    const x = tf.add(tf.mul(random([...shape], 1), 2), 3) as tf.Tensor4D;
    const [gamma, beta, weights] = [random([shape[3]], 2), random([shape[3]], 3), random([...shape], 4)];
    const ours = () => batchNorm(x, gamma, beta, { slope }).y;
    const plain = () => composed(x, gamma, beta, slope);
    agree([ours()], [plain()], 1e-5);
    const first = (f: () => tf.Tensor) => vectorJacobianProduct(f, [x, gamma, beta], weights);
    agree(first(ours), first(plain), 1e-4);
    const second = (f: () => tf.Tensor) =>
      gradients(
        () => tf.addN(vectorJacobianProduct(f, [x, gamma], weights).map((dx) => tf.sum(tf.square(dx)))),
        [x, gamma, beta, weights],
        {
          allowUnused: true,
        },
      );
    agree(second(ours), second(plain), 1e-3);
  });

  it('leaves three tensors', () => {
    const [x, gamma] = [random([2, 3, 3, 4], 1), random([4], 2)];
    const before = tf.memory().numTensors;
    const made = batchNorm(x, gamma, gamma);
    expect(tf.memory().numTensors).toBe(before + 3);
    tf.dispose([made.y, made.mean, made.variance]);
  });
});

describe.each(engines)('products along axes on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it.each([
    [
      [2, 5, 4, 3],
      [7, 5],
      [2, 4],
    ],
    [
      [1, 3, 6, 17],
      [1, 3],
      [9, 6],
    ],
    [
      [2, 8, 8, 64],
      [16, 8],
      [16, 8],
    ],
  ] as const)('%j by %j and %j: products, and the transpose as the gradient', (shape, rows, columns) => {
    const x = random([...shape], 1) as tf.Tensor4D;
    const [vertical, horizontal] = [random([...rows], 2), random([...columns], 3)] as [tf.Tensor2D, tf.Tensor2D];
    const apply = (of: tf.Tensor4D) => alongAxes(of, vertical, horizontal);
    const y = apply(x);
    expect(y.shape).toEqual([shape[0], rows[0], columns[0], shape[3]]);
    const [v, h, from, to] = [vertical.arraySync(), horizontal.arraySync(), x.arraySync(), y.arraySync()];
    const at = [shape[0] - 1, rows[0] - 1, columns[0] - 1, shape[3] - 1] as const;
    let expected = 0;
    for (let i = 0; i < rows[1]; i++)
      for (let j = 0; j < columns[1]; j++) expected += v[at[1]]![i]! * h[at[2]]![j]! * from[at[0]]![i]![j]![at[3]]!;
    expect(to[at[0]]![at[1]]![at[2]]![at[3]]).toBeCloseTo(expected, 4);

    const dy = random(y.shape, 4);
    const [dx] = vectorJacobianProduct(() => apply(x), [x], dy);
    const dot = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b)).dataSync()[0]!;
    expect(dot(dx!, x)).toBeCloseTo(dot(dy, y), 2);
    // Linear: the gradient of |gradient|^2 for dy is twice the map of the gradient.
    const [back] = gradients(() => tf.sum(tf.square(vectorJacobianProduct(() => apply(x), [x], dy)[0]!)), [dy]);
    expect(back!.dataSync()).toBeCloseInL2(tf.mul(2, apply(dx as tf.Tensor4D)).dataSync(), 1e-5);
  });
});
