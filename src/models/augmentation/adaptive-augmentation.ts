/**
 * Adaptive discriminator augmentation: the probability follows how far the discriminator overfits (Karras et al. 2020,
 * arXiv 2006.06676, section 3).
 */
import type * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { describeProvided, type Part } from '../../core/container.js';
import type {
  AdjustableAugmentation,
  Augmentation,
  AugmentationInputs,
  DiscriminatorObservation,
} from '../../core/contracts/augmentation.js';
import type { Checkpointable } from '../../core/contracts/training.js';
import { parseOptions } from '../../core/options.js';

const schema = z.strictObject({
  /** r_t = E[sign(D(real))] that the probability is steered to. */
  target: z.number().min(-1).max(1).default(0.6),
  /** Thousands of images in which the probability can go from 0 to 1. */
  kimg: z.number().positive().default(500),
  /** Iterations between two adjustments, by the mean of r_t over them. */
  every: z.number().int().positive().default(4),
  /** Where the probability starts. */
  initial: z.number().min(0).default(0),
  /** Where it ends. */
  maximum: z.number().positive().default(1),
});

/**
 * Options of `adaptiveAugmentation`.
 *
 * @interface
 */
export type AdaptiveAugmentationOptions = z.input<typeof schema>;

/**
 * `augmentation` with a probability that rises while the discriminator is too sure of real images and falls otherwise.
 *
 * Step events report it as `augmentProbability`. Its own `probability` is not used. Throws `E_CONFIG` for wrong or unknown options.
 *
 * ```ts
 * distributional({ discriminator, augment: adaptiveAugmentation(augmentationPipe(adaTransforms)) });
 * ```
 */
export function adaptiveAugmentation(augmentation: AdjustableAugmentation, options: AdaptiveAugmentationOptions = {}): Part<Augmentation> {
  const resolved = parseOptions(schema, options, 'adaptiveAugmentation');
  return {
    description: { part: 'adaptiveAugmentation', options: { ...resolved, augmentation: describeProvided(augmentation) } },
    build: () => new AdaptiveAugmentation(augmentation, resolved),
  };
}

const stateSchema = z.strictObject({ probability: z.number().min(0), sum: z.number(), count: z.number().int().min(0) });

/** See {@link adaptiveAugmentation}. */
export class AdaptiveAugmentation implements AdjustableAugmentation {
  readonly name: string;
  /** Probability, and the sum and number of r_t since the last adjustment. */
  #state: z.output<typeof stateSchema>;
  readonly checkpoint: Checkpointable;
  readonly #options: z.output<typeof schema>;

  constructor(
    readonly augmentation: AdjustableAugmentation,
    options: AdaptiveAugmentationOptions = {},
  ) {
    this.#options = parseOptions(schema, options, 'adaptiveAugmentation');
    this.name = `adaptive ${augmentation.name}`;
    this.#state = { probability: this.#options.initial, sum: 0, count: 0 };
    this.checkpoint = {
      saveState: () => ({ json: { ...this.#state }, tensors: [] }),
      restoreState: ({ json }) => {
        this.#state = parseOptions(stateSchema, json as z.input<typeof stateSchema>, 'checkpoint: augmentation');
      },
    };
  }

  get probability(): number {
    return this.#state.probability;
  }

  apply(images: tf.Tensor4D, inputs: AugmentationInputs): tf.Tensor4D {
    return this.augmentation.apply(images, { ...inputs, probability: this.probability });
  }

  observe({ batchSize, realSign }: DiscriminatorObservation): Record<string, number> {
    const { target, kimg, every, maximum } = this.#options;
    let { probability, sum, count } = this.#state;
    sum += realSign;
    count++;
    if (count === every) {
      const change = (Math.sign(sum / count - target) * batchSize * every) / (kimg * 1000);
      probability = Math.min(maximum, Math.max(0, probability + change));
      [sum, count] = [0, 0];
    }
    this.#state = { probability, sum, count };
    return { augmentProbability: probability };
  }
}
