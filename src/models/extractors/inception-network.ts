/**
 * Inception-v3 (Szegedy et al. 2015, arXiv 1512.00567), the network of TensorFlow's 2015 archive that FID is defined by (Heusel et
 * al. 2017), under torchvision's names.
 *
 * It differs from torchvision's network: averages at the border leave the padding out, the last block takes maxima instead, there
 * are 1008 classes, and no auxiliary classifier.
 */
import * as tf from '@tensorflow/tfjs-core';
import { linearLayout, type NamedTensor } from '../../core/parameter.js';
import { FrozenConvolution } from '../features/frozen-convolution.js';
import { normal, zeros } from '../nn/initializers.js';
import { Module } from '../nn/module.js';

/** Height and width of the images that the network takes. */
export const INCEPTION_SIZE = 299;
export const INCEPTION_FEATURES = 2048;
export const INCEPTION_CLASSES = 1008;

/** TensorFlow-slim's. */
const EPSILON = 1e-3;

/** What is done to a map: a convolution; a 3x3 pooling, `shrink` of stride 2; branches, whose maps are concatenated. */
type Step = FrozenConvolution | 'average' | 'maximum' | 'shrink' | readonly (readonly Step[])[];

/** Name, output channels, kernel (rows and columns) and stride of a convolution; those of stride 2 have no padding. */
type Convolution = readonly [name: string, outputs: number, rows?: number, columns?: number, stride?: number];
type Plan = Convolution | 'average' | 'maximum' | 'shrink' | readonly (readonly Plan[])[];

const isConvolution = (plan: Exclude<Plan, string>): plan is Convolution => typeof plan[0] === 'string';

/** 35x35; `pool` channels of the pooled branch. */
const blockA = (pool: number): Plan => [
  [['branch1x1', 64]],
  [
    ['branch5x5_1', 48],
    ['branch5x5_2', 64, 5, 5],
  ],
  [
    ['branch3x3dbl_1', 64],
    ['branch3x3dbl_2', 96, 3, 3],
    ['branch3x3dbl_3', 96, 3, 3],
  ],
  ['average', ['branch_pool', pool]],
];

/** 35x35 to 17x17. */
const blockB: Plan = [
  [['branch3x3', 384, 3, 3, 2]],
  [
    ['branch3x3dbl_1', 64],
    ['branch3x3dbl_2', 96, 3, 3],
    ['branch3x3dbl_3', 96, 3, 3, 2],
  ],
  ['shrink'],
];

/** 17x17; `width` channels between the long convolutions. */
const blockC = (width: number): Plan => [
  [['branch1x1', 192]],
  [
    ['branch7x7_1', width],
    ['branch7x7_2', width, 1, 7],
    ['branch7x7_3', 192, 7, 1],
  ],
  [
    ['branch7x7dbl_1', width],
    ['branch7x7dbl_2', width, 7, 1],
    ['branch7x7dbl_3', width, 1, 7],
    ['branch7x7dbl_4', width, 7, 1],
    ['branch7x7dbl_5', 192, 1, 7],
  ],
  ['average', ['branch_pool', 192]],
];

/** 17x17 to 8x8. */
const blockD: Plan = [
  [
    ['branch3x3_1', 192],
    ['branch3x3_2', 320, 3, 3, 2],
  ],
  [
    ['branch7x7x3_1', 192],
    ['branch7x7x3_2', 192, 1, 7],
    ['branch7x7x3_3', 192, 7, 1],
    ['branch7x7x3_4', 192, 3, 3, 2],
  ],
  ['shrink'],
];

/** 8x8. */
const blockE = (pooling: 'average' | 'maximum'): Plan => [
  [['branch1x1', 320]],
  [
    ['branch3x3_1', 384],
    [[['branch3x3_2a', 384, 1, 3]], [['branch3x3_2b', 384, 3, 1]]],
  ],
  [
    ['branch3x3dbl_1', 448],
    ['branch3x3dbl_2', 384, 3, 3],
    [[['branch3x3dbl_3a', 384, 1, 3]], [['branch3x3dbl_3b', 384, 3, 1]]],
  ],
  [pooling, ['branch_pool', 192]],
];

/** The stem's convolutions, which are no block's; those of 3x3 but one have no padding. */
const STEM = [
  { name: 'Conv2d_1a_3x3', outputs: 32, kernel: 3, stride: 2, padding: 0 },
  { name: 'Conv2d_2a_3x3', outputs: 32, kernel: 3, stride: 1, padding: 0 },
  { name: 'Conv2d_2b_3x3', outputs: 64, kernel: 3, stride: 1, padding: 1 },
  'shrink',
  { name: 'Conv2d_3b_1x1', outputs: 80, kernel: 1, stride: 1, padding: 0 },
  { name: 'Conv2d_4a_3x3', outputs: 192, kernel: 3, stride: 1, padding: 0 },
  'shrink',
] as const;

