/** Resampling: a matrix for the rows and one for the columns, whose transposes are the gradient. */
import * as tf from '@tensorflow/tfjs-core';
import { rule, type Rule } from './rule.js';

/** `[to, from]`: the weights that TensorFlow's resize gives the source pixels. */
function weights(kind: 'linear' | 'nearest', from: number, to: number, alignCorners: boolean, halfPixelCenters: boolean): tf.Tensor2D {
  const matrix = new Float32Array(to * from);
  const ratio = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
  for (let i = 0; i < to; i++) {
    const at = halfPixelCenters ? (i + 0.5) * ratio - (kind === 'linear' ? 0.5 : 0) : i * ratio;
    if (kind === 'nearest') {
      const nearest = alignCorners ? Math.round(at) : Math.floor(at);
      matrix[i * from + Math.min(from - 1, Math.max(0, nearest))]! += 1;
    } else {
      const low = Math.floor(at);
      const clamp = (j: number) => Math.min(from - 1, Math.max(0, j));
      matrix[i * from + clamp(low)]! += 1 - (at - low);
      matrix[i * from + clamp(low + 1)]! += at - low;
    }
  }
  return tf.tensor2d(matrix, [to, from]);
}

/** `[B, h, w, C]` -> `[B, H, W, C]` by the transposes of the matrices of a resize from `H x W` to `h x w`. */
function transposedResize(
  dy: tf.Tensor,
  kind: 'linear' | 'nearest',
  [H, W]: [number, number],
  { alignCorners, halfPixelCenters }: any,
): tf.Tensor {
  const [B, h, w, C] = dy.shape as [number, number, number, number];
  const rows = weights(kind, H, h, alignCorners, halfPixelCenters);
  const columns = weights(kind, W, w, alignCorners, halfPixelCenters);
  const tall = tf.matMul(tf.reshape(rows, [1, h, H]), tf.reshape(dy, [B, h, w * C]), true, false); // [B, H, w C]
  const wide = tf.matMul(tf.reshape(columns, [1, w, W]), tf.reshape(tall, [B * H, w, C]), true, false); // [B H, W, C]
  return tf.reshape(wide, [B, H, W, C]);
}

const resize = (kernelName: string, kind: 'linear' | 'nearest'): Rule =>
  rule(kernelName, (dy, _saved, attrs, { images }) => ({
    images: () => transposedResize(dy, kind, [images!.shape[1]!, images!.shape[2]!], attrs),
  }));

export const resizing: Rule[] = [resize('ResizeBilinear', 'linear'), resize('ResizeNearestNeighbor', 'nearest')];
