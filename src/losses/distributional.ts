/**
 * The distributional (GAN) objective of GDD: a generator is judged by whether its images as a whole look real.
 *
 * One iteration: the generator's update (made by the pipeline from `generatorLoss`), the discriminator's on fresh noise,
 * then each regularizer's, every n-th time, as an update of its own (StyleGAN2's lazy regularisation).
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { valueAndGradients } from '../core/autodiff/index.js';
import type { Augmentation } from '../core/contracts/augmentation.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { RandomSource } from '../core/contracts/random.js';
import type {
  AdversarialLoss,
  Checkpointable,
  Discriminator,
  GeneratorBatch,
  Objective,
  RealImages,
  Regularizer,
  Stage,
  StepContext,
} from '../core/contracts/training.js';
import { accumulate } from '../core/accumulate.js';
import {
  ADVERSARIAL_LOSS,
  AUGMENTATION,
  describeProvided,
  DISCRIMINATOR,
  DISCRIMINATOR_OPTIMIZER,
  GENERATE,
  inject,
  injectable,
  part,
  PART_OPTIONS,
  provide,
  REGULARIZERS,
  toldBy,
  type Part,
  type Provided,
} from '../core/container.js';
import { Adam } from '../core/optimizer.js';
import { nonSaturating } from './adversarial.js';
import { r1 } from './regularizers.js';
import { parseOptions } from '../core/options.js';
import { networkState } from '../core/network-state.js';
import type { NamedTensor } from '../core/parameter.js';

/** The names of the reductions. */
export const reductions = ['mean', 'sum'] as const;

/**
 * How one value per logit becomes a loss.
 *
 * - `mean`: over logits, images and feature networks
 * - `sum`: the mean over logits, summed over images and feature networks, as the paper's reference code does
 */
export type Reduction = (typeof reductions)[number];

/** Reduces `[B, N]` values, one tensor a feature network, to a scalar. */
export function reduceLogits(values: readonly tf.Tensor2D[], reduction: Reduction): tf.Scalar {
  const perNetwork = values.map((value) => (reduction === 'mean' ? tf.mean(value) : tf.sum(tf.mean(value, 1))));
  const sum = perNetwork.reduce((a, b) => tf.add(a, b));
  return (reduction === 'mean' ? tf.div(sum, values.length) : sum) as tf.Scalar;
}

const objectiveOptions = z.strictObject({
  reduction: z.enum(reductions).default('mean'),
  /** Regularizers see augmented images too. */
  augmentRegularizers: z.boolean().default(false),
});

/** Options of `distributional`. */
export interface DistributionalOptions extends z.input<typeof objectiveOptions> {
  discriminator: Provided<Discriminator>;
  /** Default: `nonSaturating()`. */
  adversarial?: Provided<AdversarialLoss>;
  /** Default: `[r1()]`. */
  regularizers?: readonly Regularizer[];
  /** Changes real and generated images before they are judged. Default: none, as in the paper. */
  augment?: Provided<Augmentation>;
  /** Trains the discriminator. Default: Adam with learning rate 1e-4 and the paper's betas. */
  optimizer?: Provided<Optimizer>;
}

/** Images stay as they are. */
export const noAugmentation: Augmentation = { name: 'none', apply: (images) => images };

/** The GAN objective as a part; each of its own parts can be replaced behind its token. */
export function distributional(options: DistributionalOptions): Part<Objective> {
  const {
    discriminator,
    adversarial = nonSaturating(),
    regularizers = [r1()],
    augment = noAugmentation,
    optimizer = new Adam({ learningRate: 1e-4 }),
    ...own
  } = options;
  const resolved = parseOptions(objectiveOptions, own, 'distributional');
  const description = {
    ...resolved,
    discriminator: describeProvided(discriminator),
    adversarial: describeProvided(adversarial),
    regularizers: regularizers.map(describeProvided),
    augment: describeProvided(augment),
    optimizer: describeProvided(optimizer),
  };
  const base = part('distributional', Distributional, resolved, (container) => {
    provide(container, DISCRIMINATOR, discriminator);
    provide(container, ADVERSARIAL_LOSS, adversarial);
    container.registerInstance(REGULARIZERS, regularizers);
    provide(container, AUGMENTATION, augment);
    provide(container, DISCRIMINATOR_OPTIMIZER, optimizer);
  });
  // Of finished objects only a discriminator has values that a plan could spoil.
  const told = { ...toldBy([discriminator, adversarial, augment, optimizer]), finished: toldBy([discriminator]).finished };
  return { ...base, ...told, description: { part: 'distributional', options: description } };
}

/** The GAN objective over any discriminator, adversarial loss and regularizers. */
@injectable()
export class Distributional implements Objective {
  readonly name: string;
  readonly stages: readonly Stage[];
  readonly checkpoint: Readonly<Record<string, Checkpointable>>;
  readonly #reduction: Reduction;
  readonly #augmentRegularizers: boolean;

