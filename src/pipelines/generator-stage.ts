/**
 * The generator's update: new images from the latent, judged by the objective.
 */
import * as tf from '@tensorflow/tfjs-core';
import { accumulate } from '../core/accumulate.js';
import { valueAndGradients } from '../core/autodiff/index.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { RandomSource } from '../core/contracts/random.js';
import type { Objective, Stage } from '../core/contracts/training.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { generateOneStep } from '../models/preconditioning.js';

/** Draws `batch` latents `[B, H, W, C]` of the generator from the stream `latent`. */
export function drawLatents(generator: Backbone, random: RandomSource, batch: number): tf.Tensor4D {
  const { img_resolution: size, img_channels: channels } = generator.config;
  return tf.tensor4d(random.stream('latent').normal(batch * size * size * channels), [batch, size, size, channels]);
}

/** One update of the generator by an objective; labels are those of the real batch. */
export function generatorStage(generator: Backbone, objective: Objective, optimizer: Optimizer): Stage {
  return {
    name: 'generator',
    every: 1,
    run: ({ microBatches, random, learningRateScale }) =>
      tf.tidy(() => {
        const weights = optimizer.parameters.map(({ value }) => value);
        const { value, gradients } = accumulate(microBatches, (real) => {
          const classLabels = real.classLabels();
          const latents = drawLatents(generator, random, real.batch);
          return valueAndGradients(() => {
            const fake = generateOneStep(generator, latents, { classLabels });
            return objective.generatorLoss({ fake, classLabels, real, random });
          }, weights);
        });
        optimizer.step(gradients, { stage: 'generator', learningRateScale });
        return { generator: value };
      }),
  };
}
