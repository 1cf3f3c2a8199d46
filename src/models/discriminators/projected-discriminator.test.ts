/** The projected discriminator: parameters of the paper's setting, shapes, classes, second order, what is random and what is freed. */
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { tinyFeatures, TinyFeatures } from '../../../test/support/tiny-features.js';
import { tinyTeacher } from '../../../test/support/tiny.js';
import { gradients, valueAndGradients, vectorJacobianProduct } from '../../core/autodiff/index.js';
import { createContainer, RANDOM } from '../../core/container.js';
import { PhiloxRandom } from '../../core/random.js';
import { createBackbone } from '../backbones/config.js';
import { deit, efficientnetLite0, vgg16bn } from '../features/feature-loaders.js';
import { describeNetwork, type FeatureNetworkSource } from '../features/projected-features.js';
import { TEACHER } from '../teachers/teacher.js';
import { randomEmbeddings, type ClassEmbeddings } from './class-embeddings.js';
import { ClassProjection } from './class-projection.js';
import { FeatureDiscriminator } from './feature-discriminator.js';
import { projected, type ProjectedDiscriminator, type ProjectedOptions } from './projected-discriminator.js';

/** Built as a run builds it; `classes` of the teacher. */
async function build(features: readonly FeatureNetworkSource[], options: ProjectedOptions = {}, seed = 3, classes = 0) {
  const container = createContainer();
  container.registerInstance(RANDOM, new PhiloxRandom(seed));
  const config = await tinyTeacher({ label_dim: classes }).describe();
  container.registerInstance(TEACHER, { name: 'tiny', backbone: createBackbone(config) });
  return projected(features, options).build(container) as ProjectedDiscriminator;
}

async function prepared(...given: Parameters<typeof build>): Promise<ProjectedDiscriminator> {
  const discriminator = await build(...given);
  await discriminator.prepare();
  return discriminator;
}

const tiny = { nominalSize: 16, widths: [5, 8] };
const random = new PhiloxRandom(0);
const images = (batch = 2, name = 'images') => tf.tensor4d(new PhiloxRandom(1).stream(name).normal(batch * 8 * 8 * 3), [batch, 8, 8, 3]);
const oneHot = (classes: number[], depth: number) => tf.cast(tf.oneHot(tf.tensor1d(classes, 'int32'), depth), 'float32') as tf.Tensor2D;

