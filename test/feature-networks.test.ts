/** The frozen feature networks against torchvision and timm: outputs, gradients, and R1 through resizing and all layers. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients, valueAndGradients, vectorJacobianProduct } from '../src/core/autodiff/index.js';
import type { TensorFile } from '../src/core/tensor-file.js';
import { Deit, EfficientNetLite, Vgg16Bn, type PretrainedFeatures } from '../src/models/index.js';
import { engines, useEngine } from './support/engines.js';
import { openGolden } from './support/golden.js';
import { hashed, hashedWeights } from './support/hashed-weights.js';

interface Case {
  name: string;
  create: () => PretrainedFeatures;
  /** Of test/tools/make_feature_goldens.py. */
  gain: number;
  /** Adds nothing on a second, slower engine. */
  large?: boolean;
  /** Of gradients, relative L2. Default 1e-4. */
  rtol?: number;
}

const LITE_VARIANTS = ['lite0', 'lite1', 'lite2', 'lite3', 'lite4'] as const;
const DEIT_VARIANTS = ['tiny', 'small', 'base'] as const;

const cases: Case[] = [
  // On a resized image neighbours are almost equal: rounding decides which of them max pooling picks.
  { name: 'vgg16_bn', create: () => new Vgg16Bn(), gain: 2, large: true, rtol: 1e-3 },
  ...LITE_VARIANTS.map((variant) => ({
    name: `tf_efficientnet_${variant}`,
    create: () => new EfficientNetLite({ variant }),
    gain: 1.4,
    large: variant !== 'lite0',
  })),
  ...DEIT_VARIANTS.map((variant) => ({
    name: `deit_${variant}_distilled_patch16_224`,
    create: () => new Deit({ variant }),
    gain: 1,
    large: variant !== 'tiny',
  })),
];

/** Images `[2, 32, 32, 3]`. */
const images = () =>
  tf.tidy(() => tf.transpose(tf.tensor4d(Float32Array.from(hashed('images', 2 * 3 * 32 * 32)), [2, 3, 32, 32]), [0, 2, 3, 1]));

/** A head for each stage, `[channels, 1]`: fixed sizes, hashed directions. */
const heads = (network: PretrainedFeatures): tf.Tensor2D[] =>
  network.stages.map(({ channels }, k) =>
    tf.tensor2d(
      Float32Array.from(hashed(`head.${k}`, channels), (v) => v * Math.sqrt(3 / channels)),
      [channels, 1],
    ),
  );

/** sum over images and stages of mean_hw softplus(stage . head). */
const judged = (network: PretrainedFeatures, x: tf.Tensor4D, weights: tf.Tensor2D[]): tf.Scalar =>
  tf.addN(
    network.features(x).map((map, k) => {
      const [, height, width, channels] = map.shape;
      return tf.div<tf.Scalar>(tf.sum(tf.softplus(tf.matMul(tf.reshape(map, [-1, channels]), weights[k]!))), height * width);
    }),
  );

/** In the order of PyTorch. */
const channelsFirst = (x: tf.Tensor) => tf.tidy(() => tf.transpose(x, [0, 3, 1, 2]).dataSync<'float32'>());

describe.each(engines)('feature networks on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  describe.each(cases.filter(({ large }) => !large || engine === 'tensorflow'))('$name', ({ name, create, gain, rtol = 1e-4 }) => {
    let network: PretrainedFeatures;
    let golden: TensorFile;
    beforeAll(async () => {
      golden = await openGolden(`features/${name}.safetensors`);
      network = create();
      await network.load(hashedWeights(network.tensors(), gain, golden));
      if (network.readout) await network.readout.load(hashedWeights(network.readout.tensors(), 1));
      return () => network.dispose();
    });

    it('gives the published maps, gradients and R1', async () => {
      const before = tf.memory().numTensors;
      const x = images();
      const weights = heads(network);

      const maps = network.features(x);
      for (const [k, map] of maps.entries()) {
        const { resolution, channels } = network.stages[k]!;
        expect(map.shape).toEqual([2, resolution, resolution, channels]);
        const expected = await golden.readAsFloat32(`stage.${k}`);
        const values = channelsFirst(map);
        const step = Math.floor(values.length / expected.length);
        expect(
          expected.map((_, i) => values[i * step]!),
          `stage ${k}`,
        ).toBeCloseInL2(expected, 1e-5);
        const norm = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
        expect([norm], `norm of stage ${k}`).toBeAllclose(await golden.readAsFloat32(`stage.${k}.norm`), { rtol: 1e-5 });
      }
      tf.dispose(maps);
      expect(tf.memory().numTensors).toBe(before + 1 + weights.length);

      const [gradient] = gradients(() => judged(network, x, weights), [x]);
      expect(channelsFirst(gradient!), 'gradient').toBeCloseInL2(await golden.readAsFloat32('gradient'), rtol);

      const { value, gradients: second } = valueAndGradients(() => {
        const [slope] = vectorJacobianProduct(() => judged(network, x, weights), [x]);
        return tf.div(tf.sum(tf.square(slope!)), 2);
      }, [x, ...weights]);
      expect(value.dataSync()).toBeAllclose(await golden.readAsFloat32('penalty'), { rtol });
      expect(channelsFirst(second[0]!), 'gradient of R1 for the images').toBeCloseInL2(await golden.readAsFloat32('penalty.images'), rtol);
      for (let k = 0; k < 4; k++)
        expect(second[k + 1]!.dataSync(), `gradient of R1 for head ${k}`).toBeCloseInL2(
          await golden.readAsFloat32(`penalty.head.${k}`),
          rtol,
        );
      tf.dispose([gradient!, value, second, x, weights]);
    });
  });
});
