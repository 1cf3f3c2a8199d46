/** Another shape of the same values, by the fused operation of `reshape.cc`. */
import * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** `x` as `shape`, of the same number of values, with -1 for one length that follows; undefined where the fused operation cannot be used. */
export const sharedReshape = (x: tf.Tensor, shape: number[]): tf.Tensor | undefined =>
  canFuse([x]) ? runFused('OnestepReshape', [x], { integers: { shape: tf.util.inferFromImplicitShape(shape, x.size) } }, 1)[0] : undefined;
