/** Look-ups by index: the gradient is a product with the one-hot matrix of the indices. */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../../errors.js';
import { zeroLike } from '../tape.js';
import { rule, type Rule } from './rule.js';

/** Adds row `i` of `rows` `[n, d]` to row `indices[i]` of zeros `[depth, d]`. */
const scatterRows = (rows: tf.Tensor, indices: tf.Tensor, depth: number): tf.Tensor =>
  tf.matMul(tf.cast(tf.oneHot(tf.reshape(tf.cast(indices, 'int32'), [-1]), depth), 'float32'), rows, true, false);

const product = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

export const indexing: Rule[] = [
  rule(
    'GatherV2',
    (dy, [indices], { axis, batchDims = 0 }, inputs) => ({
      x: () => {
        if (batchDims !== 0)
          throw new ArgumentError('E_VALUE', `gather: no gradient with batchDims ${batchDims}`, { help: 'reshape so that batchDims is 0' });
        const { shape, rank } = inputs.x!;
        const at = tf.util.parseAxisParam(axis, shape)[0]!;
        const [outer, n, inner] = [product(shape.slice(0, at)), shape[at]!, product(shape.slice(at + 1))];
        const rows = tf.reshape(tf.transpose(tf.reshape(dy, [outer, indices!.size, inner]), [1, 0, 2]), [indices!.size, outer * inner]);
        const sums = tf.transpose(tf.reshape(scatterRows(rows, indices!, n), [n, outer, inner]), [1, 0, 2]);
        return rank === 0 ? sums : tf.reshape(sums, shape);
      },
      indices: zeroLike(inputs.indices!),
    }),
    { inputsToSave: ['indices'] },
  ),
  rule(
    'GatherNd',
    (dy, [indices], _attrs, inputs) => ({
      params: () => {
        const { shape } = inputs.params!;
        const depth = indices!.shape[indices!.rank - 1]!;
        const [rows, inner] = [product(shape.slice(0, depth)), product(shape.slice(depth))];
        const strides = shape.slice(0, depth).map((_, i) => product(shape.slice(i + 1, depth)));
        const flat = tf.sum(tf.mul(tf.reshape(tf.cast(indices!, 'int32'), [-1, depth]), tf.tensor1d(strides, 'int32')), 1);
        return tf.reshape(scatterRows(tf.reshape(dy, [-1, inner]), flat, rows), shape);
      },
      indices: zeroLike(inputs.indices!),
    }),
    { inputsToSave: ['indices'] },
  ),
];
