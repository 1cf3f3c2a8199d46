import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { bilinearMatrix, resizeBilinear2d } from './resize.js';

describe.each(engines)('bilinear resizing on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('has the weights that are worked out by hand', () => {
    // Centres of 4 pixels in those of 2: -0.25 (clamped), 0.25, 0.75, 1.25 (clamped).
    expect(bilinearMatrix(2, 4)).toBeAllclose([1, 0, 0.75, 0.25, 0.25, 0.75, 0, 1]);
    expect(bilinearMatrix(2, 4, { alignCorners: true })).toBeAllclose([1, 0, 2 / 3, 1 / 3, 1 / 3, 2 / 3, 0, 1]);
    expect(bilinearMatrix(3, 1, { alignCorners: true })).toBeAllclose([1, 0, 0]);
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
      expect(resizeBilinear2d(x, size, { alignCorners }).dataSync()).toBeAllclose(expected.dataSync(), { atol: 1e-5 });
    }
  });

  it('leaves no tensor but its result', () => {
    const x = tf.ones<tf.Rank.R4>([1, 4, 4, 3]);
    const before = tf.memory().numTensors;
    const y = resizeBilinear2d(x, [8, 8]);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(y.dataSync()).toBeAllclose(new Float32Array(192).fill(1));
  });
});
