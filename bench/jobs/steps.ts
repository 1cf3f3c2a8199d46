/** Steps that several jobs share. */
import * as tf from '@tensorflow/tfjs-core';
import {
  Adam,
  createBackbone,
  denoisingLoss,
  Ema,
  generateOneStep,
  PhiloxRandom,
  sampleHeun,
  valueAndGradients,
  type Backbone,
  type BackboneOptions,
} from '../../src/index.js';
import { drawLatents } from '../../src/pipelines/generator-stage.js';
import type { JobOptions, PreparedJob } from './job.js';

interface Module {
  parameters(): readonly { trainable: boolean; shape: readonly number[] }[];
}

export const trainedSizes = (module: Module): number[] => [
  module
    .parameters()
    .filter(({ trainable }) => trainable)
    .reduce((sum, { shape }) => sum + tf.util.sizeFromShape([...shape]), 0),
];

/** `config` with random weights, without augmentation. */
export function randomNetwork(config: BackboneOptions, random: PhiloxRandom): Backbone {
  return createBackbone({ ...config, augment_dim: 0 } as BackboneOptions).initialize(random);
}

export function randomImages({ config }: Backbone, batch: number): tf.Tensor4D {
  return tf.randomUniform<tf.Rank.R4>([batch, config.img_resolution, config.img_resolution, config.img_channels], -1, 1, 'float32', 0);
}

/** EDM's training step: loss, gradients, Adam, EMA. */
export function edmStep(config: BackboneOptions, { batch }: JobOptions): PreparedJob {
  const random = new PhiloxRandom(0);
  const network = randomNetwork(config, random);
  const images = randomImages(network, batch);
  const adam = new Adam({ learningRate: 1e-4, beta1: 0.9, beta2: 0.999 });
  adam.bind(network.parameters());
  const ema = new Ema();
  ema.bind(network.parameters());
  return {
    trained: trainedSizes(network),
    run: () =>
      tf.tidy(() => {
        const { value, gradients } = valueAndGradients(
          () => denoisingLoss(network, images, random),
          network.parameters().map((parameter) => parameter.value),
        );
        adam.step(gradients);
        ema.update(1_000_000, batch);
        value.dataSync();
      }),
  };
}

/** The latents' images, read back. */
function sampling(
  config: BackboneOptions,
  batch: number,
  sample: (network: Backbone, latents: tf.Tensor4D, classLabels?: tf.Tensor2D) => tf.Tensor4D,
): PreparedJob {
  const random = new PhiloxRandom(0);
  const network = randomNetwork(config, random);
  const classes = network.config.label_dim;
  const labels = classes > 0 ? (tf.oneHot(tf.range(0, batch, 1, 'int32'), classes, 1, 0, 'float32') as tf.Tensor2D) : undefined;
  return {
    trained: [],
    run: () =>
      tf.tidy(() => {
        sample(network, drawLatents(network, random, batch), labels).dataSync();
      }),
  };
}

/** G(z) once. */
export const oneStep = (config: BackboneOptions, { batch }: JobOptions): PreparedJob =>
  sampling(config, batch, (network, latents, classLabels) => generateOneStep(network, latents, { classLabels }));

/** EDM's sampler of 18 steps: 35 evaluations. */
export const heun = (config: BackboneOptions, { batch }: JobOptions): PreparedJob =>
  sampling(config, batch, (network, latents) => sampleHeun(network, latents, { steps: 18 }));
