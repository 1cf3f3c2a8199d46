/** Bilinear sampling under an affine map, each image by its own: linear in the images, so that its gradient is its transpose and every order exists. */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { zeroLike } from './tape.js';

interface Size {
  height: number;
  width: number;
}
type Images = tf.Tensor4D;
type Context = ForwardContext<KernelInputs<'x' | 'maps'>, Size>;
type Kernel = (inputs: KernelInputs<'x' | 'maps'>, attrs: Size) => tf.Tensor;

/** Calls `each(read, written, weight)` for the neighbours of every output pixel that lie within the input, as pixel numbers of the batch. */
function eachNeighbour(
  maps: Float32Array,
  inner: Size,
  outer: Size,
  each: (inside: number, outside: number, weight: number) => void,
): void {
  for (let image = 0, outside = 0; image < maps.length / 6; image++) {
    const [a, b, c, d, e, f] = maps.subarray(6 * image) as unknown as [number, number, number, number, number, number];
    const first = image * inner.height * inner.width;
    for (let row = 0; row < outer.height; row++)
      for (let column = 0; column < outer.width; column++, outside++) {
        const [x, y] = [a * column + b * row + c, d * column + e * row + f];
        const [left, top] = [Math.floor(x), Math.floor(y)];
        for (let dy = 0; dy < 2; dy++)
          for (let dx = 0; dx < 2; dx++) {
            const [atX, atY] = [left + dx, top + dy];
            if (atX < 0 || atY < 0 || atX >= inner.width || atY >= inner.height) continue;
            const weight = (dx ? x - left : 1 - x + left) * (dy ? y - top : 1 - y + top);
            if (weight !== 0) each(first + atY * inner.width + atX, outside, weight);
          }
      }
  }
}

/** The same by tensor operations: for each of the four neighbours its pixel number `[B * h * w]` and its weight `[B * h * w, 1]`, 0 outside. */
function neighbours(maps: tf.Tensor, inner: Size, outer: Size): { index: tf.Tensor1D; weight: tf.Tensor2D }[] {
  const batch = maps.shape[0]!;
  const columns = tf.reshape(tf.range(0, outer.width), [1, 1, outer.width]);
  const rows = tf.reshape(tf.range(0, outer.height), [1, outer.height, 1]);
  const first = tf.reshape(tf.range(0, batch, 1, 'int32'), [batch, 1, 1]);
  const entry = (k: number) => tf.reshape(tf.slice(maps, [0, k], [batch, 1]), [batch, 1, 1]);
  const axis = (k: number, size: number) => {
    const at = tf.add(tf.add(tf.mul(entry(k), columns), tf.mul(entry(k + 1), rows)), entry(k + 2));
    const low = tf.floor(at);
    const share = tf.sub(at, low);
    return [tf.sub(1, share), share].map((weight, step) => {
      const place = step === 0 ? low : tf.add(low, 1);
      const inside = tf.cast(tf.logicalAnd(tf.greaterEqual(place, 0), tf.less(place, size)), 'float32');
      return { place: tf.cast(tf.clipByValue(place, 0, size - 1), 'int32'), weight: tf.mul(weight, inside) };
    });
  };
  const [across, down] = [axis(0, inner.width), axis(3, inner.height)];
  const flat = batch * outer.height * outer.width;
  // Pixel numbers are whole numbers of 32 bits: float32 is exact to 2^24 only.
  const start = tf.mul(first, tf.scalar(inner.height * inner.width, 'int32'));
  return down.flatMap((y) =>
    across.map((x) => ({
      index: tf.reshape(tf.add(tf.add(start, tf.mul(y.place, tf.scalar(inner.width, 'int32'))), x.place), [flat]),
      weight: tf.reshape(tf.mul(y.weight, x.weight), [flat, 1]),
    })),
  );
}

const sizeOf = (x: tf.Tensor): Size => ({ height: x.shape[1]!, width: x.shape[2]! });
const shapeOf = (x: tf.Tensor, { height, width }: Size) => [x.shape[0]!, height, width, x.shape[3]!] as [number, number, number, number];
const pixels = (x: tf.Tensor) => tf.reshape(x, [-1, x.shape[3]!]) as tf.Tensor2D;

