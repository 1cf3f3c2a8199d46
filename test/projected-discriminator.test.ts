/** The projected discriminator over the method's networks against PyTorch: logits, the generator's gradient and R1, at 32 and 64 px. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { valueAndGradients } from '../src/core/autodiff/index.js';
import { createContainer, RANDOM } from '../src/core/container.js';
import { PhiloxRandom } from '../src/core/random.js';
import { nonSaturating, r1, reduceLogits } from '../src/losses/index.js';
import {
  createBackbone,
  Deit,
  EfficientNetLite,
  projected,
  TEACHER,
  Vgg16Bn,
  type FeatureNetworkLoader,
  type PretrainedFeatures,
  type ProjectedDiscriminator,
} from '../src/models/index.js';
import { engines, useEngine } from './support/engines.js';
import { openGolden } from './support/golden.js';
import { hashed, hashedWeights } from './support/hashed-weights.js';
import { tinyTeacher } from './support/tiny.js';

/** A network with the weights of test/tools/make_feature_goldens.py. */
const loader = (create: () => PretrainedFeatures, gain: number): FeatureNetworkLoader => ({
  name: create().name,
  description: { part: 'hashed', options: {} },
  describe: create,
  load: async () => {
    const network = create();
    const statistics = network.readout ? undefined : await openGolden(`features/${network.name}.safetensors`);
    await network.load(hashedWeights(network.tensors(), gain, statistics));
    if (network.readout) await network.readout.load(hashedWeights(network.readout.tensors(), 1));
    return network;
  },
});

const lite0 = () => loader(() => new EfficientNetLite(), 1.4);
const cases = {
  cifar10: { networks: () => [loader(() => new Vgg16Bn(), 2), lite0()], size: 32, classes: 0 },
  conditional: { networks: () => [loader(() => new Deit({ variant: 'tiny' }), 1), lite0()], size: 64, classes: 5 },
};

const channelsFirst = (x: tf.Tensor) => tf.tidy(() => tf.transpose(x, [0, 3, 1, 2]).dataSync<'float32'>());

const length = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));

// Two networks at 224 px differentiated twice take wasm minutes; small ones are tested there, beside the discriminator.
describe.runIf(engines.includes('tensorflow'))('the projected discriminator beside PyTorch', () => {
  beforeAll(() => useEngine('tensorflow'));

  it.each(Object.entries(cases))('%s: values, gradients and R1', { timeout: 900_000 }, async (name, { networks, size, classes }) => {
    const container = createContainer();
    container.registerInstance(RANDOM, new PhiloxRandom(0));
    container.registerInstance(TEACHER, { name: 'tiny', backbone: createBackbone(await tinyTeacher({ label_dim: classes }).describe()) });
    const before = tf.memory().numTensors;
    const options = classes > 0 ? { conditional: {} } : {};
    const discriminator = projected(networks(), options).build(container) as ProjectedDiscriminator;
    await discriminator.prepare();
    // All but the feature networks' own, which the loaders bring.
    const own = discriminator.tensors().filter((tensor) => !tensor.name.includes('.readout.'));
    const source = hashedWeights(own, 1);
    for (const tensor of own) tensor.load(await source.read(tensor.name));

    const golden = await openGolden(`projected/${name}.safetensors`);
    const random = new PhiloxRandom(0);
    const shape: [number, number, number, number] = [2, 3, size, size];
    const images = tf.tidy(() => tf.transpose(tf.tensor4d(Float32Array.from(hashed('images', 6 * size ** 2)), shape), [0, 2, 3, 1]));
    const classLabels =
      classes > 0
        ? tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d([0, classes - 1], 'int32'), classes), 'float32') as tf.Tensor2D)
        : undefined;

    let logits: Float32Array[] = [];
    const { value: loss, gradients: slopes } = valueAndGradients(() => {
      const judged = discriminator.logits(images, { classLabels, random });
      logits = judged.map((values) => values.dataSync<'float32'>());
      return reduceLogits(
        judged.map((values) => nonSaturating().generator(values)),
        'mean',
      );
    }, [images]);
    for (const [n, values] of logits.entries())
      expect(values, `logits ${n}`).toBeCloseInL2(await golden.readAsFloat32(`logits.${n}`), 1e-4);
    expect(loss.dataSync()).toBeAllclose(await golden.readAsFloat32('generator'), { rtol: 1e-5 });
    expect(channelsFirst(slopes[0]!), 'generator').toBeCloseInL2(await golden.readAsFloat32('generator.images'), 1e-3);

    const parameters = discriminator.parameters();
    const { penalty } = r1({ gamma: 1 });
    const { value, gradients: second } = valueAndGradients(
      () => penalty(images, (x) => discriminator.logits(x, { classLabels, random })),
      [images, ...parameters.map((parameter) => parameter.value)],
      { allowUnused: true },
    );
    expect(value.dataSync()).toBeAllclose(await golden.readAsFloat32('penalty'), { rtol: 1e-3 });
    expect(channelsFirst(second[0]!), 'R1 for the images').toBeCloseInL2(await golden.readAsFloat32('penalty.images'), 2e-3);
    let largest = 0;
    for (const parameter of parameters) largest = Math.max(largest, (await golden.readAsFloat32(`r1.${parameter.name}.norm`))[0]!);
    for (const [i, parameter] of parameters.entries()) {
      const found = parameter.published(second[i + 1]!);
      // A bias before batch normalisation changes nothing: what either finds is rounding.
      if (parameter.name.endsWith('.main.0.bias')) {
        expect(length(found), `R1 for ${parameter.name}`).toBeLessThan(1e-6 * largest);
        continue;
      }
      const samples = await golden.readAsFloat32(`r1.${parameter.name}`);
      const step = Math.max(1, Math.floor(found.length / 16));
      const norm = (await golden.readAsFloat32(`r1.${parameter.name}.norm`))[0]!;
      const distance = length(samples.map((sample, k) => found[k * step]! - sample));
      const scale = Math.max(norm * Math.sqrt(samples.length / found.length), 1e-6 * largest);
      expect(distance / scale, `R1 for ${parameter.name}`).toBeLessThan(5e-3);
      expect(Math.abs(length(found) - norm) / Math.max(norm, 1e-6 * largest), `norm of R1 for ${parameter.name}`).toBeLessThan(2e-3);
    }
    tf.dispose([loss, ...slopes, value, ...second, images]);
    classLabels?.dispose();
    discriminator.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
