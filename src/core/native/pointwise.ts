/** Convolutions of 1x1 and their gradients, by the fused operations of `pointwise.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';
import type { ConvolutionAttributes } from './winograd.js';

type Shape = readonly number[];

/** Convolution of `x` `[B, H, W, C]` by `filter` `[1, 1, C, K]`; undefined for other filters, strides and engines. */
export const pointwise = (x: tf.Tensor, filter: tf.Tensor, attributes: ConvolutionAttributes): tf.Tensor | undefined =>
  isPointwise(x.shape, filter.shape, attributes) && canFuse([x, filter]) ? run('OnestepPointwise', [x, filter], false) : undefined;

/** Its gradient for the images `[…inputShape]`; undefined as above. */
export const pointwiseBackpropInput = (
  dy: tf.Tensor,
  filter: tf.Tensor,
  attributes: ConvolutionAttributes & { inputShape: Shape },
): tf.Tensor | undefined =>
  isPointwise(attributes.inputShape, filter.shape, attributes) && canFuse([dy, filter])
    ? run('OnestepPointwise', [dy, filter], true)
    : undefined;

/** Its gradient for the filter `[…filterShape]`; undefined as above. */
export const pointwiseBackpropFilter = (
  x: tf.Tensor,
  dy: tf.Tensor,
  attributes: ConvolutionAttributes & { filterShape: Shape },
): tf.Tensor | undefined =>
  isPointwise(x.shape, attributes.filterShape, attributes) && attributes.filterShape[2]! >= ROWS && canFuse([x, dy])
    ? run('OnestepPointwiseFilter', [x, dy])
    : undefined;

const run = (name: string, inputs: tf.Tensor[], transposed?: boolean): tf.Tensor =>
  runFused(name, inputs, transposed === undefined ? {} : { flags: { transposed } }, 1)[0]!;

function isPointwise(
  [batch, height, width]: Shape,
  [rows, columns]: Shape,
  { strides, pad, dataFormat = 'NHWC' }: ConvolutionAttributes,
): boolean {
  if (rows !== 1 || columns !== 1 || [strides].flat().some((length) => length !== 1)) return false;
  return typeof pad === 'string' && dataFormat === 'NHWC' && batch! * height! * width! >= ROWS;
}

/** Of the micro-kernel. */
const ROWS = 6;
