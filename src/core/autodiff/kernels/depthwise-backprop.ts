/** `wasm` lacks both gradients of the depthwise convolution. */
import * as tf from '@tensorflow/tfjs-core';
import { dilate } from '../rules/shape.js';
import { composed, frame } from './kernel.js';

type Shape4D = [number, number, number, number];

/** Geometry, with the padding below and to the right that makes the last window end at the border. */
function geometry(inputShape: number[], filterShape: number[], { strides, pad, dimRoundingMode }: any) {
  const info = tf.backend_util.computeConv2DInfo(inputShape as Shape4D, filterShape as Shape4D, strides, 1, pad, dimRoundingMode, true);
  const { top, left } = info.padInfo;
  const bottom = (info.outHeight - 1) * info.strideHeight + info.filterHeight - info.inHeight - top;
  const right = (info.outWidth - 1) * info.strideWidth + info.filterWidth - info.inWidth - left;
  return { ...info, top, left, bottom, right };
}

/** Channel `m` of every channel's `M` outputs; the last axis of `x` is channels times M. */
function member(x: tf.Tensor, m: number, M: number): tf.Tensor {
  if (M === 1) return x;
  const shape = [...x.shape];
  const C = shape.pop()! / M;
  const flat = tf.reshape(x, [-1, C, M]);
  return tf.reshape(tf.slice(flat, [0, 0, m], [flat.shape[0]!, C, 1]), [...shape, C]);
}

export const depthwiseBackpropInput = composed('wasm', 'DepthwiseConv2dNativeBackpropInput', ({ dy, filter }, { inputShape, ...attrs }) => {
  const [, , C, M] = filter!.shape as Shape4D;
  const { inHeight, inWidth, filterHeight, filterWidth, strideHeight, strideWidth, ...at } = geometry(inputShape, filter!.shape, attrs);
  const [top, left] = [filterHeight - 1 - at.top, filterWidth - 1 - at.left];
  const parts = Array.from({ length: M }, (_, m) => {
    const spread = dilate(member(dy!, m, M), [1, strideHeight, strideWidth, 1]) as tf.Tensor4D;
    const framed = frame(
      spread,
      top,
      inHeight + filterHeight - 1 - top - spread.shape[1],
      left,
      inWidth + filterWidth - 1 - left - spread.shape[2],
    );
    const part = tf.reshape(tf.slice(filter!, [0, 0, 0, m], [filterHeight, filterWidth, C, 1]), [filterHeight, filterWidth, C, 1]);
    return tf.depthwiseConv2d(framed, tf.reverse(part, [0, 1]) as tf.Tensor4D, 1, 'valid') as tf.Tensor;
  });
  return parts.length === 1 ? parts[0]! : tf.addN(parts);
});

/**
 * The filter gradient is a depthwise convolution too: batch and channels together are the channels, dy is a filter
 * as large as itself whose taps lie a stride apart, and the batch is summed afterwards.
 */
export const depthwiseBackpropFilter = composed('wasm', 'DepthwiseConv2dNativeBackpropFilter', ({ x, dy }, { filterShape, ...attrs }) => {
  const [filterHeight, filterWidth, C, M] = filterShape as Shape4D;
  const { batchSize, inHeight, inWidth, outHeight, outWidth, strideHeight, strideWidth, top, bottom, left, right } = geometry(
    x!.shape,
    filterShape,
    attrs,
  );
  const framed = frame(x as tf.Tensor4D, top, bottom, left, right);
  const images = tf.reshape(tf.transpose(framed, [1, 2, 0, 3]), [
    1,
    inHeight + top + bottom,
    inWidth + left + right,
    batchSize * C,
  ]) as tf.Tensor4D;
  const taps = tf.reshape(tf.transpose(dy!, [1, 2, 0, 3]), [outHeight, outWidth, batchSize * C, M]) as tf.Tensor4D;
  const gradient = tf.depthwiseConv2d(images, taps, 1, 'valid', 'NHWC', [strideHeight, strideWidth]);
  return tf.reshape(tf.sum(tf.reshape(gradient, [filterHeight * filterWidth, batchSize, C * M]), 1), filterShape);
});
