/** `wasm` has a scalar loop for this; its forward convolution is vectorized. */
import * as tf from '@tensorflow/tfjs-core';
import { dilate } from '../rules/shape.js';
import { composed, frame } from './kernel.js';

/**
 * The input gradient of a convolution is the convolution of dy, spread out by the stride, with the filter turned
 * around and its channels exchanged.
 */
export const conv2DBackpropInput = composed(
  'wasm',
  'Conv2DBackpropInput',
  ({ dy, filter }, { inputShape, strides, pad, dimRoundingMode }) => {
    const info = tf.backend_util.computeConv2DInfo(
      inputShape,
      filter!.shape as [number, number, number, number],
      strides,
      1,
      pad,
      dimRoundingMode,
    );
    const { batchSize, inHeight, inWidth, inChannels, outChannels, filterHeight, filterWidth, strideHeight, strideWidth } = info;
    if (
      filterHeight === 1 &&
      filterWidth === 1 &&
      strideHeight === 1 &&
      strideWidth === 1 &&
      info.outHeight === inHeight &&
      info.outWidth === inWidth
    ) {
      const rows = tf.reshape(dy!, [batchSize * inHeight * inWidth, outChannels]);
      return tf.reshape(tf.matMul(rows, tf.transpose(tf.reshape(filter!, [inChannels, outChannels]))), inputShape);
    }
    const turned = tf.transpose(tf.reverse(filter!, [0, 1]), [0, 1, 3, 2]) as tf.Tensor4D;
    const spread = dilate(dy!, [1, strideHeight, strideWidth, 1]) as tf.Tensor4D;
    const [top, left] = [filterHeight - 1 - info.padInfo.top, filterWidth - 1 - info.padInfo.left];
    const bottom = inHeight + filterHeight - 1 - top - spread.shape[1];
    const right = inWidth + filterWidth - 1 - left - spread.shape[2];
    if (Math.min(top, bottom, left, right) >= 0)
      return tf.conv2d(spread, turned, 1, [
        [0, 0],
        [top, bottom],
        [left, right],
        [0, 0],
      ]);
    return tf.conv2d(frame(spread, top, bottom, left, right), turned, 1, 'valid');
  },
);