const BLOCKS: Readonly<Record<string, Plan>> = {
  Mixed_5b: blockA(32),
  Mixed_5c: blockA(64),
  Mixed_5d: blockA(64),
  Mixed_6a: blockB,
  Mixed_6b: blockC(128),
  Mixed_6c: blockC(160),
  Mixed_6d: blockC(160),
  Mixed_6e: blockC(192),
  Mixed_7a: blockD,
  Mixed_7b: blockE('average'),
  Mixed_7c: blockE('maximum'),
};

/** A frozen network: features and logits of images `[B, 299, 299, 3]` in [-1, 1]. */
export class InceptionNetwork extends Module {
  readonly #convolutions: FrozenConvolution[] = [];
  readonly #steps: Step[];
  readonly #fc: { weight: NamedTensor; bias: NamedTensor };

  constructor() {
    super();
    let channels = 3;
    this.#steps = STEM.map((layer) => {
      if (typeof layer === 'string') return layer;
      const { name, ...rest } = layer;
      const convolution = this.#convolution(name, { ...rest, inputs: channels });
      channels = layer.outputs;
      return convolution;
    });
    for (const [name, plan] of Object.entries(BLOCKS)) {
      const made = this.#make(name, plan, channels);
      this.#steps.push(made.step);
      channels = made.channels;
    }
    const shape = [INCEPTION_CLASSES, INCEPTION_FEATURES];
    this.#fc = {
      weight: this.addBuffer('fc.weight', shape, normal(Math.sqrt(1 / INCEPTION_FEATURES)), linearLayout(shape)),
      bias: this.addBuffer('fc.bias', [INCEPTION_CLASSES], zeros),
    };
  }

  /** The averages of the last maps, `[B, 2048]`. */
  features(images: tf.Tensor4D): tf.Tensor2D {
    const maps = this.#steps.reduce((x, step) => {
      const y = apply(step, x);
      if (x !== images) x.dispose(); // 100 MB an image, kept until the end.
      return y;
    }, images);
    const features = tf.mean<tf.Tensor2D>(maps, [1, 2]);
    maps.dispose();
    return features;
  }

  /** `[B, 1008]` from features; without `bias` as the Inception Score of Salimans et al. 2016 has them. */
  logits(features: tf.Tensor2D, { bias }: { bias: boolean }): tf.Tensor2D {
    return tf.tidy(() => {
      const y: tf.Tensor2D = tf.matMul(features, this.#fc.weight.value as tf.Tensor2D);
      return bias ? tf.add<tf.Tensor2D>(y, this.#fc.bias.value) : y;
    });
  }

  /** Frees the convolutions' published tensors, whose batch normalisation is folded into others. */
  release(): void {
    for (const convolution of this.#convolutions) convolution.release();
  }

  override dispose(): void {
    super.dispose();
    for (const convolution of this.#convolutions) convolution.dispose();
  }

  #convolution(
    name: string,
    options: { inputs: number; outputs: number; kernel: number | readonly [number, number]; stride?: number; padding?: number },
  ): FrozenConvolution {
    const norm = { name: `${name}.bn`, epsilon: EPSILON };
    const convolution = this.addChild(new FrozenConvolution({ ...options, name: `${name}.conv`, norm, activation: 'relu' }));
    this.#convolutions.push(convolution);
    return convolution;
  }

  /** The step of a plan for maps of `channels`, with the channels of its result. */
  #make(block: string, plan: Plan, channels: number): { step: Step; channels: number } {
    if (typeof plan === 'string') return { step: plan, channels };
    if (isConvolution(plan)) {
      const [name, outputs, rows = 1, columns = 1, stride = 1] = plan;
      const options = { inputs: channels, outputs, kernel: [rows, columns] as const, stride, ...(stride > 1 && { padding: 0 }) };
      return { step: this.#convolution(`${block}.${name}`, options), channels: outputs };
    }
    let total = 0;
    const step = plan.map((branch) => {
      let current = channels;
      const steps = branch.map((part) => {
        const made = this.#make(block, part, current);
        current = made.channels;
        return made.step;
      });
      total += current;
      return steps;
    });
    return { step, channels: total };
  }
}

function apply(step: Step, x: tf.Tensor4D): tf.Tensor4D {
  if (step instanceof FrozenConvolution) return step.forward(x);
  switch (step) {
    case 'average':
      // TensorFlow's average over what lies in the image; PyTorch's count_include_pad=False.
      return tf.avgPool(x, 3, 1, 'same');
    case 'maximum':
      return tf.maxPool(x, 3, 1, 'same');
    case 'shrink':
      return tf.maxPool(x, 3, 2, 'valid');
    default:
      return tf.tidy(() =>
        tf.concat(
          step.map((branch) => branch.reduce((y, part) => apply(part, y), x)),
          3,
        ),
      );
  }
}
