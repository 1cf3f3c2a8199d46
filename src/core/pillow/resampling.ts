/**
 * Resampling as Pillow's `Image.resize` does it on 8-bit images, to the last bit: weights in fixed point, rows before columns,
 * rounded to bytes between the two. What EDM, ADM and most metrics mean by "resize".
 */
import { ArgumentError } from '../errors.js';

/** Kernels by Pillow's names. */
export type ResamplingFilter = 'box' | 'bilinear' | 'bicubic' | 'lanczos';

/** An 8-bit image: `pixels` is `[height, width, channels]`. */
export interface ImageBytes {
  pixels: Uint8Array;
  height: number;
  width: number;
  channels: number;
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Keys' cubic with a = -0.5. */
function cubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

const KERNELS: Readonly<Record<ResamplingFilter, { support: number; at(x: number): number }>> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, at: cubic },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Each output is the weighted sum of `count[i]` inputs from `first[i]` on; its weights begin at `i · width`. */
export interface ResamplingWeights {
  first: Int32Array;
  count: Int32Array;
  /** They sum to 1. */
  weights: Float64Array;
  /** Weights reserved for each output. */
  width: number;
}

/** Weights along one axis from `from` to `to` pixels; wider than the kernel where the image shrinks, against aliasing. */
export function resamplingWeights(from: number, to: number, filter: ResamplingFilter): ResamplingWeights {
  const { support, at } = KERNELS[filter];
  const scale = from / to;
  const stretch = Math.max(1, scale);
  const reach = support * stretch;
  const width = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Float64Array(to * width);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    let sum = 0;
    for (let k = begin; k < end; k++) sum += weights[i * width + k - begin] = at((k - centre + 0.5) * (1 / stretch));
    if (sum !== 0) for (let k = 0; k < end - begin; k++) weights[i * width + k]! /= sum;
    first[i] = begin;
    count[i] = end - begin;
  }
  return { first, count, weights, width };
}

/** Bits behind the point: a byte, two bits for what lies beyond its range, and the sign are left of 32. */
const PRECISION = 32 - 8 - 2;

/** Rounded half away from zero. */
const fixedPoint = (weights: Float64Array) =>
  Int32Array.from(weights, (weight) => Math.trunc(weight * 2 ** PRECISION + (weight < 0 ? -0.5 : 0.5)));

/** The axis in the middle of `[outer, from, inner]` to `to`. */
function alongAxis(pixels: Uint8Array, outer: number, from: number, inner: number, to: number, filter: ResamplingFilter): Uint8Array {
  const { first, count, weights, width } = resamplingWeights(from, to, filter);
  const fixed = fixedPoint(weights);
  const out = new Uint8Array(outer * to * inner);
  for (let o = 0, at = 0; o < outer; o++)
    for (let i = 0; i < to; i++) {
      const start = (o * from + first[i]!) * inner;
      const terms = count[i]!;
      for (let c = 0; c < inner; c++, at++) {
        let sum = 1 << (PRECISION - 1);
        for (let k = 0, read = start + c; k < terms; k++, read += inner) sum = (sum + pixels[read]! * fixed[i * width + k]!) | 0;
        const value = sum >> PRECISION;
        out[at] = value < 0 ? 0 : value > 255 ? 255 : value;
      }
    }
  return out;
}

/**
 * Resizes an image to exactly `width` by `height` pixels, as Pillow's `Image.resize` with that filter.
 *
 * Each channel by itself: alpha is a channel like any other. Throws {@link ArgumentError} `E_SHAPE` for sizes below 1 and bytes that
 * do not fit the shape.
 */
export function resizeImage(image: ImageBytes, width: number, height: number, filter: ResamplingFilter): ImageBytes {
  const { pixels, channels } = image;
  if (pixels.length !== image.width * image.height * channels || pixels.length === 0 || !(width >= 1) || !(height >= 1))
    throw new ArgumentError(
      'E_SHAPE',
      `resizeImage: expected bytes of [${image.height}, ${image.width}, ${channels}] and a size of 1 or more, got ${pixels.length} bytes and ${width} x ${height}`,
    );
  const wide = width === image.width ? pixels : alongAxis(pixels, image.height, image.width, channels, width, filter);
  const made = height === image.height ? wide : alongAxis(wide, 1, image.height, width * channels, height, filter);
  return { pixels: made === pixels ? pixels.slice() : made, height, width, channels };
}