/** For engines whose tensors lie in this process's memory. */
function onHost({ inputs: { x, maps }, attrs }: Context, transposed: boolean): Images {
  const [from, channels] = [x.dataSync<'float32'>(), x.shape[3]!];
  const shape = shapeOf(x, attrs);
  const out = new Float32Array(tf.util.sizeFromShape(shape));
  const [inner, outer] = transposed ? [attrs, sizeOf(x)] : [sizeOf(x), attrs];
  eachNeighbour(maps.dataSync<'float32'>(), inner, outer, (inside, outside, weight) => {
    const [read, write] = (transposed ? [outside, inside] : [inside, outside]).map((pixel) => pixel * channels) as [number, number];
    for (let c = 0; c < channels; c++) out[write + c]! += weight * from[read + c]!;
  });
  return tf.tensor4d(out, shape);
}

const forward = ({ inputs: { x, maps }, attrs }: Context): tf.Tensor => {
  const values = pixels(x);
  const parts = neighbours(maps, sizeOf(x), attrs).map(({ index, weight }) => tf.mul(tf.gather(values, index), weight));
  return tf.reshape(
    parts.reduce((sum, part) => tf.add(sum, part)),
    shapeOf(x, attrs),
  );
};

const transpose = ({ inputs: { x, maps }, attrs }: Context): tf.Tensor => {
  const values = pixels(x);
  const [index, weighted] = [[], []] as [tf.Tensor1D[], tf.Tensor[]];
  for (const neighbour of neighbours(maps, attrs, sizeOf(x))) {
    index.push(neighbour.index);
    weighted.push(tf.mul(values, neighbour.weight));
  }
  const sums = tf.unsortedSegmentSum(tf.concat(weighted), tf.concat(index), x.shape[0]! * attrs.height * attrs.width);
  return tf.reshape(sums, shapeOf(x, attrs));
};

const engines = (transposed: boolean) => ({
  cpu: (context: Context) => onHost(context, transposed),
  wasm: (context: Context) => onHost(context, transposed),
  shapes: ({ inputs: { x }, attrs }: Context) => tf.zeros(shapeOf(x, attrs)),
});

const sampleKernel: Kernel = defineKernel({
  name: 'OnestepAffineSample',
  forward,
  engines: engines(false),
  inputsToSave: ['maps'],
  gradient: ({ dy, inputs: { maps }, present }) => ({
    x: () => transposeKernel({ x: dy, maps }, sizeOf(present.x)),
    maps: zeroLike(maps),
  }),
});

const transposeKernel: Kernel = defineKernel({
  name: 'OnestepAffineSampleTransposed',
  forward: transpose,
  engines: engines(true),
  inputsToSave: ['maps'],
  gradient: ({ dy, inputs: { maps }, present }) => ({
    x: () => sampleKernel({ x: dy, maps }, sizeOf(present.x)),
    maps: zeroLike(maps),
  }),
});

/**
 * `x` `[B, H, W, C]` to `[B, height, width, C]`: pixel (row i, column j) of image b is `x[b]` at column `m0*j + m1*i + m2` and row
 * `m3*j + m4*i + m5`, `maps[b]` being `[m0, …, m5]`; bilinear between pixel centres, 0 outside.
 *
 * Whole-number places give the pixels themselves, bit for bit. Differentiable in `x` to any order, not in `maps`.
 * Throws `E_SHAPE` unless there are six numbers an image.
 */
export function affineSample(x: Images, maps: readonly (readonly number[])[], height: number, width: number): Images {
  const wrong =
    maps.length !== x.shape[0] ? `${maps.length} maps` : maps.some((map) => map.length !== 6) ? 'maps of another length' : undefined;
  if (wrong)
    throw new ArgumentError('E_SHAPE', `affineSample: expected ${x.shape[0]} maps of six numbers, got ${wrong}`, {
      help: 'give the first two rows of a 3x3 matrix for each image',
    });
  return tf.tidy(() => sampleKernel({ x, maps: tf.tensor2d(maps.flat(), [maps.length, 6]) }, { height, width }) as Images);
}
