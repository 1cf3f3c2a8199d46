import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, it } from 'vitest';
import { openBackend } from '../../backend/index.js';

beforeAll(async () => {
  await openBackend({ engine: 'wasm' });
});

it('reads the same data in another shape as what it is, on wasm', () => {
  const x = tf.tensor(Array.from({ length: 512 }, (_, i) => Math.sin(i)));
  const a = tf.tensor3d(
    Array.from({ length: 32 }, (_, i) => Math.cos(i)),
    [1, 4, 8],
  );
  const expected = (shape: [number, number, number]) => {
    const [values, left] = [x.dataSync(), a.dataSync()];
    const [, inner, columns] = shape;
    return Array.from({ length: 4 * columns }, (_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      return Array.from({ length: inner }, (_, k) => left[row * 8 + k]! * values[k * columns + column]!).reduce((p, q) => p + q, 0);
    });
  };
  // Packed as [64, 8] first.
  tf.matMul(tf.ones([1, 1, 64]), tf.reshape(x, [1, 64, 8])).dataSync();
  expect(tf.matMul(a, tf.reshape(x, [1, 8, 64])).dataSync()).toBeAllclose(expected([1, 8, 64]), { atol: 1e-4 });
});
