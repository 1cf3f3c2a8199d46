import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { openBackend } from '../../core/backend/index.js';
import { hub } from '../../core/download/test-hub.js';
import { cleanEnvironment, setEnvironment, temporaryDirectory } from '../../core/download/test-support.js';
import { PhiloxRandom } from '../../core/random.js';
import { writeSafetensors } from '../../core/safetensors.js';
import { EfficientNetLite } from './efficientnet-lite.js';
import { efficientnetLite0, vgg16bn } from './feature-loaders.js';

beforeAll(async () => {
  await openBackend({ engine: 'wasm' });
});

let cacheDir: string;
beforeEach(() => {
  cleanEnvironment();
  setEnvironment({ ONESTEP_OFFLINE: undefined, HF_HUB_OFFLINE: undefined, HF_TOKEN: undefined, HF_ENDPOINT: undefined });
  cacheDir = temporaryDirectory();
});

it('a feature network comes by hf: name, is looked at and loaded by one download, and is there offline afterwards', async () => {
  const path = join(cacheDir, 'written.safetensors');
  const written = new EfficientNetLite({ size: 32 }).initialize(new PhiloxRandom(1));
  await writeSafetensors(
    path,
    written.tensors().map((tensor) => ({ name: tensor.name, shape: tensor.shape, data: () => tensor.read() })),
  );
  const { store } = await hub({
    'model.safetensors': readFileSync(path),
    'config.json': Buffer.from('{"architecture": "tf_efficientnet_lite0"}'),
  });
  const reference = 'hf:team/net/model.safetensors';
  const loader = efficientnetLite0(reference, { size: 32, cacheDir });

  // A plan fetches nothing.
  await loader.check!({ localOnly: true });
  expect(store.requests).toEqual([]);
  await loader.check!({ localOnly: false });
  const fetched = store.requests.length;
  expect(fetched).toBeGreaterThan(0);
  await expect(vgg16bn(reference, { cacheDir }).check!({ localOnly: false })).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });

  const offline = await efficientnetLite0(reference, { size: 32, cacheDir, offline: true }).load(new PhiloxRandom(2));
  const x = tf.randomUniform<tf.Rank.R4>([1, 8, 8, 3], -1, 1, 'float32', 1);
  const last = (network: Pick<typeof offline, 'features'>) =>
    tf.tidy(() => network.features(x, { classLabels: undefined, random: new PhiloxRandom(0) })[3]!.dataSync());
  expect(last(offline)).toBeAllclose(last(written), { atol: 1e-6 });
  expect(store.requests).toHaveLength(fetched);
  for (const network of [offline, written]) network.dispose();
  x.dispose();
});

it('a name that the hub does not have, and one that may not be asked for, say so before anything is loaded', async () => {
  await hub({ 'model.safetensors': Buffer.alloc(2000) });
  await expect(efficientnetLite0('hf:team/net/other.safetensors', { cacheDir }).check!({ localOnly: false })).rejects.toMatchObject({
    code: 'E_DOWNLOAD_ABSENT',
  });
  await expect(
    efficientnetLite0('hf:team/net/model.safetensors', { cacheDir, offline: true }).check!({ localOnly: false }),
  ).rejects.toMatchObject({ code: 'E_DOWNLOAD_OFFLINE' });
});
