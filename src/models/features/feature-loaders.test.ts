import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openBackend } from '../../core/backend/index.js';
import { PhiloxRandom } from '../../core/random.js';
import { readSafetensors, writeSafetensors } from '../../core/safetensors.js';
import { weightsOf } from '../nn/weights.js';
import { Deit } from './deit.js';
import { EfficientNetLite } from './efficientnet-lite.js';
import { deit, efficientnetLite, efficientnetLite0, vgg16bn } from './feature-loaders.js';
import type { PretrainedFeatures } from './pretrained-features.js';
import { Vgg16Bn } from './vgg16-bn.js';

const folder = mkdtempSync(join(tmpdir(), 'features-'));
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  await openBackend({ engine: 'wasm' });
});

const write = (path: string, network: PretrainedFeatures, prefix = '', leaveOut = '') =>
  writeSafetensors(
    path,
    [
      ...network
        .tensors()
        .filter(({ name }) => name !== leaveOut)
        .map((tensor) => ({ name: prefix + tensor.name, shape: tensor.shape, data: () => tensor.read() })),
      { name: `${prefix}head.weight`, shape: [1], data: () => Float32Array.of(1) },
    ],
    {},
  );

const image = () => tf.randomUniform<tf.Rank.R4>([1, 8, 8, 3], -1, 1, 'float32', 1);

it('keeps of a file what it computes with, and no more', async () => {
  const path = join(folder, 'light.safetensors');
  for (const [written, loader] of [
    [new EfficientNetLite({ size: 32 }), efficientnetLite0(path, { size: 32 })],
    [new Deit({ variant: 'tiny' }), deit('tiny', path)],
  ] as const) {
    const before = tf.memory().numBytes;
    written.initialize(new PhiloxRandom(1));
    const whole = tf.memory().numBytes - before;
    await write(path, written);
    const loaded = await loader.load(new PhiloxRandom(1));
    const light = tf.memory().numBytes - before - whole;
    const [own, readout] = [loaded.tensors!(), loaded.readout?.tensors() ?? []].map((tensors) =>
      tensors.reduce((sum, { size }) => sum + 4 * size, 0),
    );
    expect(light).toBeLessThan(1.01 * own! + readout!);
    expect(whole).toBeGreaterThan(1.9 * own! + readout!);
    const x = image();
    const [maps, expected] = [loaded.features(x, { classLabels: undefined, random: new PhiloxRandom(0) }), written.features(x)];
    maps.forEach((map, k) => expect(map.dataSync()).toBeAllclose(expected[k]!.dataSync(), { atol: 1e-6 }));
    expect(() => loaded.tensors!()[0]!.read()).toThrow(expect.objectContaining({ code: 'E_WEIGHTS_ABSENT' }));
    tf.dispose([maps, expected, x]);
    loaded.dispose();
    written.dispose();
    expect(tf.memory().numBytes).toBe(before);
  }
});

it('with other weights folds anew, and frees those too', async () => {
  const network = new EfficientNetLite({ size: 32 }).freePublished().initialize(new PhiloxRandom(1));
  const x = image();
  const last = () => tf.tidy(() => network.features(x)[3]!.dataSync());
  const [first, before] = [last(), tf.memory()];
  const path = join(folder, 'other.safetensors');
  const other = new EfficientNetLite({ size: 32 }).initialize(new PhiloxRandom(2));
  await write(path, other);
  await network.load(weightsOf(await readSafetensors(path), path));
  const expected = tf.tidy(() => other.features(x)[3]!.dataSync());
  other.dispose();
  expect(last()).toBeAllclose(expected, { atol: 1e-6 });
  expect(last()).not.toEqual(first);
  expect(tf.memory()).toEqual(before);
  network.dispose();
  x.dispose();
});

it('looks at a file without reading its values', async () => {
  const path = join(folder, 'looked-at.safetensors');
  const written = new EfficientNetLite().initialize(new PhiloxRandom(1));
  await write(path, written);
  written.dispose();
  const before = tf.memory().numTensors;
  const look = { localOnly: false };
  await efficientnetLite0(path).check!(look);
  await expect(vgg16bn(path).check!(look)).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
  await expect(vgg16bn(path).check!({ localOnly: true })).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
  const absent = vgg16bn(join(folder, 'absent.pth'));
  await expect(absent.check!(look)).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
  await absent.check!({ localOnly: true });
  // Nothing is fetched for a plan, and nothing is missed.
  await vgg16bn('vgg16_bn', { cacheDir: folder }).check!({ localOnly: true });
  expect(tf.memory().numTensors).toBe(before);
});

