/** On `tensorflow` the stock kernel takes ten passes. */
import * as tf from '@tensorflow/tfjs-core';
import { composed } from './kernel.js';

/** 1 where x > 0, `alpha` elsewhere. */
export const step = composed('tensorflow', 'Step', ({ x }, { alpha = 0 }) => {
  const positive = tf.cast(tf.greater(x!, 0), 'float32');
  return alpha === 0 ? positive : tf.add(tf.mul(positive, 1 - alpha), alpha);
});
