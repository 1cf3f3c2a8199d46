/**
 * Students: one-step generators, freshly distilled or loaded again.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { parseOptions } from '../core/options.js';
import { oneHot, toUint8 } from '../data/images.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { safetensorsTeacher, saveBackbone, type SafetensorsTeacherOptions } from '../models/teachers/safetensors-teacher.js';
import { sampleFewSteps } from '../models/samplers/edm.js';
import { SIGMA_MAX } from '../models/preconditioning.js';
import { imageAt, labelsOf } from './latents.js';

const generateOptions = z.strictObject({
  /** Number of images. */
  count: z.number().int().positive(),
  /** Image i has the latent of `seed` and `first + i`, whatever the batch size. */
  seed: z.number().int().min(0).default(0),
  first: z.number().int().min(0).default(0),
  /** Class of each image, or one for all; undefined: image i of class i mod classes. */
  classes: z.union([z.number().int().min(0), z.array(z.number().int().min(0))]).optional(),
  /** Images evaluated together. */
  batchSize: z.number().int().positive().default(64),
  /** Noise levels; the default is one step from pure noise. */
  sigmas: z.array(z.number().positive()).min(1).default([SIGMA_MAX]),
});

/**
 * Options of `Student.generate`.
 *
 * @interface
 */
export type GenerateOptions = z.input<typeof generateOptions>;

/** Images as stored: `[B, H, W, C]` uint8. */
export interface GeneratedImages {
  images: Uint8Array;
  shape: [number, number, number, number];
  /** One class index an image, where the network is conditional. */
  labels: Uint32Array | undefined;
}

/** A generator of one network evaluation an image. Dispose it when done. */
export class Student {
  constructor(
    readonly name: string,
    readonly backbone: Backbone,
  ) {}

  /** Makes images. Throws `E_CONFIG` for wrong options. */
  generate(options: GenerateOptions): GeneratedImages {
    const { count, seed, first, classes, batchSize, sigmas } = parseOptions(generateOptions, options, 'generate');
    const { img_resolution: size, img_channels: channels, label_dim } = this.backbone.config;
    const images = new Uint8Array(count * size * size * channels);
    const labels = labelsOf(label_dim, count, first, classes);
    for (let at = 0; at < count; at += batchSize) {
      const length = Math.min(batchSize, count - at);
      const bytes = tf.tidy(() => {
        const latents = imageAt(seed, first + at, [length, size, size, channels]);
        const classLabels = labels && tf.tensor2d(oneHot(labels.subarray(at, at + length), label_dim), [length, label_dim]);
        const noise = (step: number) => imageAt(seed, first + at, [length, size, size, channels], step);
        return toUint8(sampleFewSteps(this.backbone, latents, { sigmas, inputs: { classLabels }, noise }).dataSync<'float32'>());
      });
      images.set(bytes, at * size * size * channels);
    }
    return { images, shape: [count, size, size, channels], labels };
  }

  /** Writes the weights as safetensors under the published names and in PyTorch's layout. */
  async save(path: string): Promise<void> {
    await saveBackbone(path, this.backbone, { metadata: { onestep: 'student' } });
  }

  dispose(): void {
    this.backbone.dispose();
  }
}

/** Loads a student that `save()`, a snapshot or the reference implementation wrote. Throws as `safetensorsTeacher`. */
export async function loadStudent(path: string, options?: SafetensorsTeacherOptions): Promise<Student> {
  const { name, backbone } = await safetensorsTeacher(path, options).load();
  return new Student(name, backbone);
}
