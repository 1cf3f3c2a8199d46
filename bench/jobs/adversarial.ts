/** Steps of a distributional distillation. */
import * as tf from '@tensorflow/tfjs-core';
import {
  Adam,
  applyFreezePolicy,
  Distributional,
  Ema,
  freezeConvolutions,
  generateOneStep,
  noAugmentation,
  nonSaturating,
  r1,
  type Backbone,
  type Discriminator,
  type PhiloxRandom,
  type RealImages,
} from '../../src/index.js';
import { drawLatents, generatorStage } from '../../src/pipelines/generator-stage.js';
import type { JobOptions, PreparedJob } from './job.js';
import { randomImages, trainedSizes } from './steps.js';

export type AdversarialStep = 'generator' | 'discriminator' | 'r1' | 'iteration';

/** One step of GDD-I with the non-saturating loss and R1; an iteration is generator, discriminator and EMA. */
export function adversarialStep(
  step: AdversarialStep,
  generator: Backbone,
  discriminator: Discriminator,
  random: PhiloxRandom,
  { batch, microBatch }: JobOptions,
): PreparedJob {
  applyFreezePolicy(generator.parameters(), freezeConvolutions());
  const objective = new Distributional(
    discriminator,
    nonSaturating(),
    [r1()],
    noAugmentation,
    new Adam({ learningRate: 1e-4 }),
    (_, count) => tf.tidy(() => generateOneStep(generator, drawLatents(generator, random, count))),
    { reduction: 'mean', augmentRegularizers: false },
  );
  const adam = new Adam({ learningRate: 1e-4 });
  adam.bind(generator.parameters());
  const ema = new Ema();
  ema.bind(generator.parameters());
  const images = randomImages(generator, batch);
  const microBatches = Array.from({ length: Math.ceil(batch / microBatch) }, (_, i): RealImages => {
    const count = Math.min(microBatch, batch - i * microBatch);
    return {
      batch: count,
      images: () => tf.slice(images, [i * microBatch, 0, 0, 0], [count, -1, -1, -1]),
      classLabels: () => undefined,
    };
  });
  const context = { step: 0, imagesSeen: 0, batchSize: batch, learningRateScale: 1, microBatches, random };
  const [update, regularize] = objective.stages as [(typeof objective.stages)[number], (typeof objective.stages)[number]];
  const stages = {
    generator: [generatorStage(generator, objective, adam)],
    discriminator: [update],
    r1: [regularize],
    iteration: [generatorStage(generator, objective, adam), update],
  }[step];
  return {
    trained: [generator, discriminator].flatMap((module) => trainedSizes(module)),
    run: () => {
      for (const stage of stages) void stage.run(context);
      if (step === 'iteration') ema.update(1_000_000, batch);
    },
  };
}
