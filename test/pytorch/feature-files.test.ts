/** Files of feature networks that PyTorch writes: both containers, nested, in half precision; what they compute is what was written. */
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { PhiloxRandom, writeSafetensors } from '../../src/index.js';
import { EfficientNetLite, efficientnetLite0, vgg16bn } from '../../src/models/index.js';
import { engines, useEngine } from '../support/engines.js';
import { hasPyTorch, runTool, temporaryDirectory } from '../support/pytorch.js';

const inputs = { classLabels: undefined, random: new PhiloxRandom(0) };

describe.skipIf(!hasPyTorch)('feature networks from PyTorch’s files', () => {
  const directory = temporaryDirectory();
  const source = join(directory, 'lite0.safetensors');
  let expected: Float32Array[];
  const maps = (network: Pick<EfficientNetLite, 'features'> | Awaited<ReturnType<ReturnType<typeof vgg16bn>['load']>>) =>
    tf.tidy(() =>
      network.features(tf.randomUniform<tf.Rank.R4>([1, 8, 8, 3], -1, 1, 'float32', 1), inputs).map((map) => map.dataSync<'float32'>()),
    );

  beforeAll(async () => {
    await useEngine(engines[0]!);
    const written = new EfficientNetLite({ size: 32 }).initialize(new PhiloxRandom(1));
    await writeSafetensors(
      source,
      written.tensors().map((tensor) => ({ name: tensor.name, shape: tensor.shape, data: () => tensor.read() })),
    );
    expected = maps(written);
    written.dispose();
  });

  it.each([
    ['the zip container', [], 1e-6],
    ['the legacy container', ['--legacy'], 1e-6],
    ['a training checkpoint', ['--nested', 'state_dict'], 1e-6],
    // Weights rounded to 11 bits, through sixteen blocks.
    ['half precision', ['--dtype', 'float16'], 3e-2],
  ] as const)('%s', async (name, flags, rtol) => {
    const path = join(directory, `${name}.pth`);
    runTool('make_state_dict.py', source, path, ...flags);
    await efficientnetLite0(path, { size: 32 }).check!({ localOnly: false });
    const before = tf.memory().numTensors;
    const loaded = await efficientnetLite0(path, { size: 32 }).load(new PhiloxRandom(2));
    maps(loaded).forEach((map, k) => expect(map, `stage ${k}`).toBeCloseInL2(expected[k]!, rtol));
    loaded.dispose();
    expect(tf.memory().numTensors).toBe(before);
    await expect(vgg16bn(path).check!({ localOnly: false })).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
  });
});