it.each(['', 'model.'])('loads what lies under published names behind "%s", and leaves the classifier alone', async (prefix) => {
  const path = join(folder, `lite0-${prefix}.safetensors`);
  const written = new EfficientNetLite({ size: 32 }).initialize(new PhiloxRandom(1));
  await write(path, written, prefix);
  const before = tf.memory().numTensors;
  const loaded = await efficientnetLite0(path, { size: 32 }).load(new PhiloxRandom(2));
  const x = image();
  const inputs = { classLabels: undefined, random: new PhiloxRandom(0) };
  const maps = loaded.features(x, inputs);
  const expected = written.features(x);
  maps.forEach((map, k) => expect(map.dataSync()).toBeAllclose(expected[k]!.dataSync(), { atol: 1e-6 }));
  expect(maps.map(({ shape }) => shape)).toEqual(loaded.stages.map(({ resolution, channels }) => [1, resolution, resolution, channels]));
  tf.dispose([maps, expected, x]);
  loaded.dispose();
  expect(tf.memory().numTensors).toBe(before);
  written.dispose();
});

it('names every tensor that is missing', async () => {
  const path = join(folder, 'incomplete.safetensors');
  const written = new EfficientNetLite().initialize(new PhiloxRandom(1));
  await write(path, written, '', 'blocks.3.1.conv_dw.weight');
  const before = tf.memory().numTensors;
  await expect(efficientnetLite0(path).load(new PhiloxRandom(2))).rejects.toMatchObject({
    code: 'E_WEIGHTS_MISMATCH',
    message: expect.stringContaining('blocks.3.1.conv_dw.weight') as string,
  });
  await expect(vgg16bn(path).load(new PhiloxRandom(2))).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
  expect(tf.memory().numTensors).toBe(before);
  written.dispose();
});

it("draws DeiT's readout from the run's random numbers, and keeps nothing when disposed", async () => {
  const path = join(folder, 'deit.safetensors');
  const before = tf.memory().numTensors;
  const written = new Deit({ variant: 'tiny', channels: [4, 4, 4, 4] }).initialize(new PhiloxRandom(1));
  await write(path, written);
  const loader = deit('tiny', path, { channels: [4, 4, 4, 4] });
  const values = async (seed: number) => {
    const network = await loader.load(new PhiloxRandom(seed));
    const result = network.readout!.tensors().map((tensor) => Array.from(tensor.read()));
    network.dispose();
    return result;
  };
  expect(await values(3)).toEqual(await values(3));
  expect(await values(3)).not.toEqual(await values(4));
  expect(
    loader
      .describe()
      .readout!.tensors()
      .map(({ name }) => name),
  ).toContain('readout.3.resample.weight');
  written.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

it('knows the stages of every network without allocating', () => {
  const before = tf.memory().numTensors;
  const stages = (network: { stages: readonly { resolution: number; channels: number }[] }) =>
    network.stages.map(({ resolution, channels }) => [resolution, channels]);
  expect(stages(vgg16bn().describe())).toEqual([
    [112, 128],
    [56, 256],
    [28, 512],
    [14, 512],
  ]);
  const lite = (variant: 'lite0' | 'lite1' | 'lite2' | 'lite3' | 'lite4') => stages(efficientnetLite(variant).describe());
  const at = (...channels: number[]) => channels.map((count, k) => [[56, 28, 14, 7][k]!, count]);
  expect(lite('lite0')).toEqual(at(24, 40, 112, 320));
  expect(lite('lite2')).toEqual(at(24, 48, 120, 352));
  expect(lite('lite4')).toEqual(at(32, 56, 160, 448));
  expect(stages(deit().describe())).toEqual(at(96, 192, 384, 768));
  expect(new Vgg16Bn().tensors().reduce((sum, { size }) => sum + size, 0)).toBe(14_731_584);
  expect(tf.memory().numTensors).toBe(before);
});

it('refuses unknown options, sizes and variants', () => {
  expect(() => vgg16bn('x', { size: 100 })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  expect(() => efficientnetLite('lite9' as 'lite0')).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  expect(() => deit('base', 'x', { width: 3 } as object)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
});

it('refuses grey images', () => {
  const network = new EfficientNetLite({ size: 32 }).initialize(new PhiloxRandom(1));
  expect(() => network.features(tf.zeros([1, 8, 8, 1]))).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  network.dispose();
});