  constructor(
    @inject(DISCRIMINATOR) readonly discriminator: Discriminator,
    @inject(ADVERSARIAL_LOSS) readonly adversarial: AdversarialLoss,
    @inject(REGULARIZERS) readonly regularizers: readonly Regularizer[],
    @inject(AUGMENTATION) readonly augmentation: Augmentation,
    @inject(DISCRIMINATOR_OPTIMIZER) readonly optimizer: Optimizer,
    @inject(GENERATE) readonly generate: (classLabels: tf.Tensor2D | undefined, batch: number) => tf.Tensor4D,
    @inject(PART_OPTIONS) options: z.output<typeof objectiveOptions>,
  ) {
    this.#reduction = options.reduction;
    this.#augmentRegularizers = options.augmentRegularizers;
    this.name = `${adversarial.name} over ${discriminator.name}`;
    optimizer.bind(discriminator.parameters());
    this.checkpoint = {
      discriminator: networkState(discriminator),
      'discriminator-optimizer': optimizer,
      ...(augmentation.checkpoint && { augmentation: augmentation.checkpoint }),
    };
    this.stages = [
      { name: 'discriminator', every: 1, run: (step) => this.#discriminatorStep(step) },
      ...regularizers.map((regularizer) => ({
        name: regularizer.name,
        every: regularizer.every,
        run: (step: StepContext) => this.#regularizerStep(regularizer, step),
      })),
    ];
  }

  get parameterCount(): number {
    return this.discriminator.parameters().reduce((sum, { size }) => sum + size, 0);
  }

  async prepare(): Promise<void> {
    await this.discriminator.prepare?.();
  }

  frozen(): NamedTensor[] {
    return this.discriminator.frozen?.() ?? [];
  }

  generatorLoss({ fake, classLabels, real, random }: GeneratorBatch): tf.Scalar {
    const { adversarial } = this;
    return tf.tidy(() => {
      const fakeLogits = this.#judge(fake, 'fake', classLabels, random);
      const realLogits = adversarial.relativistic ? this.#judge(real.images(), 'real', real.classLabels(), random) : undefined;
      return reduceLogits(
        fakeLogits.map((logits, network) => adversarial.generator(logits, realLogits?.[network])),
        this.#reduction,
      );
    });
  }

  /** The logits of augmented images. */
  #judge(images: tf.Tensor4D, on: 'real' | 'fake', classLabels: tf.Tensor2D | undefined, random: RandomSource): tf.Tensor2D[] {
    return this.discriminator.logits(this.augmentation.apply(images, { random, on }), { classLabels, random });
  }

  /** The logits of generated and of real images, for the discriminator's own training. */
  #judgeBoth(
    fake: tf.Tensor4D,
    real: tf.Tensor4D,
    classLabels: tf.Tensor2D | undefined,
    random: RandomSource,
  ): readonly [tf.Tensor2D[], tf.Tensor2D[]] {
    const { discriminator, augmentation } = this;
    if (!discriminator.logitsOfEach) {
      const fakeLogits = this.#judge(fake, 'fake', classLabels, random);
      return [fakeLogits, this.#judge(real, 'real', classLabels, random)];
    }
    const batch = (images: tf.Tensor4D, on: 'real' | 'fake') => ({
      images: augmentation.apply(images, { random, on }),
      classLabels,
      random,
    });
    const [fakeLogits, realLogits] = discriminator.logitsOfEach([batch(fake, 'fake'), batch(real, 'real')]);
    return [fakeLogits!, realLogits!];
  }

  #discriminatorStep(step: StepContext): Record<string, number> {
    const { microBatches, random } = step;
    const { adversarial, augmentation, generate } = this;
    let realSign = 0;
    const loss = this.#update('discriminator', step, (real) => {
      const images = real.images();
      const classLabels = real.classLabels();
      const fake = generate(classLabels, images.shape[0]);
      return () => {
        const [fakeLogits, realLogits] = this.#judgeBoth(fake, images, classLabels, random);
        const losses = realLogits.map((logits, network) => adversarial.discriminator(logits, fakeLogits[network]!));
        realSign += meanSign(realLogits) / microBatches.length;
        return reduceLogits(losses, this.#reduction);
      };
    });
    const { step: done, batchSize } = step;
    return { discriminator: loss, realSign, ...augmentation.observe?.({ step: done, batchSize, realSign }) };
  }

  #regularizerStep({ name, every, on, penalty }: Regularizer, step: StepContext): Record<string, number> {
    const { discriminator, generate } = this;
    const { random } = step;
    const loss = this.#update(name, step, (real) => {
      const classLabels = real.classLabels();
      const images = real.images();
      const judged = on === 'real' ? images : generate(classLabels, images.shape[0]);
      const logits = (x: tf.Tensor4D) =>
        this.#augmentRegularizers ? this.#judge(x, on, classLabels, random) : discriminator.logits(x, { classLabels, random });
      return () => tf.mul(penalty(judged, logits), every) as tf.Scalar;
    });
    return { [name]: loss / every };
  }

  /** One update of the discriminator by the mean of a loss over the micro-batches; returns that mean. */
  #update(stage: string, { microBatches, learningRateScale }: StepContext, prepare: (real: RealImages) => () => tf.Scalar): number {
    const { optimizer } = this;
    return tf.tidy(() => {
      const weights = optimizer.parameters.map(({ value }) => value);
      const { value, gradients } = accumulate(microBatches, (real) => {
        const loss = prepare(real);
        return valueAndGradients(loss, weights, { allowUnused: true });
      });
      optimizer.step(gradients, { stage, learningRateScale });
      return value;
    });
  }

  dispose(): void {
    this.optimizer.dispose();
    this.discriminator.dispose();
  }
}

/** E[sign(D(real))], the overfitting measure of ADA (Karras et al. 2020); read after the step, outside the tape. */
function meanSign(logits: readonly tf.Tensor2D[]): number {
  const signs = logits.map((part) => {
    const values = part.dataSync<'float32'>();
    return values.reduce((sum, value) => sum + Math.sign(value), 0) / values.length;
  });
  return signs.reduce((a, b) => a + b, 0) / signs.length;
}
