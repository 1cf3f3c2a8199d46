/**
 * Geometric transforms of images by affine maps in centred coordinates: x to the right, y down, in pixels, 0 at the image's centre.
 * A map says which place of the input an output pixel shows.
 */
import * as tf from '@tensorflow/tfjs-core';
import { affineSample } from '../../core/autodiff/index.js';
import { alongAxes, filterPadding, resampleMatrix } from '../nn/resample.js';
import { multiply, translation, type Matrix } from './matrices.js';

/** The low-pass filter of the symlet wavelet of order 6 (Daubechies 1992), as ADA uses it; orthonormal: its even shifts are. */
export const SYM6 = [
  0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
  0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
] as const;

/** Applies `f` to the images of the given numbers and leaves the others as they are, bit for bit. */
export function onSome(images: tf.Tensor4D, chosen: readonly number[], f: (some: tf.Tensor4D) => tf.Tensor4D): tf.Tensor4D {
  const batch = images.shape[0];
  if (chosen.length === 0) return images;
  if (chosen.length === batch) return f(images);
  return tf.tidy(() => {
    const isChosen = new Set(chosen);
    const others = Array.from({ length: batch }, (_, image) => image).filter((image) => !isChosen.has(image));
    const order = [...others, ...chosen];
    const take = (from: tf.Tensor4D, numbers: readonly number[]) => tf.gather(from, tf.tensor1d([...numbers], 'int32'));
    const changed = f(take(images, chosen));
    const places = Array.from({ length: batch }, (_, image) => order.indexOf(image));
    return take(tf.concat([take(images, others), changed]), places);
  });
}

/** The matrix `[before + size + after, size]` that extends one axis by its mirror image, the border pixel not repeated. */
export function reflection(size: number, before: number, after: number): { matrix: Float32Array; outputs: number } {
  const outputs = before + size + after;
  const matrix = new Float32Array(outputs * size);
  const period = Math.max(1, 2 * size - 2);
  for (let output = 0; output < outputs; output++) {
    const place = (((output - before) % period) + period) % period;
    matrix[output * size + Math.min(place, period - place)] = 1;
  }
  return { matrix, outputs };
}

/** The product `a b` of matrices as they are given to `alongAxes`, `b` with one 1 a row. */
function select(a: ReturnType<typeof reflection>, b: ReturnType<typeof reflection>, size: number): ReturnType<typeof reflection> {
  const matrix = new Float32Array(a.outputs * size);
  for (let middle = 0; middle < b.outputs; middle++) {
    const column = b.matrix.subarray(middle * size, (middle + 1) * size).indexOf(1);
    for (let row = 0; row < a.outputs; row++) matrix[row * size + column]! += a.matrix[row * b.outputs + middle]!;
  }
  return { matrix, outputs: a.outputs };
}

/** The first two rows of `map`, from pixel numbers of the output to those of the input: `out = step*o - origin`, `in = scale*(i + before)`. */
function inPixels(
  map: Matrix,
  [height, width]: readonly [number, number],
  [left, top]: readonly [number, number],
  fine: 1 | 2,
  lead: number,
) {
  const [cx, cy] = [(width - 1) / 2, (height - 1) / 2];
  // Output sample v shows the place (v - lead)/fine.
  const toCentred = translation(-lead / fine - cx, -lead / fine - cy);
  const [a, b] = multiply(translation(cx + left, cy + top), multiply(map, toCentred)) as [readonly number[], readonly number[]];
  return [a, b].flatMap(([x, y, offset]) => [x!, y!, fine * offset!]);
}

/** Moves whole pixels: each map is a flip, a turn by quarters and a translation by whole pixels; the image goes on as its mirror image. */
export function blit(images: tf.Tensor4D, maps: readonly Matrix[]): tf.Tensor4D {
  const [, height, width] = images.shape;
  return tf.tidy(() => {
    const reach = Math.ceil(Math.max(...maps.flatMap((map) => [Math.abs(map[0]![2]!), Math.abs(map[1]![2]!)])));
    const padded = reach === 0 ? images : alongAxes(images, (size) => reflection(size, reach, reach));
    return affineSample(
      padded,
      maps.map((map) => inPixels(map, [height, width], [reach, reach], 1, 0)),
      height,
      width,
    );
  });
}

