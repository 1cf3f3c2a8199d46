/** `wasm` lacks this. */
import * as tf from '@tensorflow/tfjs-core';
import { composed, frame } from './kernel.js';

/**
 * The filter gradient is a convolution too: of x, with batch and channels exchanged, by dy as a filter of
 * `[outHeight, outWidth, B, outChannels]` whose taps lie a stride apart.
 */
export const conv2DBackpropFilter = composed(
  'wasm',
  'Conv2DBackpropFilter',
  ({ x, dy }, { filterShape, strides, pad, dimRoundingMode }) => {
    const info = tf.backend_util.computeConv2DInfo(
      x!.shape as [number, number, number, number],
      filterShape,
      strides,
      1,
      pad,
      dimRoundingMode,
    );
    const {
      batchSize,
      inHeight,
      inWidth,
      inChannels,
      outChannels,
      outHeight,
      outWidth,
      filterHeight,
      filterWidth,
      strideHeight,
      strideWidth,
    } = info;
    if (
      filterHeight === 1 &&
      filterWidth === 1 &&
      strideHeight === 1 &&
      strideWidth === 1 &&
      outHeight === inHeight &&
      outWidth === inWidth
    ) {
      const pixels = batchSize * inHeight * inWidth;
      return tf.reshape(tf.matMul(tf.transpose(tf.reshape(x!, [pixels, inChannels])), tf.reshape(dy!, [pixels, outChannels])), filterShape);
    }
    // Exactly what makes the result as large as the filter.
    const { top, left } = info.padInfo;
    const bottom = (outHeight - 1) * strideHeight + filterHeight - inHeight - top;
    const right = (outWidth - 1) * strideWidth + filterWidth - inWidth - left;
    const images = tf.transpose(frame(x as tf.Tensor4D, top, bottom, left, right), [3, 1, 2, 0]);
    const taps = tf.transpose(dy!, [1, 2, 0, 3]) as tf.Tensor4D;
    const gradient = tf.conv2d(images, taps, 1, 'valid', 'NHWC', [strideHeight, strideWidth]); // [inChannels, filterHeight, filterWidth, outChannels]
    return tf.transpose(gradient, [1, 2, 0, 3]);
  },
);
