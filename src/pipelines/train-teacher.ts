/**
 * Training a teacher from nothing with EDM's denoising loss, for data sets that no published teacher knows.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { accumulate } from '../core/accumulate.js';
import { valueAndGradients } from '../core/autodiff/index.js';
import {
  createContainer,
  DATA_SOURCE,
  describeProvided,
  provide,
  RANDOM,
  SINKS,
  type DependencyContainer,
  type Provided,
} from '../core/container.js';
import type { LabelledAugmentation } from '../core/contracts/augmentation.js';
import type { DataSource } from '../core/contracts/data.js';
import type { Sink } from '../core/contracts/events.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { RandomSource } from '../core/contracts/random.js';
import type { Stage } from '../core/contracts/training.js';
import { ConfigError } from '../core/errors.js';
import { Adam } from '../core/optimizer.js';
import { parseOptions } from '../core/options.js';
import { PhiloxRandom } from '../core/random.js';
import { startTrainingRun, type RunStore, type TrainingRun, type TrainingSetup } from '../core/training-run.js';
import type { PositionedBatch } from '../data/batch-stream.js';
import { denoisingLoss, denoisingOptions, type DenoisingOptions } from '../losses/denoising.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { backboneConfigSchema, createBackbone, resolveBackboneConfig, type BackboneOptions } from '../models/backbones/config.js';
import type { Teacher } from '../models/teachers/teacher.js';
import type { BestMetric } from './best-snapshot.js';
import { checkFit } from './check-fit.js';
import { networkSetup } from './network-setup.js';
import { checkRunOptions, trainingRunOptions, type runSchema } from './run-options.js';
import { openRunStore } from './run-store.js';
import { teacherImages } from './teacher-images.js';

/** Options of `trainTeacher`. */
export interface TrainTeacherOptions extends z.input<typeof runSchema> {
  /** The architecture. */
  backbone: BackboneOptions;
  data: Provided<DataSource>;
  loss?: DenoisingOptions;
  /**
   * Changes the images and labels them for the network, whose `augment_dim` is the width of a label; such as
   * `augmentationPipe(edmTransforms)`, 9. Samples have labels of zeros, as images that nothing was done to. Default: none.
   */
  augment?: LabelledAugmentation;
  /** Default: Adam with learning rate 1e-3, betas (0.9, 0.999). */
  optimizer?: Optimizer;
  /** Steps of the Heun sampler for the sample grids. Default 18. */
  samplerSteps?: number;
  evaluate?: {
    readonly name: string;
    readonly best?: BestMetric;
    evaluate(teacher: Teacher, signal?: AbortSignal): Promise<Record<string, number>>;
  };
  sinks?: readonly Sink[];
  signal?: AbortSignal;
}

/** What training a teacher ends with. */
export interface TrainedTeacher {
  reason: 'completed' | 'stopped';
  /** With averaged weights; the caller disposes its backbone. */
  teacher: Teacher;
}

const partsSchema = z.strictObject({
  backbone: backboneConfigSchema,
  loss: denoisingOptions.prefault({}),
  samplerSteps: z.number().int().positive().default(18),
});

/** The network takes the labels that the augmentation gives, or none. */
function checkLabels(backbone: BackboneOptions, augment: LabelledAugmentation | undefined): void {
  const { augment_dim: expected } = resolveBackboneConfig(backbone);
  const given = augment?.labelDimension ?? 0;
  if (given === expected) return;
  throw new ConfigError('trainTeacher', [`augment: labels have ${given} values, the backbone takes augment_dim ${expected}`], {
    help: augment
      ? `give the backbone augment_dim: ${given}`
      : 'give an augmentation, such as augmentationPipe(edmTransforms), or augment_dim: 0',
  });
}

/** Starts to train a teacher. Throws `E_CONFIG` with every problem before anything starts. */
export function trainTeacher(
  options: TrainTeacherOptions,
  configure?: (container: DependencyContainer) => void,
): TrainingRun<TrainedTeacher> {
  const { backbone, loss = {}, samplerSteps, data, augment, evaluate, sinks = [], signal, ...rest } = options;
  const { optimizer = new Adam({ learningRate: 1e-3, beta1: 0.9, beta2: 0.999 }), ...own } = rest;
  const given = { backbone, loss, samplerSteps };
  const settings = checkRunOptions('trainTeacher', own, partsSchema, given);
  const parts = parseOptions(partsSchema, given, 'trainTeacher');
  checkLabels(parts.backbone as BackboneOptions, augment);

  const container = createContainer();
  container.registerInstance<RandomSource>(RANDOM, new PhiloxRandom(settings.seed));
  container.registerInstance(SINKS, sinks);
  provide(container, DATA_SOURCE, data);
  configure?.(container);

  const build = async (store: RunStore | undefined): Promise<TrainingSetup<PositionedBatch, TrainedTeacher>> => {
    const random = container.resolve(RANDOM);
    const source = container.resolve(DATA_SOURCE);
    const description = await source.open();
    checkFit('trainTeacher', 'the backbone', resolveBackboneConfig(parts.backbone as BackboneOptions), description);
    const network = createBackbone(parts.backbone as BackboneOptions).initialize(random);
    return networkSetup({
      network: network as Backbone,
      settings,
      store,
      source,
      description,
      random,
      optimizer,
      stages: [denoisingStage(network as Backbone, optimizer, loss, augment)],
      checkpoint: augment?.checkpoint ? { augmentation: augment.checkpoint } : {},
      parameters: { generator: network.parameterCount(), frozen: 0, discriminator: 0 },
      metadata: { onestep: 'teacher' },
      sample: (count) => teacherImages(network as Backbone, { count, seed: settings.seed, steps: parts.samplerSteps }),
      evaluate: evaluate && ((signal) => evaluate.evaluate({ name: 'teacher', backbone: network as Backbone }, signal)),
      best: evaluate?.best,
      finish: (reason, averaged) => ({ reason, teacher: { name: 'teacher', backbone: averaged } }),
      dispose: async () => {
        await container.dispose();
      },
    });
  };

  const config = {
    recipe: 'trainTeacher',
    ...settings,
    ...parts,
    data: describeProvided(data),
    optimizer: describeProvided(optimizer),
    augment: describeProvided(augment),
  };
  return startTrainingRun(trainingRunOptions(settings, container.resolve(SINKS), signal), () => openRunStore(settings, config), build);
}

function denoisingStage(network: Backbone, optimizer: Optimizer, loss: DenoisingOptions, augment: LabelledAugmentation | undefined): Stage {
  return {
    name: 'denoising',
    every: 1,
    run: ({ microBatches, random, learningRateScale }) =>
      tf.tidy(() => {
        const weights = optimizer.parameters.map(({ value }) => value);
        const { value, gradients } = accumulate(microBatches, (real) => {
          const given = real.images();
          const { images, labels: augmentLabels } = augment?.applyWithLabels(given, { random, on: 'real' }) ?? { images: given };
          const inputs = { classLabels: real.classLabels(), augmentLabels, dropout: random.stream('dropout') };
          return valueAndGradients(() => denoisingLoss(network, images, random, inputs, loss), weights);
        });
        optimizer.step(gradients, { stage: 'denoising', learningRateScale });
        return { denoising: value };
      }),
  };
}
