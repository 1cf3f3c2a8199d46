/**
 * The augmentation pipe of StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676, appendix B) in EDM's form, with labels
 * (Karras et al. 2022, arXiv 2206.00364, appendix F.2): transforms that do not leak into what is generated, each with a probability.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { AdjustableAugmentation, AugmentationInputs, LabelledAugmentation } from '../../core/contracts/augmentation.js';
import { ArgumentError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { imageDraws } from './draws.js';
import { identity, multiply, type Matrix } from './matrices.js';
import { transformNames, transforms, type TransformEffect, type TransformName } from './transforms.js';
import { blit, mapColours, onSome, warp } from './warp.js';

const multiplier = z.number().min(0).default(0);
const strength = (value: number) => z.number().min(0).default(value);

const schema = z.strictObject({
  /** Multiplies every transform's own multiplier; together, at least 1 is always. */
  probability: z.number().min(0).default(1),

  /** Multiplier: half of the images are mirrored. */
  xflip: multiplier,
  /** Multiplier: half of the images are put upside down. */
  yflip: multiplier,
  /** Multiplier: turned by 0 to 3 quarters; of square images. */
  rotateInt: multiplier,
  /** Multiplier: moved by whole pixels, uniformly; what lies outside is the mirror image. */
  translateInt: multiplier,
  /** The furthest move, as a part of the size. */
  translateIntMax: z.number().min(0).max(1).default(0.125),

  /** Multiplier: scaled by 2^N(0, scaleStd^2). */
  scale: multiplier,
  scaleStd: strength(0.2),
  /** Multiplier: turned by an angle, uniform up to `rotateFracMax` half-turns either way. */
  rotateFrac: multiplier,
  rotateFracMax: strength(1),
  /** Multiplier: scaled by s = 2^N(0, anisoStd^2) along a direction and by 1/s across it. */
  aniso: multiplier,
  anisoStd: strength(0.2),
  /** Probability that the direction is any; else it is the x axis. */
  anisoRotateProb: z.number().min(0).max(1).default(0.5),
  /** Multiplier: moved by N(0, translateFracStd^2) times the size on each axis. */
  translateFrac: multiplier,
  translateFracStd: strength(0.125),

  /** Multiplier: N(0, brightnessStd^2) is added. */
  brightness: multiplier,
  brightnessStd: strength(0.2),
  /** Multiplier: multiplied by 2^N(0, contrastStd^2). */
  contrast: multiplier,
  contrastStd: strength(0.5),
  /** Multiplier: for half of the images light and dark change places, hue stays. */
  lumaflip: multiplier,
  /** Multiplier: colours are turned about grey by an angle, uniform up to `hueMax` half-turns either way. */
  hue: multiplier,
  hueMax: strength(1),
  /** Multiplier: the distance from grey is multiplied by 2^N(0, saturationStd^2). */
  saturation: multiplier,
  saturationStd: strength(1),
});

/**
 * Options of `augmentationPipe`: a multiplier of the probability for each transform, default 0, and how far each goes.
 *
 * @interface
 */
export type AugmentationPipeOptions = z.input<typeof schema>;

/** What EDM's teachers were trained with: labels of nine values, mirrored half of the time whatever the probability; FFHQ and AFHQv2: 0.15. */
export const edmTransforms = { probability: 0.12, xflip: 1e8, yflip: 1, scale: 1, rotateFrac: 1, aniso: 1, translateFrac: 1 } as const;

/** ADA's twelve transforms of pixels, geometry and colour (`bgc`), to be given a probability. */
export const adaTransforms = {
  xflip: 1,
  rotateInt: 1,
  translateInt: 1,
  scale: 1,
  rotateFrac: 1,
  aniso: 1,
  translateFrac: 1,
  brightness: 1,
  contrast: 1,
  lumaflip: 1,
  hue: 1,
  saturation: 1,
} as const;

/**
 * The pipe with the given transforms.
 *
 * ```ts
 * augmentationPipe(edmTransforms);
 * augmentationPipe({ ...adaTransforms, probability: 0.3 });
 * ```
 *
 * @throws ConfigError for wrong or unknown options.
 */
export const augmentationPipe = (options: AugmentationPipeOptions): AugmentationPipe => new AugmentationPipe(options);

