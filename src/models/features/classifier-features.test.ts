import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { vectorJacobianProduct } from '../../core/autodiff/index.js';
import { ConfigError } from '../../core/errors.js';
import { PhiloxRandom } from '../../core/random.js';
import { ProjectedFeatures } from './projected-features.js';
import { ClassifierFeatures, classifierFeatures } from './classifier-features.js';
import { ImageClassifier } from './image-classifier.js';

const config = { channels: 3, classes: 10, widths: [4, 6, 8], features: 5 };
const classifier = () => new ImageClassifier(config, 'mine').initialize(new PhiloxRandom(2));
const pixels = (size: number) => tf.tensor4d(new PhiloxRandom(1).stream('images').normal(2 * size * size * 3), [2, size, size, 3]);
const inputs = { classLabels: undefined, random: new PhiloxRandom(0) };

describe.each(engines)('classifier features on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('are the maps that the stages name, of the images as they are', () => {
    const network = new ClassifierFeatures(classifier(), { size: 16, finest: 1 });
    expect(network.stages).toEqual([
      { name: 'levels.1', resolution: 8, channels: 6 },
      { name: 'levels.2', resolution: 4, channels: 8 },
    ]);
    const images = pixels(16);
    const maps = network.features(images);
    expect(maps.map(({ shape }) => shape)).toEqual(network.stages.map(({ resolution, channels }) => [2, resolution, resolution, channels]));
    const own = classifier();
    const expected = own.maps(images);
    expect(expected.map(({ shape }) => shape[1])).toEqual([16, 8, 4]);
    maps.forEach((map, i) => expect(map.dataSync()).toBeAllclose(expected[i + 1]!.dataSync(), { rtol: 1e-5, atol: 1e-6 }));
    tf.dispose([images, maps, expected]);
    network.dispose();
    own.dispose();
  });

  it('resize images of another size', () => {
    const network = new ClassifierFeatures(classifier(), { size: 16 });
    const images = pixels(8);
    const resized = tf.image.resizeBilinear(images, [16, 16], false, true);
    const [found] = network.features(images);
    const [expected] = network.features(resized);
    expect(found!.shape).toEqual([2, 16, 16, 4]);
    expect(found!.dataSync()).toBeAllclose(expected!.dataSync(), { rtol: 1e-4, atol: 1e-5 });
    network.dispose();
    tf.disposeVariables();
  });

  it('have second-order gradients behind a projection, as R1 needs them', async () => {
    const mine = classifier();
    const projection = new ProjectedFeatures(classifierFeatures(mine, { size: 8 }), { prefix: '', widths: [3, 4, 5] });
    projection.initialize(new PhiloxRandom(3));
    await projection.prepare(new PhiloxRandom(3));
    const images = pixels(8);
    const penalty = (x: tf.Tensor4D) => {
      const [slope] = vectorJacobianProduct(() => tf.sum(tf.square(projection.features(x, inputs)[0]!)), [x]);
      return tf.sum(tf.square(slope!)) as tf.Scalar;
    };
    const [gradient] = vectorJacobianProduct(() => penalty(images), [images]);
    // Along the gradient a small step changes the penalty by the gradient's squared length times the step; no unit of these networks changes sign on it.
    const length = tf.norm(gradient!).dataSync()[0]!;
    const step = 1e-3;
    const at = (h: number) => penalty(tf.add(images, tf.mul(gradient!, h / length)) as tf.Tensor4D).dataSync()[0]!;
    expect(length).toBeGreaterThan(0);
    expect((at(step) - at(-step)) / (2 * step) / length).toBeCloseTo(1, 1);
    projection.dispose();
    mine.dispose();
  });

  it('a run has a copy: disposing it leaves the classifier, and nothing else', async () => {
    const mine = classifier();
    const before = tf.memory().numTensors;
    const loaded = await classifierFeatures(mine, { size: 8 }).load(new PhiloxRandom(0));
    expect(loaded.tensors!().map((tensor) => [...tensor.read()])).toEqual(mine.tensors().map((tensor) => [...tensor.read()]));
    loaded.dispose();
    expect(tf.memory().numTensors).toBe(before);
    expect(mine.tensors().every(({ allocated }) => allocated)).toBe(true);
    mine.dispose();
  });
});

describe('options of classifier features', () => {
  const problems = (options: Parameters<typeof classifierFeatures>[1]) => {
    try {
      classifierFeatures(new ImageClassifier(config), options);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      return (error as ConfigError).problems.join('\n');
    }
    return '';
  };

  it('are checked at once', () => {
    expect(problems({ size: 10, finest: 3 })).toMatch(
      /size: expected a multiple of 4 for 3 levels, got 10\nfinest: expected a level below 3, got 3/,
    );
    expect(problems({ size: 16, coarsest: 1 } as never)).toContain('coarsest');
    expect(problems({ size: 16 })).toBe('');
  });

  it('describe the network without values', () => {
    const loader = classifierFeatures(new ImageClassifier(config, 'mine'), { size: 16, finest: 2 });
    expect(loader.describe().stages).toEqual([{ name: 'levels.2', resolution: 4, channels: 8 }]);
    expect(loader.description).toEqual({ part: 'classifierFeatures', options: { name: 'mine', config, size: 16, finest: 2 } });
  });
});
