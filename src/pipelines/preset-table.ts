/**
 * The paper's recipes in one table (GDD, arXiv 2405.20750), a row a data set; GDD and GDD-I differ in the freeze policy alone.
 *
 * The same for all: Adam with betas (0, 0.99) and epsilon 1e-8, no warm-up, no clipping; non-saturating loss; R1 every
 * 16th iteration as a step of its own, for which the discriminator's Adam takes lr * 16/17 and beta2^(16/17); no
 * augmentation, no mirroring, no dropout.
 */
import type { publishedBackbones } from '../models/backbones/config.js';

/** Feature networks of the paper's projected discriminators. */
export type PresetFeatures = 'VGG16-BN' | 'EfficientNet-lite0' | 'DeiT-base-distilled';

/** One recipe. */
export interface PresetRow {
  /** Such as `CIFAR-10, unconditional`. */
  title: string;
  /** Published name of the teacher. */
  teacher: string;
  /** Its architecture. */
  network: keyof typeof publishedBackbones;
  /** Classes of the data; 0: unconditional. Conditional rows have class-conditional heads. */
  classes: number;
  /** What the projected discriminator sees the images through, resized to 224 x 224. */
  features: readonly PresetFeatures[];
  learningRates: { generator: number; discriminator: number };
  batchSize: number;
  /** Real images of the whole training. */
  images: number;
  r1: { gamma: number; every: number };
  /** In images; at most 5% of those seen. */
  emaHalfLife: number;
}

const r1 = { gamma: 1e-4, every: 16 };

const cifar10 = {
  features: ['VGG16-BN', 'EfficientNet-lite0'],
  learningRates: { generator: 1e-4, discriminator: 1e-4 },
  batchSize: 256,
  images: 5_000_000,
  r1,
  emaHalfLife: 500_000,
} as const;

const faces = {
  network: 'ffhq64-ncsnpp',
  classes: 0,
  features: ['DeiT-base-distilled', 'EfficientNet-lite0'],
  learningRates: { generator: 2e-5, discriminator: 4e-5 },
  batchSize: 256,
  images: 10_000_000,
  r1,
  emaHalfLife: 500_000,
} as const;

/** The recipes by name. */
export const presetTable = {
  cifar10: {
    title: 'CIFAR-10, unconditional',
    teacher: 'edm-cifar10-32x32-uncond-ve',
    network: 'cifar10-ncsnpp-uncond',
    classes: 0,
    ...cifar10,
  },
  cifar10Conditional: {
    title: 'CIFAR-10, class-conditional',
    teacher: 'edm-cifar10-32x32-cond-ve',
    network: 'cifar10-ncsnpp-cond',
    classes: 10,
    ...cifar10,
  },
  ffhq64: { title: 'FFHQ, 64 x 64', teacher: 'edm-ffhq-64x64-uncond-ve', ...faces },
  afhqv2: { title: 'AFHQv2, 64 x 64', teacher: 'edm-afhqv2-64x64-uncond-ve', ...faces },
  imagenet64: {
    title: 'ImageNet, 64 x 64, class-conditional',
    teacher: 'edm-imagenet-64x64-cond-adm',
    network: 'imagenet64-adm',
    classes: 1000,
    features: ['DeiT-base-distilled', 'EfficientNet-lite0'],
    learningRates: { generator: 8e-6, discriminator: 4e-5 },
    batchSize: 512,
    images: 10_000_000,
    r1,
    emaHalfLife: 50_000_000,
  },
} as const satisfies Record<string, PresetRow>;

/** The name of a recipe. */
export type PresetName = keyof typeof presetTable;