/** Images `[B, H, W, C]` with C of 1 or 3 where colours are changed, square where they are turned by quarters; else `E_SHAPE`. */
export class AugmentationPipe implements AdjustableAugmentation, LabelledAugmentation {
  readonly name = 'augmentation pipe';
  readonly description: { part: string; options: z.output<typeof schema> };
  /** The transforms that may take place, in order. */
  readonly transforms: readonly TransformName[];
  readonly labelDimension: number;
  readonly probability: number;

  constructor(options: AugmentationPipeOptions) {
    const resolved = parseOptions(schema, options, 'augmentationPipe');
    this.description = { part: 'augmentationPipe', options: resolved };
    this.probability = resolved.probability;
    this.transforms = transformNames.filter((name) => resolved[name] > 0);
    this.labelDimension = this.transforms.reduce((sum, name) => sum + transforms[name].labels, 0);
  }

  apply(images: tf.Tensor4D, inputs: AugmentationInputs): tf.Tensor4D {
    return this.#transform(images, this.#draw(images, inputs));
  }

  applyWithLabels(images: tf.Tensor4D, inputs: AugmentationInputs): { images: tf.Tensor4D; labels: tf.Tensor2D } {
    const effects = this.#draw(images, inputs);
    const labels = effects.flatMap((image) =>
      this.transforms.flatMap((name) => image[name]?.label ?? Array.from({ length: transforms[name].labels }, () => 0)),
    );
    return { images: this.#transform(images, effects), labels: tf.tensor2d(labels, [effects.length, this.labelDimension]) };
  }

  /** For each image what takes place. */
  #draw({ shape }: tf.Tensor4D, inputs: AugmentationInputs): Partial<Record<TransformName, TransformEffect>>[] {
    const [batch, height, width, channels] = shape;
    const { options } = this.description;
    const uses = (kind: string) => this.transforms.some((name) => transforms[name].kind === kind);
    if (uses('colour') && channels !== 1 && channels !== 3)
      throw new ArgumentError('E_SHAPE', `augmentation pipe: expected images of 1 or 3 channels, got ${channels}`, {
        help: 'leave out the transforms of colour',
      });
    if (options.rotateInt > 0 && height !== width)
      throw new ArgumentError('E_SHAPE', `augmentation pipe: expected square images, got ${height}x${width}`, {
        help: 'leave out rotateInt',
      });
    const total = (count: 'uniforms' | 'normals') => this.transforms.reduce((sum, name) => sum + transforms[name][count], 0);
    const probability = inputs.probability ?? this.probability;
    return imageDraws(inputs, batch, this.transforms.length + total('uniforms'), total('normals')).map((draws) => {
      const image: Partial<Record<TransformName, TransformEffect>> = {};
      for (const name of this.transforms) {
        const takesPlace = draws.uniform() < options[name] * probability;
        const effect = transforms[name].draw(draws, options, [height, width]);
        if (takesPlace) image[name] = effect;
      }
      return image;
    });
  }

  #transform(images: tf.Tensor4D, effects: readonly Partial<Record<TransformName, TransformEffect>>[]): tf.Tensor4D {
    const kind = (which: string, size: number, apply: (some: tf.Tensor4D, matrices: Matrix[]) => tf.Tensor4D) => (x: tf.Tensor4D) => {
      const unit = identity(size);
      const names = this.transforms.filter((name) => transforms[name].kind === which);
      // A map says where an output comes from, so the last transform's is applied first; colours are mapped forwards.
      const order = (a: Matrix, b: Matrix) => (which === 'colour' ? multiply(b, a) : multiply(a, b));
      const matrices = effects.map((image) =>
        names.reduce((product, name) => (image[name] ? order(product, image[name].matrix) : product), unit),
      );
      const chosen = matrices.flatMap((matrix, image) => (matrix.flat().every((value, i) => value === unit.flat()[i]) ? [] : [image]));
      return onSome(x, chosen, (some) =>
        apply(
          some,
          chosen.map((image) => matrices[image]!),
        ),
      );
    };
    const steps = [kind('pixels', 3, blit), kind('geometry', 3, warp), kind('colour', 4, mapColours)];
    return tf.tidy(() => {
      const result = steps.reduce((x, step) => step(x), images);
      return result === images ? tf.clone(images) : result;
    });
  }
}
