/**
 * Convolutions that are products of matrices, and their gradients, by the fused operations of `pointwise.cc`: filters of 1x1,
 * and filters that cover the whole image.
 */
import * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';
import type { ConvolutionAttributes } from './winograd.js';

type Shape = readonly number[];

/** Convolution of `x` `[B, H, W, C]` by `filter` `[1, 1, C, K]` or, unpadded, `[H, W, C, K]`; undefined for others and other engines. */
export function pointwise(x: tf.Tensor, filter: tf.Tensor, attributes: ConvolutionAttributes): tf.Tensor | undefined {
  const views = viewsOf(x.shape, filter.shape, attributes);
  return views && canFuse([x, filter]) ? run('OnestepPointwise', [view(x, views.x), view(filter, views.filter)], false) : undefined;
}

/** Its gradient for the images `[…inputShape]`; undefined as above. */
export function pointwiseBackpropInput(
  dy: tf.Tensor,
  filter: tf.Tensor,
  attributes: ConvolutionAttributes & { inputShape: Shape },
): tf.Tensor | undefined {
  const views = viewsOf(attributes.inputShape, filter.shape, attributes);
  if (!views || !canFuse([dy, filter])) return undefined;
  return view(run('OnestepPointwise', [dy, view(filter, views.filter)], true), attributes.inputShape);
}

/** Its gradient for the filter `[…filterShape]`; undefined as above. */
export function pointwiseBackpropFilter(
  x: tf.Tensor,
  dy: tf.Tensor,
  attributes: ConvolutionAttributes & { filterShape: Shape },
): tf.Tensor | undefined {
  const views = viewsOf(x.shape, attributes.filterShape, attributes);
  if (!views || views.filter[2]! < ROWS || !canFuse([x, dy])) return undefined;
  return view(run('OnestepPointwiseFilter', [view(x, views.x), dy]), attributes.filterShape);
}

const view = (x: tf.Tensor, shape: Shape): tf.Tensor => (tf.util.arraysEqual(x.shape, [...shape]) ? x : tf.reshape(x, [...shape]));

const run = (name: string, inputs: tf.Tensor[], transposed?: boolean): tf.Tensor =>
  runFused(name, inputs, transposed === undefined ? {} : { flags: { transposed } }, 1)[0]!;

/** The shapes by which images and filter are taken for matrices; undefined where they are none, or have too few rows. */
function viewsOf(
  images: Shape,
  filter: Shape,
  { strides, pad, dataFormat = 'NHWC', dilations = 1 }: ConvolutionAttributes,
): { x: Shape; filter: Shape } | undefined {
  const [batch, height, width, channels] = images as [number, number, number, number];
  const [rows, columns, , outputs] = filter as [number, number, number, number];
  if (typeof pad !== 'string' || dataFormat !== 'NHWC') return undefined;
  if (rows === 1 && columns === 1 && [strides].flat().every((length) => length === 1))
    return batch * height * width >= ROWS ? { x: images, filter } : undefined;
  const covers = pad === 'valid' && rows === height && columns === width && [dilations].flat().every((length) => length === 1);
  const inputs = height * width * channels;
  return covers && batch >= ROWS ? { x: [batch, 1, 1, inputs], filter: [1, 1, inputs, outputs] } : undefined;
}

/** Of the micro-kernel. */
const ROWS = 6;
