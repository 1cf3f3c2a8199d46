/**
 * Resampling as Pillow's `Image.resize` does it on each channel as an image of mode F: weights in float64, rows before columns, float32
 * between the two. What clean-fid means by "clean" (Parmar et al. 2022, arXiv 2104.11222).
 */
import { resamplingWeights, type ImageBytes, type ResamplingFilter, type ResamplingWeights } from './resampling.js';

/** The axis in the middle of `[outer, from, inner]` to as many as there are weights for. */
function alongAxis(values: Float32Array, outer: number, from: number, inner: number, weighted: ResamplingWeights): Float32Array {
  const { first, count, weights, width } = weighted;
  const to = first.length;
  const out = new Float32Array(outer * to * inner);
  for (let o = 0, at = 0; o < outer; o++)
    for (let i = 0; i < to; i++) {
      const start = (o * from + first[i]!) * inner;
      const terms = count[i]!;
      for (let c = 0; c < inner; c++, at++) {
        let sum = 0;
        for (let k = 0, read = start + c; k < terms; k++, read += inner) sum += values[read]! * weights[i * width + k]!;
        out[at] = sum;
      }
    }
  return out;
}

/**
 * `[height, width, channels]` of an image resized to exactly `width` by `height` pixels, neither rounded nor clipped: a cubic goes
 * below 0 and above 255 beside edges.
 */
export function resizeFloatChannels(image: ImageBytes, width: number, height: number, filter: ResamplingFilter): Float32Array {
  const values = Float32Array.from(image.pixels);
  const wide = alongAxis(values, image.height, image.width, image.channels, resamplingWeights(image.width, width, filter));
  return alongAxis(wide, 1, image.height, width * image.channels, resamplingWeights(image.height, height, filter));
}
