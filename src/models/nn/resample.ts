/**
 * Resampling: by a separable FIR filter, as the EDM networks do before their 3x3 convolutions, and by bilinear interpolation.
 *
 * Each axis is a product with a small constant matrix: fast on every engine, with gradients of every order.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Filter padding of the published networks: (length - 1) / 2, rounded down. */
export const filterPadding = (taps: readonly number[]) => Math.floor((taps.length - 1) / 2);

/**
 * The matrix `[outputs, size]` that resamples one axis, row by row.
 *
 * `down`: a convolution of stride 2 with zero padding `pad` on both sides. `up`: the transposed convolution of
 * stride 2, gain 2 an axis (4 in two dimensions). The taps are normalised to sum 1.
 */
export function resampleMatrix(size: number, taps: readonly number[], direction: 'up' | 'down', pad = filterPadding(taps)) {
  const sum = taps.reduce((a, b) => a + b, 0);
  const outputs = direction === 'down' ? Math.floor((size + 2 * pad - taps.length) / 2) + 1 : (size - 1) * 2 + taps.length - 2 * pad;
  const matrix = new Float32Array(outputs * size);
  // Output o of `down` reads input 2o + t - pad; input i of `up` writes output 2i + t - pad.
  for (let fixed = 0; fixed < (direction === 'down' ? outputs : size); fixed++)
    taps.forEach((tap, t) => {
      const moving = 2 * fixed + t - pad;
      const [row, column] = direction === 'down' ? [fixed, moving] : [moving, fixed];
      if (row >= 0 && row < outputs && column >= 0 && column < size)
        matrix[row * size + column]! += (tap / sum) * (direction === 'up' ? 2 : 1);
    });
  return { matrix, outputs };
}

/** Applies `resampleMatrix` to height and width of `x` `[B, H, W, C]`. */
export function resample2d(x: tf.Tensor4D, taps: readonly number[], direction: 'up' | 'down', pad?: number): tf.Tensor4D {
  return alongAxes(x, (size) => resampleMatrix(size, taps, direction, pad));
}

/**
 * The matrix `[outputs, size]` that interpolates one axis linearly, row by row; each row sums to 1.
 *
 * `alignCorners`: the first and last samples of both grids coincide, so output o reads position o*(size-1)/(outputs-1);
 * otherwise pixel centres are scaled, (o + 1/2)*size/outputs - 1/2, held at the border. As PyTorch's `interpolate`.
 */
export function bilinearMatrix(size: number, outputs: number, alignCorners: boolean) {
  const matrix = new Float32Array(outputs * size);
  for (let o = 0; o < outputs; o++) {
    const position = alignCorners ? (outputs > 1 ? (o * (size - 1)) / (outputs - 1) : 0) : Math.max(0, ((o + 0.5) * size) / outputs - 0.5);
    const low = Math.min(Math.floor(position), size - 1);
    const high = Math.min(low + 1, size - 1);
    matrix[o * size + low]! += 1 - (position - low);
    matrix[o * size + high]! += position - low;
  }
  return { matrix, outputs };
}

/** Bilinear interpolation of `x` `[B, H, W, C]` to `[B, height, width, C]`; see `bilinearMatrix`. */
export function resizeBilinear(x: tf.Tensor4D, height: number, width: number, options: { alignCorners: boolean }): tf.Tensor4D {
  return alongAxes(x, (size, axis) => bilinearMatrix(size, axis === 'height' ? height : width, options.alignCorners));
}

/** Multiplies height and width of `x` by a matrix each. */
export function alongAxes(
  x: tf.Tensor4D,
  matrixFor: (size: number, axis: 'height' | 'width') => { matrix: Float32Array; outputs: number },
): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, height, width, channels] = x.shape;
    const rows = matrixFor(height, 'height');
    const columns = matrixFor(width, 'width');
    const vertical = tf.tensor3d(rows.matrix, [1, rows.outputs, height]);
    const horizontal = tf.tensor3d(columns.matrix, [1, columns.outputs, width]);
    const half = tf.matMul(vertical, tf.reshape(x, [batch, height, width * channels]));
    const whole = tf.matMul(horizontal, tf.reshape(half, [batch * rows.outputs, width, channels]));
    return tf.reshape(whole, [batch, rows.outputs, columns.outputs, channels]);
  });
}
