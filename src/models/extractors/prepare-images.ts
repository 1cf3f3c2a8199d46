/**
 * What every extractor does to images before its network: colour, crop, scale.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ImageShape } from '../../core/contracts/metric.js';
import { ArgumentError } from '../../core/errors.js';
import { resizeFloatChannels, resizeImage } from '../../core/pillow/index.js';

/** Images of three channels with their shape. */
export interface ColourImages {
  readonly images: Uint8Array;
  readonly shape: ImageShape;
}

/**
 * `images` with three channels: one channel is repeated, as EDM's evaluation does.
 *
 * Throws `E_SHAPE` for other channels, sizes of 0 and for values that are not as many as the shape says.
 */
export function colourImages(name: string, images: Uint8Array, shape: ImageShape): ColourImages {
  const [batch, height, width, channels] = shape;
  const count = batch * height * width;
  const fail = (expected: string, help: string) =>
    new ArgumentError('E_SHAPE', `${name}: expected ${expected}, got ${images.length} values as [${shape.join(', ')}]`, { help });
  if ((channels !== 3 && channels !== 1) || height < 1 || width < 1)
    throw fail('images [B, H, W, 3] or [B, H, W, 1]', 'the network was trained on colour photographs; leave out an alpha channel');
  if (images.length !== count * channels) throw fail('as many values as the shape has', 'give the shape as [B, H, W, C]');
  if (channels === 3) return { images, shape };
  const colour = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) colour.fill(images[i]!, 3 * i, 3 * i + 3);
  return { images: colour, shape: [batch, height, width, 3] };
}

/** Rounded to the nearest integer, halves to the even one, as Python does. */
const roundHalfEven = (x: number): number => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Each image of `[B, H, W, C]` through Pillow's bicubic with antialiasing, on bytes: `[B, height, width, C]`. */
export function resizeBytes(images: Uint8Array, [batch, height, width, channels]: ImageShape, to: readonly [number, number]): Uint8Array {
  const size = height * width * channels;
  const result = new Uint8Array(batch * to[0] * to[1] * channels);
  for (let b = 0; b < batch; b++) {
    const image = { pixels: images.subarray(b * size, (b + 1) * size), height, width, channels };
    result.set(resizeImage(image, to[1], to[0], 'bicubic').pixels, (b * result.length) / batch);
  }
  return result;
}

/** As `resizeBytes`, in float32, clipped to [0, 255] at the end: the "clean" resizing. */
export function resizeClean(images: Uint8Array, [batch, height, width, channels]: ImageShape, to: readonly [number, number]): Float32Array {
  const size = height * width * channels;
  const result = new Float32Array(batch * to[0] * to[1] * channels);
  for (let b = 0; b < batch; b++) {
    const image = { pixels: images.subarray(b * size, (b + 1) * size), height, width, channels };
    result.set(resizeFloatChannels(image, to[1], to[0], 'bicubic'), (b * result.length) / batch);
  }
  for (let i = 0; i < result.length; i++) result[i] = Math.min(255, Math.max(0, result[i]!));
  return result;
}

/** Height and width whose shorter side is `size`: the longer one is cut to whole pixels, as torchvision does. */
export function shorterSideSize([, height, width]: ImageShape, size: number): [number, number] {
  const longer = Math.trunc((size * Math.max(height, width)) / Math.min(height, width));
  return height <= width ? [size, longer] : [longer, size];
}

/** The `[B, size, size, C]` in the middle of `images` `[B, H, W, C]`, where torchvision's `CenterCrop` puts it. */
export function centreCrop(images: Uint8Array, [batch, height, width, channels]: ImageShape, size: number): Uint8Array {
  if (height === size && width === size) return images;
  const [top, left] = [roundHalfEven((height - size) / 2), roundHalfEven((width - size) / 2)];
  const row = size * channels;
  const cropped = new Uint8Array(batch * size * row);
  for (let image = 0; image < batch; image++)
    for (let y = 0; y < size; y++) {
      const from = ((image * height + top + y) * width + left) * channels;
      cropped.set(images.subarray(from, from + row), (image * size + y) * row);
    }
  return cropped;
}

/** `[B, size, size, 3]` of values in [0, 255] as float32: x / 255, less the mean, over the deviation of each channel. */
export function normalized(
  pixels: Uint8Array,
  batch: number,
  size: number,
  { mean, std }: { readonly mean: readonly number[]; readonly std: readonly number[] },
): tf.Tensor4D {
  const scale = std.map((deviation) => 1 / (255 * deviation));
  const shift = mean.map((centre, c) => -centre / std[c]!);
  const values = new Float32Array(pixels.length);
  for (let i = 0; i < values.length; i += 3) for (let c = 0; c < 3; c++) values[i + c] = pixels[i + c]! * scale[c]! + shift[c]!;
  return tf.tensor4d(values, [batch, size, size, 3]);
}
