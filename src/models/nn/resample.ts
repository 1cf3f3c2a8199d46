/**
 * Resampling: by a separable FIR filter, as the EDM networks do before their 3x3 convolutions, and by bilinear interpolation.
 *
 * Each axis is a product with a small constant matrix: gradients of every order.
 */
import * as tf from '@tensorflow/tfjs-core';
import { alongAxes as multiplyAxes } from '../../core/autodiff/index.js';

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

/** Options of `resizeBilinear`. */
export interface ResizeOptions {
  /** True: first and last pixels' centres coincide. False: the images' borders do. Default false. */
  alignCorners?: boolean;
  /**
   * False, where corners are not aligned: pixels stand at their upper left corners, as in TensorFlow 1's `resize_bilinear`; the image
   * moves by up to half a pixel. Default true: at their centres.
   */
  halfPixelCenters?: boolean;
}

/**
 * The matrix `[outputs, size]` that interpolates one axis linearly, row by row, as PyTorch's `interpolate` without antialiasing.
 *
 * `alignCorners`: output o reads position o (size-1)/(outputs-1); otherwise (o + 1/2) size/outputs - 1/2, or o size/outputs without
 * `halfPixelCenters`, held at the border.
 */
export function bilinearMatrix(size: number, outputs: number, { alignCorners = false, halfPixelCenters = true }: ResizeOptions = {}) {
  const centres = halfPixelCenters && !alignCorners;
  const matrix = new Float32Array(outputs * size);
  for (let output = 0; output < outputs; output++) {
    // Rounded where PyTorch rounds: a network may answer to the last bit of a weight (an activation near its kink).
    const scale = Math.fround(alignCorners ? (outputs > 1 ? (size - 1) / (outputs - 1) : 0) : size / outputs);
    const at = Math.max(0, Math.fround(centres ? scale * (output + 0.5) - 0.5 : scale * output));
    const left = Math.min(size - 1, Math.floor(at));
    const right = Math.min(size - 1, left + 1);
    matrix[output * size + left]! += 1 - (at - left);
    matrix[output * size + right]! += at - left;
  }
  return { matrix, outputs };
}

/** Bilinear interpolation of `x` `[B, H, W, C]` to `[B, height, width, C]`; see `bilinearMatrix`. `x` itself where it has that size. */
export function resizeBilinear(x: tf.Tensor4D, [height, width]: readonly [number, number], options: ResizeOptions = {}): tf.Tensor4D {
  return alongAxes(x, (size, axis) => {
    const outputs = axis === 'height' ? height : width;
    return outputs === size ? undefined : bilinearMatrix(size, outputs, options);
  });
}

/** Multiplies height and width of `x` by a matrix `[outputs, size]` each; undefined leaves an axis as it is. */
export function alongAxes(
  x: tf.Tensor4D,
  matrixFor: (size: number, axis: 'height' | 'width') => { matrix: Float32Array; outputs: number } | undefined,
): tf.Tensor4D {
  return tf.tidy(() => {
    const [, height, width] = x.shape;
    const of = (size: number, axis: 'height' | 'width') => {
      const made = matrixFor(size, axis);
      return made && tf.tensor2d(made.matrix, [made.outputs, size]);
    };
    const [vertical, horizontal] = [of(height, 'height'), of(width, 'width')];
    if (!vertical && !horizontal) return tf.clone(x);
    return multiplyAxes(x, vertical ?? tf.eye(height), horizontal ?? tf.eye(width));
  });
}