describe('parameters of the paper’s setting', () => {
  beforeAll(() => useEngine(engines[0]!));
  afterEach(() => tf.disposeVariables());

  // By hand, a head for size n with inputs i: sum over halvings of (16 i o + o) + 2 o, then 16 * 512 (* outputs).
  const halving = (inputs: number, outputs: number) => 16 * inputs * outputs + outputs + 2 * outputs;
  const heads = (outputs: number) =>
    [
      [64, 64, 128, 256, 512],
      [64, 128, 256, 512],
      [128, 256, 512],
      [256, 512],
    ].reduce((sum, widths) => {
      const layers = widths.slice(1).map((width, i) => halving(widths[i]!, width));
      return sum + layers.reduce((a, b) => a + b, 0) + 16 * 512 * outputs;
    }, 0);
  const pairs: [string, FeatureNetworkSource[]][] = [
    ['VGG16-BN and EfficientNet-lite0', [vgg16bn(), efficientnetLite0()]],
    ['DeiT-base-distilled and EfficientNet-lite0', [deit(), efficientnetLite0()]],
  ];

  /** Of networks that are only described, without a value. */
  const counted = (features: FeatureNetworkSource[], condition?: { classes: number; dimensions: number }) => {
    const parts = features.map((source) => describeNetwork(source).stages);
    const networks = parts.map((stages, n) => ({
      name: String(n),
      stages: stages.map((stage, i) => ({ ...stage, channels: [64, 64, 128, 256][i]! })),
      features: () => [],
    }));
    return new FeatureDiscriminator(networks, {
      start: (stage) => 128 / 2 ** stage,
      end: 8,
      width: (size) => ({ 64: 64, 32: 128, 16: 256, 8: 512 })[size]!,
      condition: condition && { ...condition, width: 64, trained: true },
    }).parameterCount();
  };

  it.each(pairs)('%s: 20.7 million', async (name, features) => {
    const before = tf.memory().numTensors;
    const discriminator = await build(features);
    const trained = discriminator.parameterCount();
    console.log(`${name}: ${trained.toLocaleString('en-US')} trained parameters`);
    expect(trained).toBe(20_662_656);
    expect(trained).toBe(2 * heads(1));
    expect(trained).toBe(counted(features));
    // The random layers are in the checkpoint, the published ones are not.
    const kept = discriminator.buffers().map((buffer) => buffer.name);
    expect(kept).toContain('networks.0.projection.layer3_csm.out_conv.weight');
    expect(kept).toContain('networks.1.projection.layer0_ccm.bias');
    expect(kept.some((buffer) => buffer.includes('readout'))).toBe(name.startsWith('DeiT'));
    expect(kept.some((buffer) => buffer.includes('conv_stem') || buffer.includes('features.0'))).toBe(false);
    expect(discriminator.frozen().every((tensor) => !tensor.allocated)).toBe(true);
    discriminator.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('class-conditional heads for ImageNet', () => {
    const classes = { classes: 1000, dimensions: 1280 };
    const conditional = counted(pairs[1]![1], classes);
    expect(conditional).toBe(2 * heads(64) + 8 * (1000 * 1280 + 1280 * 64 + 64));
  });
});

describe('options of the projected discriminator', () => {
  const problems = (f: () => unknown) => {
    try {
      f();
    } catch (error) {
      return (error as { problems: string[] }).problems.join('\n');
    }
    return '';
  };

  it('are checked before anything is built', () => {
    expect(problems(() => projected([]))).toContain('at least one feature network');
    expect(problems(() => projected([tinyFeatures()], { nominalSize: 48 }))).toContain('power of two');
    expect(problems(() => projected([tinyFeatures()], { nominalSize: 8 }))).toContain('nominal size 4, less than 8');
    expect(problems(() => projected([tinyFeatures()], { nominalSize: 64 }))).toMatch(
      /stage 0 gives maps of 16 px, of which a head for 64 px leaves 2/,
    );
    expect(problems(() => projected([tinyFeatures()], { nominalSize: 16, widths: [4] }))).toContain(
      'widths: expected one a stage of tiny, 2, got 1',
    );
    expect(problems(() => projected([tinyFeatures()], { colour: 1 } as never))).toContain('colour');
    expect(problems(() => projected([tinyFeatures()], { conditional: { embeddings: 'random' } } as never))).toContain(
      'classifierEmbeddings()',
    );
  });

  it('are described with the networks', () => {
    const { description } = projected([tinyFeatures()], { ...tiny, conditional: { classes: 3 } });
    expect(JSON.parse(JSON.stringify(description))).toMatchObject({
      part: 'projected',
      options: {
        nominalSize: 16,
        features: [{ part: 'tinyFeatures', options: { name: 'tiny' } }],
        conditional: { classes: 3, width: 64, trained: true, embeddings: { part: 'randomEmbeddings', options: { dimensions: 1280 } } },
      },
    });
  });

  it('must know the classes of the teacher', async () => {
    const conditional = { classes: 3 };
    await expect(build([tinyFeatures()], { ...tiny, conditional })).rejects.toThrow('tiny is unconditional');
    await expect(build([tinyFeatures()], { ...tiny, conditional: {} })).rejects.toThrow('tiny is unconditional');
    await expect(build([tinyFeatures()], { ...tiny, conditional }, 3, 10)).rejects.toThrow('expected the 10 classes of tiny, got 3');
    const embeddings = { ...randomEmbeddings({ dimensions: 4 }), classes: 7 };
    await expect(build([tinyFeatures()], { ...tiny, conditional: { embeddings } }, 3, 10)).rejects.toThrow('each of 10 classes, got 7');
  });
});

describe.each(engines)('the projected discriminator on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('gives one tensor a network, its heads’ logits side by side', async () => {
    const before = tf.memory().numTensors;
    const discriminator = await prepared([tinyFeatures('a'), tinyFeatures('b')], tiny);
    const x = images(3);
    const logits = discriminator.logits(x, { random });
    // Maps of 16 and 8 px; the first is halved once; a 4x4 convolution then leaves 5x5 of each.
    expect(logits.map(({ shape }) => shape)).toEqual([
      [3, 50],
      [3, 50],
    ]);
    tf.dispose([logits, x]);
    discriminator.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is the same for the same seed, and another for another', async () => {
    const make = (seed: number) => prepared([tinyFeatures('a', true), tinyFeatures('b', true)], tiny, seed);
    const discriminators = [await make(3), await make(3), await make(4)];
    const x = images();
    const [first, second, third] = discriminators.map((d) => d.logits(x, { random }).map((logits) => [...logits.dataSync()]));
    expect(second).toEqual(first);
    expect(third).not.toEqual(first);
    // Two readouts of one kind are told apart, and are no copies.
    const [a, b] = [0, 1].map((n) => discriminators[0]!.buffers().find(({ name }) => name === `networks.${n}.readout.2.project.weight`)!);
    expect(a!.read()).not.toEqual(b!.read());
    const names = discriminators[0]!.tensors().map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const d of discriminators) d.dispose();
  });

  it('judges several batches in one look as it judges each', async () => {
    const [one, other] = [await prepared([tinyFeatures()], tiny), await prepared([tinyFeatures()], tiny)];
    const [a, b] = [images(2, 'a'), images(3, 'b')];
    const each = [a, b].map((x) => one.logits(x, { random })[0]!);
    const [[first], [second]] = other.logitsOfEach([
      { images: a, random },
      { images: b, random },
    ]) as [[tf.Tensor], [tf.Tensor]];
    expect(first.dataSync()).toBeCloseInL2(each[0]!.dataSync(), 1e-5);
    expect(second.dataSync()).toBeCloseInL2(each[1]!.dataSync(), 1e-5);
    // Spectral norms have moved as often.
    const vector = (d: ProjectedDiscriminator) =>
      d
        .tensors()
        .find(({ name }) => name.endsWith('weight_u'))!
        .read();
    expect(vector(other)).toBeCloseInL2(vector(one), 1e-5);
    one.dispose();
    other.dispose();
  });

  it('keeps nothing of frozen networks where only heads train', async () => {
    const discriminator = await prepared([tinyFeatures()], tiny);
    const x = images();
    const weights = discriminator.parameters().map(({ value }) => value);
    const before = tf.memory().numTensors;
    const { value, gradients: ofWeights } = valueAndGradients(
      () =>
        tf.sum(
          tf.concat(
            discriminator
              .logitsOfEach([
                { images: x, random },
                { images: x, random },
              ])
              .flat(),
          ),
        ),
      weights,
      { allowUnused: true },
    );
    expect(ofWeights).toHaveLength(weights.length);
    tf.dispose([value, ...ofWeights]);
    expect(tf.memory().numTensors).toBe(before);
    discriminator.dispose();
  });

  it('has exact first and second derivatives at the images’ own resolution', async () => {
    const discriminator = await prepared([tinyFeatures('a'), tinyFeatures('b', true)], tiny);
    // Far from the kinks of the activations; power iterations, which move the weights' norms at each call, settled.
    const x = images(2);
    for (const tensor of discriminator.parameters())
      if (tensor.kind === 'norm')
        tensor.load(Float32Array.from({ length: tensor.size }, (_, i) => (tensor.name.endsWith('weight') ? 0.3 : i % 2 ? 3 : -3)));
    for (let i = 0; i < 100; i++) tf.dispose(discriminator.logits(x, { random }));
    const judge = (y: tf.Tensor4D) => tf.sum(tf.softplus(tf.concat(discriminator.logits(y, { random }), 1))) as tf.Scalar;
    const penalty = (y: tf.Tensor4D) => {
      const [slope] = vectorJacobianProduct(() => judge(y), [y]);
      return tf.sum(tf.square(slope!)) as tf.Scalar;
    };
    for (const f of [judge, penalty]) {
      const [slope] = gradients(() => f(x), [x]);
      const length = tf.norm(slope!).dataSync()[0]!;
      const h = 0.02;
      const at = (sign: number) => f(tf.add(x, tf.mul(slope!, (sign * h) / length))).dataSync()[0]!;
      const difference = (at(1) - at(-1)) / (2 * h);
      expect(Math.abs(difference / length - 1), `${length} and ${difference}`).toBeLessThan(1e-2);
    }
    discriminator.dispose();
  });

  it('takes a finished network, and says what a class-conditional one lacks', async () => {
    const network = new TinyFeatures().initialize(new PhiloxRandom(5));
    const embeddings: ClassEmbeddings = {
      description: { part: 'mine', options: {} },
      dimensions: 2,
      load: () => Promise.resolve(Float32Array.from([1, 2, 3, 4, 5, 6])),
    };
    const discriminator = await prepared([network], { ...tiny, conditional: { embeddings } }, 3, 3);
    for (const { embedding } of discriminator.classProjections) expect([...embedding.read()]).toEqual([1, 2, 3, 4, 5, 6]);
    const x = images();
    const logits = (classLabels?: tf.Tensor2D) => discriminator.logits(x, { classLabels, random })[0]!;
    expect(logits(oneHot([0, 2], 3)).shape).toEqual([2, 50]);
    expect(() => logits()).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
    expect(() => logits(oneHot([0, 2], 4))).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
    expect(() => discriminator.logits(tf.zeros([2, 8, 8, 1]), { classLabels: oneHot([0, 2], 3), random })).toThrow('3 channels');
    discriminator.dispose();
    expect(network.tensors().every((tensor) => !tensor.allocated)).toBe(true);
  });

  it('fails where a loader brings another network, and frees it', async () => {
    const before = tf.memory().numTensors;
    const lying = {
      ...tinyFeatures(),
      describe: () => ({ ...describeOf(new TinyFeatures()), stages: [{ name: 'x', resolution: 16, channels: 3 }] }),
    };
    const discriminator = await build([lying], { nominalSize: 16, widths: [4] });
    await expect(discriminator.prepare()).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
    discriminator.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

const describeOf = (network: TinyFeatures) => ({ name: network.name, features: (x: tf.Tensor4D) => network.features(x) });

describe('the class projection', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('by hand: rows of the table, scaled weights, leaky ReLU times sqrt(2)', () => {
    const projection = new ClassProjection('p.', { classes: 2, dimensions: 4, width: 2, trained: true });
    const values: Record<string, number[]> = {
      'p.embed.weight': [1, 2, 3, 4, -1, 0, 0, 0],
      'p.embed_proj.weight': [1, 0, 0, 0, 0, 1, 1, 1],
      'p.embed_proj.bias': [0.5, -1],
    };
    for (const tensor of projection.tensors()) tensor.load(Float32Array.from(values[tensor.name]!));
    // Class 0: (1 / 2 + 0.5, 9 / 2 - 1); class 1: (-1 / 2 + 0.5, -1 -> -0.2).
    const expected = [1, 3.5, 0, -0.2].map((value) => value * Math.SQRT2);
    expect(projection.forward(oneHot([0, 1], 2)).dataSync()).toBeAllclose(expected, { atol: 1e-6 });
    expect(projection.parameterCount()).toBe(8 + 8 + 2);
    projection.dispose();
  });

  it('with frozen embeddings keeps them as a buffer', () => {
    const projection = new ClassProjection('p.', { classes: 2, dimensions: 4, width: 2, trained: false });
    expect(projection.parameters().map(({ name }) => name)).toEqual(['p.embed_proj.weight', 'p.embed_proj.bias']);
    expect(projection.buffers().map(({ name }) => name)).toEqual(['p.embed.weight']);
  });
});
