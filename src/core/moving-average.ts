/** Moving averages of several tensors, in one pass where fused operations are loaded. */
import * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './native/fused.js';
import { SHAPE_ENGINE } from './shape-engine/shape-engine.js';

/** One average: what it was and what comes in, of one shape. */
export interface AverageUpdate {
  former: tf.Tensor;
  value: tf.Tensor;
  /** Factor of the value. Default 1. */
  scale?: number;
}

/** `keep former + (1 - keep) scale value` for each; the very value where they are equal. The caller disposes what comes back. */
export function movingAverages(updates: readonly AverageUpdate[], keep: number): tf.Tensor[] {
  const [formers, values] = [updates.map(({ former }) => former), updates.map(({ value }) => value)];
  const scales = updates.map(({ scale = 1 }) => scale);
  if (tf.getBackend() === SHAPE_ENGINE) return values.map(({ shape }) => tf.fill(shape, 0));
  if (tf.getBackend() === 'tensorflow' && canFuse([...formers, ...values])) {
    // A tensor and not attributes: TensorFlow keeps a kernel for each set of attributes that it has seen.
    const coefficients = tf.tensor1d([keep, ...scales]);
    const averages = runFused(
      'OnestepMovingAverage',
      [coefficients, ...formers, ...values],
      { integers: { N: updates.length } },
      updates.length,
    );
    coefficients.dispose();
    return averages;
  }
  return updates.map(({ former, value, scale = 1 }) =>
    tf.tidy(() => {
      const scaled = scale === 1 ? value : tf.mul(value, scale);
      return tf.add(scaled, tf.mul(tf.sub(former, scaled), keep));
    }),
  );
}
