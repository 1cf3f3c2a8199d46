/**
 * Batches of the data stream as micro-batches that are uploaded when they are needed.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ImageBatch } from '../core/contracts/data.js';
import type { RealImages } from '../core/contracts/training.js';
import { oneHot, toFloat } from '../data/images.js';

/** Cuts a batch into parts of `microBatch` images; `classes` 0 ignores labels. */
export function realImages({ images, shape, labels }: ImageBatch, microBatch: number, classes: number): RealImages[] {
  const [batch, height, width, channels] = shape;
  const stride = height * width * channels;
  const parts: RealImages[] = [];
  for (let at = 0; at < batch; at += microBatch) {
    const count = Math.min(microBatch, batch - at);
    parts.push({
      batch: count,
      images: () => tf.tensor4d(toFloat(images.subarray(at * stride, (at + count) * stride)), [count, height, width, channels]),
      classLabels: () =>
        classes > 0 && labels ? tf.tensor2d(oneHot(labels.subarray(at, at + count), classes), [count, classes]) : undefined,
    });
  }
  return parts;
}
