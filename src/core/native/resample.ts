/** Products of height and width with sparse matrices by the fused operation of `resample.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/**
 * `[B, H, W, C]` to `[B, H', W', C]` by `vertical` `[H', H]` and `horizontal` `[W', W]`, or with `transposed` by the transposes of
 * `[H, H']` and `[W, W']`. Undefined where fused operations cannot be used.
 */
export const fusedResample = (x: tf.Tensor, vertical: tf.Tensor, horizontal: tf.Tensor, transposed: boolean): tf.Tensor | undefined =>
  canFuse([x, vertical, horizontal]) ? runFused('OnestepResample', [x, vertical, horizontal], { flags: { transposed } }, 1)[0] : undefined;
