/** Concatenation, parts and sums of axes, by the fused operations of `channels.cc`. */
import * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** Less is not faster than TensorFlow's own. */
const LEAST_SIZE = 4096;
const LEAST_CHANNELS = 8;

/** `parts` along `axis`, which is not the first one; undefined where the fused operation cannot be used. */
export function fusedConcat(parts: tf.Tensor[], axis: number): tf.Tensor | undefined {
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  return axis > 0 && size >= LEAST_SIZE && canFuse(parts)
    ? runFused('OnestepConcat', parts, { integers: { axis, N: parts.length } }, 1)[0]
    : undefined;
}

/** What `tf.slice` gives where one axis is cut, not the first; undefined for others and as above. */
export function fusedSlice(x: tf.Tensor, begin: number[], size: number[]): tf.Tensor | undefined {
  const cut = x.shape.flatMap((length, axis) => (size[axis] === length ? [] : [axis]));
  const [axis = 0] = cut;
  if (cut.length !== 1 || axis === 0 || x.size < LEAST_SIZE || !canFuse([x])) return undefined;
  return runFused('OnestepSlice', [x], { integers: { axis, begin: begin[axis]!, size: size[axis]! } }, 1)[0];
}

/** The sum over `axes` that lie together, the last axis not among them; undefined for others and as above. */
export function fusedSum(x: tf.Tensor, axes: readonly number[], keepDims: boolean): tf.Tensor | undefined {
  const first = Math.min(...axes);
  const last = Math.max(...axes);
  const channels = tf.util.sizeFromShape(x.shape.slice(last + 1));
  if (axes.length === 0 || last - first + 1 !== axes.length || last + 1 === x.rank || channels < LEAST_CHANNELS) return undefined;
  if (x.size < LEAST_SIZE || !canFuse([x])) return undefined;
  const [y] = runFused('OnestepSum', [x], { integers: { first, last } }, 1);
  return keepDims ? tf.reshape(y!, tf.backend_util.expandShapeToKeepDim(y!.shape, [...axes])) : y;
}
