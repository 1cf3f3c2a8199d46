import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hashedFile, hashedImages } from '../../../test/support/hashed-file.js';
import { openBackend } from '../../core/backend/index.js';
import { writeSafetensors } from '../../core/safetensors.js';
import { CLIP_LAYOUTS, CLIP_VIT_B32, clipExtractor, clipVitB32 } from './clip-vit-b32.js';
import { DINOV2_LAYOUTS, DINOV2_VIT_L14, dinov2Extractor, dinov2VitL14 } from './dinov2-vit-l14.js';
import { inceptionV3 } from './inception-v3.js';
import { VisionTransformer } from './vision-transformer.js';
import { placesOf, weightsIn, type WeightLayout } from './weight-layout.js';

const folder = mkdtempSync(join(tmpdir(), 'extractors-'));
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  await openBackend({ engine: 'wasm' });
});

const config = { ...CLIP_VIT_B32, width: 8, depth: 1, heads: 2, projection: 4 };
const dinov2 = { ...DINOV2_VIT_L14, width: 8, depth: 1, heads: 2 };
const [huggingFace, openAi] = CLIP_LAYOUTS as [WeightLayout, WeightLayout];
const images = hashedImages([2, 32, 32]);
const shape = [2, 32, 32, 3] as const;

interface Changes {
  prefix?: string;
  leaveOut?: readonly string[];
  reshape?: Readonly<Record<string, readonly number[]>>;
}

/** A file of the small CLIP, in a layout of which the values come from those of Hugging Face's names. */
async function write(name: string, layout: WeightLayout, { prefix = '', leaveOut = [], reshape = {} }: Changes = {}): Promise<string> {
  const path = join(folder, name);
  const network = new VisionTransformer(config);
  const source = weightsIn(hashedFile(network, huggingFace), 'hashed', network, CLIP_LAYOUTS);
  const tensors = await Promise.all(
    network.tensors().map(async (tensor) => {
      const values = await source.read(tensor.name);
      const places = placesOf(layout, tensor);
      const transposed = places.length === 1 && typeof layout.place(tensor.name) === 'object';
      return places.map((place, i) => {
        const part = values.slice((i * values.length) / places.length, ((i + 1) * values.length) / places.length);
        const [rows, columns] = tensor.shape as [number, number];
        const data = transposed ? part.map((_, at) => part[(at % rows) * columns + Math.floor(at / rows)]!) : part;
        return { name: prefix + place.name, shape: reshape[place.name] ?? place.shape, data: () => data };
      });
    }),
  );
  await writeSafetensors(
    path,
    tensors.flat().filter((tensor) => !leaveOut.includes(tensor.name)),
    {},
  );
  return path;
}

it('the same weights give the same features and identity in every layout, with and without a prefix', async () => {
  const before = tf.memory().numTensors;
  const results = [];
  for (const [name, layout, prefix] of [
    ['hf', huggingFace, ''],
    ['openai', openAi, ''],
    ['prefixed', huggingFace, 'model.'],
  ] as const) {
    const extractor = clipExtractor(config, { weights: await write(`${name}.safetensors`, layout, { prefix }), batchSize: 1 });
    const features = await extractor.extract(images, shape); // Prepares itself.
    results.push({ features: Array.from(features), identity: extractor.identity() });
    extractor.dispose();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
  expect(results[0]!.identity).toMatch(/^clip-vit-b32-[0-9a-f]{32}$/);
  expect(tf.memory().numTensors).toBe(before);
});

it('a row depends on its image alone, whatever the batch; one channel is three equal ones', async () => {
  const extractor = clipExtractor(config, { weights: await write('rows.safetensors', huggingFace) });
  const both = await extractor.extract(images, shape);
  const second = await extractor.extract(images.subarray(32 * 32 * 3), [1, 32, 32, 3]);
  expect(second).toBeAllclose(both.subarray(4), { atol: 1e-6 });
  expect(Array.from(both.subarray(0, 4))).not.toEqual(Array.from(both.subarray(4)));
  const grey = images.filter((_, i) => i % 3 === 0);
  const repeated = Uint8Array.from(images, (_, i) => grey[Math.floor(i / 3)]!);
  expect(await extractor.extract(grey, [2, 32, 32, 1])).toEqual(await extractor.extract(repeated, shape));
  expect(await extractor.extract(new Uint8Array(0), [0, 32, 32, 3])).toEqual(new Float32Array(0));
  await expect(extractor.extract(images, [2, 32, 32, 4])).rejects.toMatchObject({ code: 'E_SHAPE' });
  extractor.dispose();
});

it('another value is another identity', async () => {
  const of = async (weights: string) => {
    const extractor = dinov2Extractor(dinov2, { weights });
    expect(() => extractor.identity()).toThrow(/await prepare\(\) first/);
    await extractor.prepare();
    extractor.dispose();
    return extractor.identity();
  };
  const network = new VisionTransformer(dinov2);
  const paths = await Promise.all(
    [0, 1].map(async (change) => {
      const file = hashedFile(network, DINOV2_LAYOUTS[0]!);
      const path = join(folder, `dinov2-${change}.safetensors`);
      const data = async (name: string) =>
        (await file.readAsFloat32(name)).map((v, i) => (name === 'norm.bias' && i === 7 ? v + change : v));
      await writeSafetensors(
        path,
        [...file.tensors].map(([name, entry]) => ({ name, shape: entry.shape, data: () => data(name) })),
        {},
      );
      return path;
    }),
  );
  expect(await of(paths[0]!)).toBe(await of(paths[0]!));
  expect(await of(paths[0]!)).not.toBe(await of(paths[1]!));
});

it('every tensor that is missing or misshapen is in one error, under its name in the file', async () => {
  const missing = ['vision_model.encoder.layers.0.self_attn.k_proj.weight', 'vision_model.post_layernorm.bias'];
  const reshape = { 'visual_projection.weight': [8, 4] };
  const before = tf.memory().numTensors;
  const extractor = clipExtractor(config, { weights: await write('wrong.safetensors', huggingFace, { leaveOut: missing, reshape }) });
  for (let time = 0; time < 2; time++) {
    const error = await extractor.prepare().then(
      () => undefined,
      (found: Error) => found,
    );
    expect(error).toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
    expect(error!.message).toContain('3 tensors of Hugging Face');
    for (const name of missing) expect(error!.message).toContain(`${name}: expected shape`);
    expect(error!.message).toContain('visual_projection.weight: expected shape [4, 8], found [8, 4]');
  }
  expect(tf.memory().numTensors).toBe(before);
  await expect(inceptionV3({ weights: join(folder, 'wrong.safetensors') }).prepare()).rejects.toThrow(
    /one of these layouts: pytorch-fid .*found \d+ tensors of other names/,
  );
});

it('says what it is without reading anything, and refuses unknown options and absent files', async () => {
  const rows = [inceptionV3(), inceptionV3({ resize: 'clean' }), clipVitB32(), dinov2VitL14()];
  expect(rows.map(({ name, dimensions, classes }) => [name, dimensions, classes])).toEqual([
    ['inception-v3', 2048, 1008],
    ['inception-v3-clean', 2048, 1008],
    ['clip-vit-b32', 512, undefined],
    ['dinov2-vit-l14', 1024, undefined],
  ]);
  expect(() => inceptionV3({ resize: 'nearest' as 'clean' })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  expect(() => clipVitB32({ size: 224 } as object)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  await expect(dinov2VitL14({ weights: join(folder, 'absent.pth') }).prepare()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
});
