/**
 * DiffAugment (Zhao et al. 2020, arXiv 2006.10738): every image is changed, real and generated alike.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { Augmentation, AugmentationInputs } from '../../core/contracts/augmentation.js';
import { affineSample } from '../../core/autodiff/index.js';
import { parseOptions } from '../../core/options.js';
import { imageDraws, type ImageDraws } from './draws.js';

const policies = ['color', 'translation', 'cutout'] as const;

const schema = z.strictObject({
  /** Applied in this order. */
  policy: z
    .array(z.enum(policies))
    .refine((names) => new Set(names).size === names.length, 'each once')
    .default([...policies]),
  /** The furthest translation, as a part of the size. */
  translationRatio: z.number().min(0).max(1).default(0.125),
  /** Side of the square that is cut out, as a part of the size. */
  cutoutRatio: z.number().min(0).max(1).default(0.5),
});

/**
 * Options of `diffAugment`.
 *
 * @interface
 */
export type DiffAugmentOptions = z.input<typeof schema>;

/** Of each image: brightness, saturation and contrast; two of translation; two of cutout. */
const UNIFORMS = { color: 3, translation: 2, cutout: 2 } as const;

type Settings = z.output<typeof schema>;
type Step = (images: tf.Tensor4D, draws: readonly ImageDraws[], settings: Settings) => tf.Tensor4D;

const perImage = (values: readonly number[]) => tf.tensor4d([...values], [values.length, 1, 1, 1]);

/** Moves away from `mean` by a factor an image. */
const spread = (x: tf.Tensor4D, mean: tf.Tensor, factors: readonly number[]): tf.Tensor4D =>
  tf.add(tf.mul(tf.sub(x, mean), perImage(factors)), mean);

/** Brightness + U(-1/2, 1/2); the distance from each pixel's mean over the channels times U(0, 2); that from the image's mean times U(1/2, 3/2). */
const color: Step = (images, draws) => {
  const [brightness, saturation, contrast] = [[], [], []] as [number[], number[], number[]];
  for (const { uniform } of draws) {
    brightness.push(uniform() - 0.5);
    saturation.push(2 * uniform());
    contrast.push(uniform() + 0.5);
  }
  const brighter = tf.add(images, perImage(brightness)) as tf.Tensor4D;
  const saturated = spread(brighter, tf.mean(brighter, 3, true), saturation);
  return spread(saturated, tf.mean(saturated, [1, 2, 3], true), contrast);
};

const part = (size: number, ratio: number) => Math.floor(size * ratio + 0.5);

/** By whole pixels on each axis, uniformly; 0 comes in from outside. */
const translate: Step = (images, draws, { translationRatio }) => {
  const [, height, width] = images.shape;
  const maps = draws.map(({ uniform }) => {
    const [down, right] = [height, width].map((size) => {
      const reach = part(size, translationRatio);
      return Math.floor(uniform() * (2 * reach + 1)) - reach;
    }) as [number, number];
    return [1, 0, -right, 0, 1, -down];
  });
  return affineSample(images, maps, height, width);
};

/** Makes a rectangle 0 whose centre is any pixel. */
const cutout: Step = (images, draws, { cutoutRatio }) => {
  const [batch, height, width] = images.shape;
  const mask = new Float32Array(batch * height * width).fill(1);
  draws.forEach(({ uniform }, image) => {
    const [rows, columns] = [height, width].map((size) => {
      const length = part(size, cutoutRatio);
      const first = Math.floor(uniform() * (size + 1 - (length % 2))) - Math.floor(length / 2);
      return [Math.max(0, first), Math.min(size, first + length)];
    }) as [[number, number], [number, number]];
    for (let row = rows[0]; row < rows[1]; row++)
      mask.fill(0, (image * height + row) * width + columns[0], (image * height + row) * width + Math.max(columns[0], columns[1]));
  });
  return tf.mul(images, tf.tensor4d(mask, [batch, height, width, 1]));
};

const steps: Readonly<Record<(typeof policies)[number], Step>> = { color, translation: translate, cutout };

/** Colour, translation and cutout; of the three any, in any order. Throws `E_CONFIG` for wrong or unknown options. */
export const diffAugment = (options: DiffAugmentOptions = {}): Augmentation => new DiffAugment(options);

/** See {@link diffAugment}. */
export class DiffAugment implements Augmentation {
  readonly name = 'DiffAugment';
  readonly description: { part: string; options: Settings };

  constructor(options: DiffAugmentOptions = {}) {
    this.description = { part: 'diffAugment', options: parseOptions(schema, options, 'diffAugment') };
  }

  apply(images: tf.Tensor4D, inputs: AugmentationInputs): tf.Tensor4D {
    const { options } = this.description;
    const uniforms = options.policy.reduce((sum, name) => sum + UNIFORMS[name], 0);
    return tf.tidy(() => {
      const draws = imageDraws(inputs, images.shape[0], uniforms, 0);
      const result = options.policy.reduce((x, name) => steps[name](x, draws, options), images);
      return result === images ? tf.clone(images) : result;
    });
  }
}
