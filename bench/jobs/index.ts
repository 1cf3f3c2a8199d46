/** By name; PyTorch's side of each has the same name in bench/pytorch. */
import * as tf from '@tensorflow/tfjs-core';
import { backbone as quickstart } from '../../examples/support/shapes16.js';
import { EncoderDiscriminator, PhiloxRandom } from '../../src/index.js';
import { EfficientNetLite, ProjectedDiscriminator, publishedBackbones, Vgg16Bn } from '../../src/models/index.js';
import { adversarialStep, type AdversarialStep } from './adversarial.js';
import type { Job, JobOptions } from './job.js';
import { edmStep, heun, oneStep, randomNetwork } from './steps.js';

const cifar10 = publishedBackbones['cifar10-ncsnpp-uncond'];

/** Each noise level judges its part of the batch. */
const encoder = (step: AdversarialStep) => (options: JobOptions) => {
  const random = new PhiloxRandom(0);
  const teacher = { name: 'teacher', backbone: randomNetwork(quickstart, random) };
  const discriminator = new EncoderDiscriminator(teacher, random, { sigmas: [0.1, 0.5, 2], levels: 'split', end: 4 });
  return adversarialStep(step, randomNetwork(quickstart, random), discriminator, random, options);
};

/** VGG16-BN and EfficientNet-lite0 at 224 px, projections, heads. */
const projected = (step: AdversarialStep) => (options: JobOptions) => {
  const random = new PhiloxRandom(0);
  const generator = randomNetwork(cifar10, random);
  const features = [new Vgg16Bn(), new EfficientNetLite()].map((network) => network.initialize(random));
  const discriminator = new ProjectedDiscriminator({ name: 'teacher', backbone: generator }, random, { features, nominalSize: 128 });
  return adversarialStep(step, generator, discriminator, random, options);
};

export const MATRIX_SIDE = 2048;

const small = { batch: 64, bar: 1.5, repeats: 3 };
const large = { batch: 4, bar: 1.1, repeats: 1 };

export const jobs = {
  'quickstart-edm': { title: 'quickstart: EDM training step', ...small, prepare: (options) => edmStep(quickstart, options) },
  'quickstart-gdd': { title: 'quickstart: GDD-I iteration', ...small, prepare: encoder('iteration') },
  'quickstart-r1': { title: 'quickstart: R1', ...small, bar: undefined, prepare: encoder('r1') },
  'quickstart-one-step': { title: 'quickstart: one-step sampling', ...small, prepare: (options) => oneStep(quickstart, options) },
  'quickstart-heun': { title: 'quickstart: 35 evaluations', ...small, repeats: 1, prepare: (options) => heun(quickstart, options) },
  'cifar10-edm': { title: 'CIFAR-10 NCSN++: EDM training step', ...large, prepare: (options) => edmStep(cifar10, options) },
  'cifar10-one-step': { title: 'CIFAR-10 NCSN++: one step', ...large, prepare: (options) => oneStep(cifar10, options) },
  'imagenet64-one-step': {
    title: 'ImageNet-64 ADM: one step',
    ...large,
    prepare: (options) => oneStep(publishedBackbones['imagenet64-adm'], options),
  },
  'projected-generator': { title: 'projected discriminator: G', ...large, prepare: projected('generator') },
  'projected-discriminator': { title: 'projected discriminator: D', ...large, prepare: projected('discriminator') },
  'projected-r1': { title: 'projected discriminator: R1', ...large, prepare: projected('r1') },
} as const satisfies Record<string, Job>;

/** What the machine can do: a large product of matrices; no job of anybody's. */
export const matrixProduct: Job = {
  title: 'product of matrices',
  batch: 1,
  repeats: 3,
  prepare: () => {
    const [a, b] = [tf.randomNormal<tf.Rank.R2>([MATRIX_SIDE, MATRIX_SIDE]), tf.randomNormal<tf.Rank.R2>([MATRIX_SIDE, MATRIX_SIDE])];
    return { trained: [], run: () => tf.tidy(() => void tf.matMul(a, b).dataSync()) };
  },
};

/** A job by its name; undefined for an unknown one. */
export const findJob = (name: string): Job | undefined => (({ ...jobs, matrix: matrixProduct }) as Record<string, Job>)[name];
