/**
 * Inception-v3 as FID, KID, the Inception Score and precision and recall use it.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { FeatureExtractor, ImageShape } from '../../core/contracts/metric.js';
import { parseOptions } from '../../core/options.js';
import { resizeBilinear } from '../nn/resample.js';
import { INCEPTION_CLASSES, INCEPTION_FEATURES, INCEPTION_SIZE, InceptionNetwork } from './inception-network.js';
import { extractorOptions, NetworkExtractor } from './network-extractor.js';
import { resizeClean } from './prepare-images.js';
import type { WeightLayout } from './weight-layout.js';

/** torchvision's names, in which pytorch-fid and torch-fidelity publish the network. */
export const INCEPTION_LAYOUT: WeightLayout = { name: 'pytorch-fid (Conv2d_1a_3x3.conv.weight, …)', place: (name) => name };

const schema = extractorOptions.extend({
  /** A path, `https://…`, `hf:owner/name/file`, or `inception-v3-fid`, the file that pytorch-fid publishes. */
  weights: z.string().min(1).default('inception-v3-fid'),
  /**
   * How images become 299x299. `tensorflow`: bilinear, pixels at their corners, as in TensorFlow 1, in EDM's and StyleGAN's evaluation
   * and in torch-fidelity. `pytorch-fid`: bilinear, pixels at their centres, no antialiasing. `clean`: Pillow's bicubic with
   * antialiasing, in float32, as clean-fid.
   */
  resize: z.enum(['tensorflow', 'pytorch-fid', 'clean']).default('tensorflow'),
  /** Whether the classifier's bias is added before the softmax; the Inception Score's first implementation leaves it out. */
  bias: z.boolean().default(false),
});

/** Options of `inceptionV3`. @interface */
export type InceptionV3Options = z.input<typeof schema>;

type Resize = z.output<typeof schema>['resize'];

/** The published range of the input: TensorFlow's graph has (x - 128) / 128, pytorch-fid 2 x / 255 - 1. */
const RANGES: Readonly<Record<Resize, readonly [factor: number, shift: number]>> = {
  tensorflow: [1 / 128, -1],
  'pytorch-fid': [2 / 255, -1],
  clean: [1 / 128, -1],
};

/** uint8 images as the network's input, `[B, 299, 299, 3]`. */
export function inceptionInput(images: Uint8Array, shape: ImageShape, resize: Resize): tf.Tensor4D {
  const size = [INCEPTION_SIZE, INCEPTION_SIZE] as const;
  const [factor, shift] = RANGES[resize];
  return tf.tidy(() => {
    const resized =
      resize === 'clean'
        ? tf.tensor4d(resizeClean(images, shape, size), [shape[0], ...size, 3])
        : resizeBilinear(tf.tensor4d(Float32Array.from(images), [...shape]), size, { halfPixelCenters: resize === 'pytorch-fid' });
    return tf.add(tf.mul(resized, factor), shift);
  });
}

/**
 * The 2048 features of Inception-v3's last pooling, and its 1008 class probabilities.
 *
 * FIDs with different `resize` are not comparable: `tensorflow`, the default, is what EDM's `.npz` references and the numbers of its
 * papers were computed with. Images `[B, H, W, 3]` or `[B, H, W, 1]`, uint8, of any size; the aspect is not kept. Throws `E_CONFIG`;
 * `prepare` throws `E_WEIGHTS_MISMATCH` for another network's file, and as `resolveReference`.
 *
 * ```ts
 * const extractor = inceptionV3({ weights: 'pt_inception-2015-12-05-6726825d.pth' });
 * await extractor.prepare();
 * ```
 */
export function inceptionV3(options: InceptionV3Options = {}): Required<FeatureExtractor> {
  const { weights, resize, bias, ...rest } = parseOptions(schema, options, 'inceptionV3');
  return new NetworkExtractor({
    name: resize === 'tensorflow' ? 'inception-v3' : `inception-v3-${resize}`,
    dimensions: INCEPTION_FEATURES,
    classes: INCEPTION_CLASSES,
    weights,
    options: rest,
    batchSize: 32,
    layouts: [INCEPTION_LAYOUT],
    create: () => new InceptionNetwork(),
    arithmetic: `resize ${resize}, probabilities with${bias ? '' : 'out'} bias`,
    prepareImages: (images, shape) => inceptionInput(images, shape, resize),
    features: (network, x) => network.features(x),
    probabilities: (network, features) => tf.softmax(network.logits(features, { bias })),
  }) as Required<FeatureExtractor>;
}
