/**
 * Images of a teacher by its own sampler, by image number as a student's are.
 */
import { z } from 'zod';
import { parseOptions } from '../core/options.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { sampleHeun } from '../models/samplers/edm.js';
import { makeNumberedImages, numberedImages, type GeneratedImages, type LatentSampler } from './numbered-images.js';

const schema = numberedImages.extend({
  /** Steps of the Heun sampler: 2 * steps - 1 evaluations. */
  steps: z.number().int().positive().default(18),
});

/** Options of `teacherImages`. @interface */
export type TeacherImagesOptions = z.input<typeof schema>;

/** EDM's deterministic sampler of `steps` steps. */
export const teacherSampler =
  (backbone: Backbone, steps: number): LatentSampler =>
  ({ latents, classLabels }) =>
    sampleHeun(backbone, latents, { steps, inputs: { classLabels } });

/** Images by EDM's deterministic sampler. Throws `E_CONFIG` for wrong options. */
export function teacherImages(backbone: Backbone, options: TeacherImagesOptions): GeneratedImages {
  const { steps, ...numbered } = parseOptions(schema, options, 'teacherImages');
  return makeNumberedImages(backbone, numbered, teacherSampler(backbone, steps));
}
