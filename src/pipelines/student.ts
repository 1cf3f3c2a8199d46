/**
 * Students: one-step generators, freshly distilled or loaded again.
 */
import { z } from 'zod';
import { parseOptions } from '../core/options.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { safetensorsTeacher, saveBackbone, type SafetensorsTeacherOptions } from '../models/teachers/safetensors-teacher.js';
import { sampleFewSteps } from '../models/samplers/edm.js';
import { SIGMA_MAX } from '../models/preconditioning.js';
import { makeNumberedImages, numberedImages, type GeneratedImages, type LatentSampler } from './numbered-images.js';

const generateOptions = numberedImages.extend({
  /** Noise levels; the default is one step from pure noise. */
  sigmas: z.array(z.number().positive()).min(1).default([SIGMA_MAX]),
});

/** Options of `Student.generate`. @interface */
export type GenerateOptions = z.input<typeof generateOptions>;

/** One step, or a few, down the noise levels `sigmas`. */
export const studentSampler =
  (backbone: Backbone, sigmas: readonly number[] = [SIGMA_MAX]): LatentSampler =>
  ({ latents, classLabels, noise }) =>
    sampleFewSteps(backbone, latents, { sigmas, inputs: { classLabels }, noise });

/** A generator of one network evaluation an image. Dispose it when done. */
export class Student {
  constructor(
    readonly name: string,
    readonly backbone: Backbone,
  ) {}

  /** Makes images. Throws `E_CONFIG` for wrong options. */
  generate(options: GenerateOptions): GeneratedImages {
    const { sigmas, ...numbered } = parseOptions(generateOptions, options, 'generate');
    return makeNumberedImages(this.backbone, numbered, studentSampler(this.backbone, sigmas));
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
