/**
 * The random numbers of an augmentation: a fixed number for each image, drawn on the host from the run's random source.
 */
import type { AugmentationInputs } from '../../core/contracts/augmentation.js';

/** The share of one image, taken number by number. */
export interface ImageDraws {
  /** In [0, 1). */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
}

/**
 * One share of `uniforms` and `normals` numbers for each of `batch` images.
 *
 * The numbers of an image depend on its place in the run alone: not on the size of micro-batches, nor on probabilities.
 */
export function imageDraws({ random, on }: AugmentationInputs, batch: number, uniforms: number, normals: number): ImageDraws[] {
  const flat = random.stream(`augmentation/${on}/uniform`).uniform(batch * uniforms);
  const gaussian = random.stream(`augmentation/${on}/normal`).normal(batch * normals);
  return Array.from({ length: batch }, (_, image) => {
    let [u, n] = [image * uniforms, image * normals];
    return { uniform: () => flat[u++]!, normal: () => gaussian[n++]! };
  });
}
