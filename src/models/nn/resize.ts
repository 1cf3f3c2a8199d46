/**
 * Bilinear resizing as PyTorch's `interpolate` does it, without antialiasing.
 *
 * Each axis is a product with a small constant matrix: fast on every engine, with gradients of every order.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Options of `resizeBilinear2d`. */
export interface ResizeOptions {
  /** True: first and last pixels' centres coincide. False: the images' borders do. Default false. */
  alignCorners?: boolean;
}

/** The matrix `[outputs, size]`, row by row, that resizes one axis. */
export function bilinearMatrix(size: number, outputs: number, { alignCorners = false }: ResizeOptions = {}): Float32Array {
  const matrix = new Float32Array(outputs * size);
  for (let output = 0; output < outputs; output++) {
    // Rounded where PyTorch rounds: a network may answer to the last bit of a weight (an activation near its kink).
    const scale = Math.fround(alignCorners ? (outputs > 1 ? (size - 1) / (outputs - 1) : 0) : size / outputs);
    const at = Math.max(0, Math.fround(alignCorners ? scale * output : scale * (output + 0.5) - 0.5));
    const left = Math.min(size - 1, Math.floor(at));
    const right = Math.min(size - 1, left + 1);
    matrix[output * size + left]! += 1 - (at - left);
    matrix[output * size + right]! += at - left;
  }
  return matrix;
}

/** Where pixels have few channels, a row of them is multiplied as one vector: larger products are faster. */
const FEW_CHANNELS = 4;

/** `matrix` `[outputs, size]`, transposed, with every element times the identity of `channels`: `[size * channels, outputs * channels]`. */
function expandColumns(matrix: Float32Array, size: number, outputs: number, channels: number): Float32Array {
  const expanded = new Float32Array(size * channels * outputs * channels);
  for (let input = 0; input < size; input++)
    for (let output = 0; output < outputs; output++)
      for (let c = 0; c < channels; c++)
        expanded[(input * channels + c) * outputs * channels + output * channels + c] = matrix[output * size + input]!;
  return expanded;
}

/** `x` `[B, H, W, C]` to `[B, height, width, C]`; `x` itself where it has that size. */
export function resizeBilinear2d(x: tf.Tensor4D, [height, width]: readonly [number, number], options: ResizeOptions = {}): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, rows, columns, channels] = x.shape;
    let y: tf.Tensor = x;
    if (rows !== height) {
      const vertical = tf.tensor3d(bilinearMatrix(rows, height, options), [1, height, rows]);
      y = tf.matMul(vertical, tf.reshape(y, [batch, rows, columns * channels]));
    }
    if (columns !== width) {
      const matrix = bilinearMatrix(columns, width, options);
      y =
        channels <= FEW_CHANNELS
          ? tf.matMul(
              tf.reshape(y, [batch * height, columns * channels]),
              tf.tensor2d(expandColumns(matrix, columns, width, channels), [columns * channels, width * channels]),
            )
          : tf.matMul(tf.tensor3d(matrix, [1, width, columns]), tf.reshape(y, [batch * height, columns, channels]));
    }
    return tf.reshape(y, [batch, height, width, channels]);
  });
}
