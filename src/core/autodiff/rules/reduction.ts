/** Sums, means, extremes. */
import * as tf from '@tensorflow/tfjs-core';
import { rule, mask, type Rule } from './rule.js';

/** `shape` with ones at `axes` (all of them where null). */
function keepDims(shape: number[], axes: number | number[] | null | undefined): number[] {
  const reduced = new Set(tf.util.parseAxisParam(axes ?? shape.map((_, i) => i), shape));
  return shape.map((n, i) => (reduced.has(i) ? 1 : n));
}

/** Copies `dy` along the reduced axes: a product with ones that stretch along these only (`tile` is slow on wasm). */
function spread(dy: tf.Tensor, shape: number[], axes: number | number[]): tf.Tensor {
  const expanded = tf.reshape(dy, keepDims(shape, axes));
  if (tf.util.arraysEqual(expanded.shape, shape)) return expanded;
  const stretch = shape.map((n, i) => (expanded.shape[i] === n ? 1 : n));
  return tf.mul(expanded, tf.fill(stretch, 1));
}

/** Every element that attains the extreme gets the gradient. */
const extreme = (kernelName: string, axesOf: (attrs: any) => number | number[]): Rule =>
  rule(
    kernelName,
    (dy, [x, y], attrs) => ({
      x: () => {
        const shape = keepDims(x!.shape, axesOf(attrs));
        return tf.mul(tf.reshape(dy, shape), mask(tf.equal(x!, tf.reshape(y!, shape))));
      },
    }),
    { inputsToSave: ['x'], outputsToSave: [true] },
  );

export const reduction: Rule[] = [
  rule('Sum', (dy, _saved, { axis }, { x }) => ({ x: () => spread(dy, x!.shape, axis) })),
  rule('Mean', (dy, _saved, { axis }, { x }) => ({ x: () => spread(tf.div(dy, x!.size / dy.size), x!.shape, axis) })),
  extreme('Max', (attrs) => attrs.reductionIndices ?? attrs.axis),
  extreme('Min', (attrs) => attrs.axis),
  rule('Cumsum', (dy, _saved, { axis, exclusive, reverse }) => ({ x: () => tf.cumsum(dy, axis, exclusive, !reverse) })),
];
