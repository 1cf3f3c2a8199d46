/**
 * Gradient accumulation: a batch in micro-batches, one update.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ValueAndGradients } from './autodiff/index.js';

/**
 * The mean over micro-batches of a loss and its gradients; with equal micro-batches that is the whole batch's.
 *
 * Tensors that `evaluate` makes are freed micro-batch by micro-batch. Throws whatever `evaluate` throws.
 */
export function accumulate<T>(
  microBatches: readonly T[],
  evaluate: (batch: T) => ValueAndGradients,
): { value: number; gradients: tf.Tensor[] } {
  let value = 0;
  let sums: tf.Tensor[] | undefined;
  for (const batch of microBatches) {
    const result = tf.tidy(() => {
      const { value: loss, gradients } = evaluate(batch);
      return { loss, gradients };
    });
    value += result.loss.dataSync()[0]! / microBatches.length;
    result.loss.dispose();
    if (!sums) {
      sums = result.gradients;
      continue;
    }
    const added = sums.map((sum, i) => tf.add(sum, result.gradients[i]!));
    tf.dispose([sums, result.gradients]);
    sums = added;
  }
  if (microBatches.length === 1) return { value, gradients: sums! };
  const gradients = sums!.map((sum) => tf.div(sum, microBatches.length));
  tf.dispose(sums!);
  return { value, gradients };
}