/**
 * Warps each image by its map as ADA does (Karras et al. 2020, appendix B): extended by its mirror image, upsampled by 2 with the
 * orthonormal `SYM6`, sampled bilinearly at twice the resolution, downsampled by 2 with the same filter; linear in the images.
 *
 * `[B, H, W, C]` to the same. Up- and downsampling alone, and moves by whole pixels, lose nothing. What lies further out than one
 * mirror image is 0.
 */
export function warp(images: tf.Tensor4D, maps: readonly Matrix[]): tf.Tensor4D {
  const [, height, width] = images.shape;
  const [cx, cy] = [(width - 1) / 2, (height - 1) / 2];
  const corners: Matrix = [
    [-cx, cx, cx, -cx],
    [-cy, -cy, cy, cy],
    [1, 1, 1, 1],
  ];
  const reached = maps.map((map) => multiply(map, corners));
  const furthest = (axis: number, sign: number) => Math.max(...reached.flatMap((place) => place[axis]!.map((value) => sign * value)));
  // Beyond the corners as far as both filters reach.
  const margin = (axis: number, sign: number, centre: number) =>
    Math.ceil(Math.min(2 * centre, Math.max(0, furthest(axis, sign) + SYM6.length / 2 - centre)));
  const [left, right] = [margin(0, -1, cx), margin(0, 1, cx)];
  const [top, bottom] = [margin(1, -1, cy), margin(1, 1, cy)];

  return tf.tidy(() => {
    const upsampled = alongAxes(images, (size, axis) => {
      const extended = axis === 'height' ? reflection(size, top, bottom) : reflection(size, left, right);
      return select(resampleMatrix(extended.outputs, SYM6, 'up'), extended, size);
    });
    // The downsampling filter needs so many samples before the first pixel's own, and the rest of its length after the last one's.
    const lead = filterPadding(SYM6);
    const fine = (size: number) => 2 * (size - 1) + SYM6.length;
    const sampled = affineSample(
      upsampled,
      maps.map((map) => inPixels(map, [height, width], [left, top], 2, lead)),
      fine(height),
      fine(width),
    );
    return alongAxes(sampled, (size) => resampleMatrix(size, SYM6, 'down', 0));
  });
}

/** Applies a 4x4 colour matrix to each image `[H, W, 3]`; one of one channel gets the mean over the channels of what grey becomes. */
export function mapColours(images: tf.Tensor4D, matrices: readonly Matrix[]): tf.Tensor4D {
  const [batch, height, width, channels] = images.shape;
  return tf.tidy(() => {
    if (channels === 1) {
      const mean = (entries: (row: readonly number[]) => number) =>
        matrices.map((matrix) => matrix.slice(0, 3).reduce((sum, row) => sum + entries(row) / 3, 0));
      const [factor, offset] = [mean((row) => row[0]! + row[1]! + row[2]!), mean((row) => row[3]!)];
      return tf.add(tf.mul(images, tf.tensor4d(factor, [batch, 1, 1, 1])), tf.tensor4d(offset, [batch, 1, 1, 1]));
    }
    const mixing = tf.tensor3d(
      matrices.flatMap((matrix) => matrix.slice(0, 3).flatMap((row) => row.slice(0, 3))),
      [batch, 3, 3],
    );
    const offset = tf.tensor3d(
      matrices.flatMap((matrix) => matrix.slice(0, 3).map((row) => row[3]!)),
      [batch, 1, 3],
    );
    const mixed = tf.matMul(tf.reshape(images, [batch, height * width, 3]), mixing, false, true);
    return tf.reshape(tf.add(mixed, offset), [batch, height, width, 3]);
  });
}
