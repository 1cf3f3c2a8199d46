import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { bilinearMatrix, resizeBilinear } from './resample.js';

describe.each(engines)('bilinear resizing on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('has the weights that are worked out by hand', () => {
    // Centres of 4 pixels in those of 2: -0.25 (clamped), 0.25, 0.75, 1.25 (clamped).
    expect(bilinearMatrix(2, 4).matrix).toBeAllclose([1, 0, 0.75, 0.25, 0.25, 0.75, 0, 1]);
    expect(bilinearMatrix(2, 4, { alignCorners: true }).matrix).toBeAllclose([1, 0, 2 / 3, 1 / 3, 1 / 3, 2 / 3, 0, 1]);
    expect(bilinearMatrix(3, 1, { alignCorners: true }).matrix).toBeAllclose([1, 0, 0]);
    // Corners at 0, 0.5, 1, 1.5 (held at the border).
    expect(bilinearMatrix(2, 4, { halfPixelCenters: false }).matrix).toBeAllclose([1, 0, 0.5, 0.5, 0, 1, 0, 1]);
  });

  it.each([
    [3, [9, 4]],
    [6, [9, 4]],
    [3, [5, 7]],
    [1, [2, 13]],
  ] as const)('agrees with the engine, %d channels to %j', (channels, size) => {
    const x = tf.randomNormal<tf.Rank.R4>([2, 5, 7, channels], 0, 1, 'float32', 3);
    for (const alignCorners of [true, false]) {
      const expected = tf.image.resizeBilinear(x, [...size], alignCorners, !alignCorners);
      expect(resizeBilinear(x, size, { alignCorners }).dataSync()).toBeAllclose(expected.dataSync(), { atol: 1e-5 });
    }
    const corners = tf.image.resizeBilinear(x, [...size], false, false);
    expect(resizeBilinear(x, size, { halfPixelCenters: false }).dataSync()).toBeAllclose(corners.dataSync(), { atol: 1e-5 });
  });

  it('leaves no tensor but its result', () => {
    const x = tf.ones<tf.Rank.R4>([1, 4, 4, 3]);
    const before = tf.memory().numTensors;
    const y = resizeBilinear(x, [8, 8]);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(y.dataSync()).toBeAllclose(new Float32Array(192).fill(1));
  });

  const row = (values: number[]) => tf.tensor4d(values, [1, 1, values.length, 1]);

  it('with aligned corners meets the first and the last value, by hand', () => {
    const doubled = resizeBilinear(row([0, 3, 9]), [1, 6], { alignCorners: true });
    // Positions 0, 0.4, 0.8, 1.2, 1.6, 2.
    expect(doubled.dataSync()).toBeAllclose([0, 1.2, 2.4, 4.2, 6.6, 9], { atol: 1e-6 });
  });

  it('with scaled centres holds the border, by hand', () => {
    expect(resizeBilinear(row([0, 4]), [1, 4], { alignCorners: false }).dataSync()).toBeAllclose([0, 1, 3, 4]);
    expect(resizeBilinear(row([0, 1, 2, 3]), [1, 2], { alignCorners: false }).dataSync()).toBeAllclose([0.5, 2.5]);
  });

  it('of one value is that value, to one value the first', () => {
    expect(resizeBilinear(row([7]), [2, 2], { alignCorners: true }).dataSync()).toBeAllclose([7, 7, 7, 7]);
    expect(resizeBilinear(row([7, 8]), [1, 1], { alignCorners: true }).dataSync()).toBeAllclose([7]);
  });
});
