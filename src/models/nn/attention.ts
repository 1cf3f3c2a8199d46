/**
 * Scaled dot-product attention of an image with itself (Vaswani et al. 2017), as the U-Nets of the field have it.
 */
import * as tf from '@tensorflow/tfjs-core';

/**
 * softmax(q.k / sqrt(C / heads)) v over the pixels; `q`, `k`, `v` and the result are `[B, H, W, C]`.
 *
 * Channels are in the order (head, channel of the head); `heads` divides C.
 */
export function selfAttention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, heads: number): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, height, width, channels] = q.shape as [number, number, number, number];
    const positions = height * width;
    const perHead = channels / heads;
    const [queries, keys, values] = [q, k, v].map((part) =>
      heads === 1
        ? tf.reshape<tf.Rank>(part, [batch, positions, channels])
        : tf.transpose(tf.reshape<tf.Rank>(part, [batch, positions, heads, perHead]), [0, 2, 1, 3]),
    ) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
    const scores = tf.matMul(tf.mul(queries, 1 / Math.sqrt(perHead)), keys, false, true);
    const mixed = tf.matMul(tf.softmax(scores), values);
    const merged: tf.Tensor = heads === 1 ? mixed : tf.transpose(mixed, [0, 2, 1, 3]);
    return tf.reshape<tf.Rank.R4>(merged, [batch, height, width, channels]);
  });
}
