/**
 * Images of a teacher by its own sampler, by image number as a student's are.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { parseOptions } from '../core/options.js';
import { oneHot, toUint8 } from '../data/images.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { sampleHeun } from '../models/samplers/edm.js';
import { imageAt, labelsOf } from './latents.js';
import type { GeneratedImages } from './student.js';

const schema = z.strictObject({
  count: z.number().int().positive(),
  seed: z.number().int().min(0).default(0),
  first: z.number().int().min(0).default(0),
  classes: z.union([z.number().int().min(0), z.array(z.number().int().min(0))]).optional(),
  batchSize: z.number().int().positive().default(64),
  /** Steps of the Heun sampler: 2 * steps - 1 evaluations. */
  steps: z.number().int().positive().default(18),
  /** Images done so far, after each batch. */
  onProgress: z.custom<(done: number, count: number) => void>().optional(),
});

/**
 * Options of `teacherImages`.
 *
 * @interface
 */
export type TeacherImagesOptions = z.input<typeof schema>;

/** Images by EDM's deterministic sampler. Throws `E_CONFIG` for wrong options. */
export function teacherImages(backbone: Backbone, options: TeacherImagesOptions): GeneratedImages {
  const { count, seed, first, classes, batchSize, steps, onProgress } = parseOptions(schema, options, 'teacherImages');
  const { img_resolution: size, img_channels: channels, label_dim } = backbone.config;
  const images = new Uint8Array(count * size * size * channels);
  const labels = labelsOf(label_dim, count, first, classes);
  for (let at = 0; at < count; at += batchSize) {
    const length = Math.min(batchSize, count - at);
    const bytes = tf.tidy(() => {
      const latents = imageAt(seed, first + at, [length, size, size, channels]);
      const classLabels = labels && tf.tensor2d(oneHot(labels.subarray(at, at + length), label_dim), [length, label_dim]);
      return toUint8(sampleHeun(backbone, latents, { steps, inputs: { classLabels } }).dataSync<'float32'>());
    });
    images.set(bytes, at * size * size * channels);
    onProgress?.(at + length, count);
  }
  return { images, shape: [count, size, size, channels], labels };
}
