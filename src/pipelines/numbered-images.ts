/**
 * Images by number: image i has the same latent and class whatever batch it is made in.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { ConfigError } from '../core/errors.js';
import { normalAt } from '../core/random.js';
import { oneHot, toUint8 } from '../data/images.js';
import type { Backbone } from '../models/backbones/backbone.js';

/** Options that every way to make images shares. */
export const numberedImages = z.strictObject({
  /** Number of images. */
  count: z.number().int().positive(),
  /** Image i has the latent of `seed` and `first + i`, whatever the batch size. */
  seed: z.number().int().min(0).default(0),
  first: z.number().int().min(0).default(0),
  /** Class of each image, or one for all; undefined: image i of class i mod classes. */
  classes: z.union([z.number().int().min(0), z.array(z.number().int().min(0))]).optional(),
  /** Images evaluated together. */
  batchSize: z.number().int().positive().default(64),
  /** Images done so far, after each batch. */
  onProgress: z.custom<(done: number, count: number) => void>((value) => typeof value === 'function').optional(),
});

/** Images as stored: `[B, H, W, C]` uint8. */
export interface GeneratedImages {
  images: Uint8Array;
  shape: [number, number, number, number];
  /** One class index an image, where the network is conditional. */
  labels: Uint32Array | undefined;
}

/** What a sampler gets: latents `[B, H, W, C]`, labels, and noise of the latents' shape for later steps. */
export interface NumberedLatents {
  latents: tf.Tensor4D;
  classLabels: tf.Tensor2D | undefined;
  noise(step: number): tf.Tensor4D;
}

/** Images in about [-1, 1] of latents. */
export type LatentSampler = (inputs: NumberedLatents) => tf.Tensor4D;

/** Makes images batch by batch. Throws `E_CONFIG` for classes that do not exist. */
export function makeNumberedImages(
  { config }: Backbone,
  { count, seed, first, classes, batchSize, onProgress }: z.output<typeof numberedImages>,
  sample: LatentSampler,
): GeneratedImages {
  const { img_resolution: size, img_channels: channels, label_dim } = config;
  const stride = size * size * channels;
  const images = new Uint8Array(count * stride);
  const labels = labelsOf(label_dim, count, first, classes);
  for (let at = 0; at < count; at += batchSize) {
    const length = Math.min(batchSize, count - at);
    const bytes = tf.tidy(() => {
      const noise = (step: number) => latentsAt(seed, first + at, [length, size, size, channels], step);
      const classLabels = labels && tf.tensor2d(oneHot(labels.subarray(at, at + length), label_dim), [length, label_dim]);
      return toUint8(sample({ latents: noise(0), classLabels, noise }).dataSync<'float32'>());
    });
    images.set(bytes, at * stride);
    onProgress?.(at + length, count);
  }
  return { images, shape: [count, size, size, channels], labels };
}

/** A picture of the way between latents: row r leads from image `2 r` to image `2 r + 1` of `seed`. */
export interface InterpolationOptions {
  seed: number;
  rows: number;
  /** Images in a row, both ends included; two or more. */
  columns: number;
  /** Images evaluated together. */
  batchSize: number;
}

/**
 * Images along great circles between two latents each, row by row, all of a row of its first image's class; noise of later steps is that of
 * the row's first image.
 */
export function makeInterpolations(
  { config }: Backbone,
  { seed, rows, columns, batchSize }: InterpolationOptions,
  sample: LatentSampler,
): GeneratedImages {
  const { img_resolution: size, img_channels: channels, label_dim } = config;
  const stride = size * size * channels;
  const count = rows * columns;
  const images = new Uint8Array(count * stride);
  const labels = label_dim === 0 ? undefined : Uint32Array.from({ length: count }, (_, i) => (2 * Math.floor(i / columns)) % label_dim);
  for (let at = 0; at < count; at += batchSize) {
    const length = Math.min(batchSize, count - at);
    const latents = (step: number) => {
      const values = new Float32Array(length * stride);
      for (let b = 0; b < length; b++) {
        const [row, column] = [Math.floor((at + b) / columns), (at + b) % columns];
        const end = (image: number) => normalAt(seed, image, stride * (step + 1)).subarray(stride * step);
        const first = end(2 * row);
        values.set(step > 0 ? first : slerp(first, end(2 * row + 1), column / (columns - 1)), b * stride);
      }
      return tf.tensor4d(values, [length, size, size, channels]);
    };
    const bytes = tf.tidy(() => {
      const classLabels = labels && tf.tensor2d(oneHot(labels.subarray(at, at + length), label_dim), [length, label_dim]);
      return toUint8(sample({ latents: latents(0), classLabels, noise: latents }).dataSync<'float32'>());
    });
    images.set(bytes, at * stride);
  }
  return { images, shape: [count, size, size, channels], labels };
}

/**
 * Spherical linear interpolation (Shoemake 1985): (sin((1 - t) ω) a + sin(t ω) b) / sin ω with ω the angle between a and b.
 *
 * Between standard normal latents it stays standard normal, where a straight line would shrink.
 */
export function slerp(a: Float32Array, b: Float32Array, t: number): Float32Array {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(aa * bb || 1))));
  const sine = Math.sin(angle);
  // Parallel or opposite: no great circle is theirs alone.
  const [left, right] = sine < 1e-6 ? [1 - t, t] : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  return a.map((value, i) => left * value + right * b[i]!);
}

/** Standard normal `[B, H, W, C]`, row b from image number `first + b`; `step` > 0 gives the noise of a later step. */
function latentsAt(seed: number, first: number, shape: readonly [number, number, number, number], step: number): tf.Tensor4D {
  const [batch, height, width, channels] = shape;
  const size = height * width * channels;
  const values = new Float32Array(batch * size);
  for (let b = 0; b < batch; b++) values.set(normalAt(seed, first + b, size * (step + 1)).subarray(size * step), b * size);
  return tf.tensor4d(values, [batch, height, width, channels]);
}

function labelsOf(labelDim: number, count: number, first: number, classes?: number | readonly number[]): Uint32Array | undefined {
  if (labelDim === 0) {
    if (classes !== undefined) throw new ConfigError('generate', ['classes: the network is unconditional']);
    return undefined;
  }
  if (Array.isArray(classes) && classes.length !== count)
    throw new ConfigError('generate', [`classes: expected ${count} entries, got ${classes.length}`]);
  const labels = Uint32Array.from({ length: count }, (_, i) =>
    classes === undefined ? (first + i) % labelDim : typeof classes === 'number' ? classes : classes[i]!,
  );
  const wrong = labels.find((label) => label >= labelDim);
  if (wrong !== undefined) throw new ConfigError('generate', [`classes: ${wrong} is not below the ${labelDim} classes of the network`]);
  return labels;
}
