/** Sampling under affine maps: values by hand, the transpose, both orders of the gradient, on every engine of this machine. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { ArgumentError } from '../errors.js';
import { affineSample, gradients, vectorJacobianProduct } from './index.js';
import { dot, engines, random } from './test-support.js';

const IDENTITY = [1, 0, 0, 0, 1, 0];
/** Turned, scaled and moved, so that no place is whole and some lie outside. */
const ODD = [
  [0.8, -0.37, 1.1, 0.45, 1.2, -0.63],
  [-1.1, 0.2, 4.3, 0.15, -0.7, 3.9],
];

describe.each(engines)('affineSample on $engine', ({ engine, skip }) => {
  beforeAll(async () => void (skip === undefined && (await tf.setBackend(engine))));
  const test = it.skipIf(skip !== undefined);

  test('is the identity, a move and a flip of whole pixels bit for bit, and 0 outside', () => {
    const x = random([1, 2, 3, 2], 3) as tf.Tensor4D;
    const [a, b, c, d, e, f] = (tf.reshape(x, [6, 2]).arraySync() as number[][]).map((pixel) => pixel as [number, number]);
    expect(affineSample(x, [IDENTITY], 2, 3).dataSync()).toEqual(x.dataSync());
    expect(affineSample(x, [[1, 0, 1, 0, 1, 0]], 2, 3).arraySync()).toEqual([
      [
        [b, c, [0, 0]],
        [e, f, [0, 0]],
      ],
    ]);
    expect(affineSample(x, [[-1, 0, 2, 0, 1, 0]], 1, 3).arraySync()).toEqual([[[c, b, a]]]);
    expect(affineSample(x, [[0, 1, 0, 1, 0, 0]], 3, 2).arraySync()).toEqual([
      [
        [a, d],
        [b, e],
        [c, f],
      ],
    ]);
  });

  test('weighs the four neighbours', () => {
    const x = tf.tensor4d([1, 2, 4, 8], [1, 2, 2, 1]);
    const value = (column: number, row: number) => affineSample(x, [[0, 0, column, 0, 0, row]], 1, 1).dataSync()[0];
    expect(value(0.25, 0.5)).toBeCloseTo(0.5 * (0.75 * 1 + 0.25 * 2) + 0.5 * (0.75 * 4 + 0.25 * 8), 6);
    expect(value(-0.5, 0)).toBeCloseTo(0.5, 6);
    expect(value(1.75, 1)).toBeCloseTo(2, 6);
    expect(value(-1, 0)).toBe(0);
    expect(value(1e9, -1e9)).toBe(0);
  });

  test('each image has its own map', () => {
    const x = random([2, 3, 3, 1], 5) as tf.Tensor4D;
    const both = affineSample(x, ODD, 4, 5);
    ODD.forEach((map, image) => {
      const alone = affineSample(tf.slice(x, [image, 0, 0, 0], [1, 3, 3, 1]), [map], 4, 5);
      expect(alone.dataSync()).toEqual(tf.slice(both, [image, 0, 0, 0], [1, 4, 5, 1]).dataSync());
    });
  });

  test('its gradient is the transpose: <A x, y> = <x, A* y>; the one of the gradient is A again', () => {
    const [x, y] = [random([2, 4, 5, 3], 1), random([2, 6, 4, 3], 2)] as [tf.Tensor4D, tf.Tensor4D];
    const forward = affineSample(x, ODD, 6, 4);
    const [back] = vectorJacobianProduct(() => affineSample(x, ODD, 6, 4), [x], y);
    expect(dot(forward.dataSync(), y.dataSync())).toBeCloseTo(dot(x.dataSync(), back!.dataSync()), 4);
    const pulled = () => vectorJacobianProduct(() => affineSample(x, ODD, 6, 4), [x], y)[0]!;
    const [again] = vectorJacobianProduct(pulled, [y], x);
    expect(again!.dataSync()).toBeAllclose(forward.dataSync(), { rtol: 1e-5, atol: 1e-6 });
  });

  test('a penalty on the gradient agrees with finite differences', () => {
    const x = random([2, 4, 4, 2], 7) as tf.Tensor4D;
    const direction = random([2, 4, 4, 2], 8);
    const penalty = (at: tf.Tensor4D) => {
      const [gradient] = gradients(() => tf.sum(tf.pow(affineSample(at, ODD, 5, 5), 3)), [at]);
      return tf.sum(tf.square(gradient!));
    };
    const [second] = gradients(() => penalty(x), [x]);
    const h = 1e-2;
    const [plus, minus] = [h, -h].map((step) => penalty(tf.add(x, tf.mul(direction, step))).dataSync()[0]!);
    expect(dot(second!.dataSync(), direction.dataSync()) / ((plus! - minus!) / (2 * h))).toBeCloseTo(1, 2);
  });

  test('leaves no tensor behind', () => {
    const x = random([2, 4, 4, 2], 7) as tf.Tensor4D;
    const before = tf.memory().numTensors;
    gradients(() => tf.sum(tf.square(affineSample(x, ODD, 5, 5))), [x]).forEach((gradient) => gradient.dispose());
    affineSample(x, ODD, 5, 5).dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('says what maps it wants', () => {
    const x = random([2, 4, 4, 2], 7) as tf.Tensor4D;
    expect(() => affineSample(x, [IDENTITY], 4, 4)).toThrow(ArgumentError);
    expect(() => affineSample(x, [IDENTITY, [1, 0]], 4, 4)).toThrow('expected 2 maps of six numbers');
  });
});
