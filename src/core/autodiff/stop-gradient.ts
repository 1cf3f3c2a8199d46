/**
 * Values that carry no gradient.
 */
import * as tf from '@tensorflow/tfjs-core';

/**
 * Runs `f` without recording it: its results are constants to every gradient that is being taken.
 *
 * The tensors that `f` makes belong to the surrounding `tidy`, as always.
 */
export function stopGradient<T>(f: () => T): T {
  // TensorFlow.js records an operation only outside kernels; counting one kernel more switches the tape off.
  const { state } = tf.engine() as unknown as { state: { kernelDepth: number } };
  state.kernelDepth++;
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}
