import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSafetensors } from './safetensors-index.js';
import { writeSafetensors } from './safetensors.js';

const INDEX = 'model.safetensors.index.json';
const tensor = (name: string, value: number) => ({ name, shape: [1], data: Float32Array.of(value) });

let folder: string;
const write = (name: string, content: unknown) =>
  writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onestep-index-'));
  await writeSafetensors(join(folder, 'one.safetensors'), [tensor('a', 1), tensor('b', 2)], { config: '{}' });
  await writeSafetensors(join(folder, 'two.safetensors'), [tensor('c', 3)]);
  write(INDEX, { metadata: { total_size: 12 }, weight_map: { c: 'two.safetensors', a: 'one.safetensors', b: 'one.safetensors' } });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('sharded safetensors', () => {
  it.each([
    ['an index', INDEX],
    ['a folder', '.'],
  ])('%s opens as one file', async (_, path) => {
    const file = await openSafetensors(join(folder, path));
    expect([...file.tensors]).toEqual(['c', 'a', 'b'].map((name) => [name, { dtype: 'F32', shape: [1] }]));
    expect(file.metadata).toEqual({ config: '{}', total_size: '12' });
    expect([...(await file.read('c')), ...(await file.readAsFloat32('a')), ...(await file.read('b'))]).toEqual([3, 1, 2]);
    await expect(file.read('d')).rejects.toMatchObject({
      code: 'E_WEIGHTS_MISSING',
      message: expect.stringContaining('begins with c, a, b'),
    });
  });

  it('a folder with one file needs no index; with several it does', async () => {
    rmSync(join(folder, INDEX));
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: 'E_FILE_NOT_READABLE',
      message: expect.stringContaining('one.safetensors, two.safetensors'),
    });
    rmSync(join(folder, 'one.safetensors'));
    expect([...(await openSafetensors(folder)).tensors.keys()]).toEqual(['c']);
    rmSync(join(folder, 'two.safetensors'));
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: 'E_FILE_NOT_READABLE',
      message: expect.stringContaining('found none'),
    });
  });

  it('a shard may be a link, as in a download cache', async () => {
    mkdirSync(join(folder, 'blobs'));
    await writeSafetensors(join(folder, 'blobs', 'three'), [tensor('c', 4)]);
    rmSync(join(folder, 'two.safetensors'));
    symlinkSync(join('blobs', 'three'), join(folder, 'two.safetensors'));
    expect([...(await (await openSafetensors(folder)).read('c'))]).toEqual([4]);
  });

  const one = { a: 'one.safetensors', b: 'one.safetensors' };
  it.each([
    ['no JSON', '{"weight_map":', 'E_FILE_FORMAT', /not JSON/],
    ['an array', '[]', 'E_FILE_FORMAT', /weight_map/],
    ['no map', {}, 'E_FILE_FORMAT', /weight_map/],
    ['an empty map', { weight_map: {} }, 'E_FILE_FORMAT', /found an empty one/],
    ['a shard that is no text', { weight_map: { a: 1 } }, 'E_FILE_FORMAT', /tensor a: expected the name of a file, found 1/],
    ['a tensor twice', '{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}', 'E_FILE_FORMAT', /key a: expected once/],
    ['a path upwards', { weight_map: { a: '../one.safetensors' } }, 'E_FILE_FORMAT', /tensor a: .*leaves its folder/],
    ['a path upwards within', { weight_map: { a: 'x/../../one.safetensors' } }, 'E_FILE_FORMAT', /leaves its folder/],
    ['a path upwards of Windows', { weight_map: { a: '..\\one.safetensors' } }, 'E_FILE_FORMAT', /leaves its folder/],
    ['an absolute path', { weight_map: { a: '/etc/passwd' } }, 'E_FILE_FORMAT', /leaves its folder/],
    ['a missing shard', { weight_map: { ...one, c: 'three.safetensors' } }, 'E_FILE_ABSENT', /shard three.safetensors .*missing/],
    ['a directory as shard', { weight_map: { a: '.' } }, 'E_FILE_ABSENT', /no file of that name/],
    ['a tensor that its shard lacks', { weight_map: { ...one, c: 'one.safetensors' } }, 'E_FILE_FORMAT', /tensor c: expected in one/],
    [
      'a tensor that the index lacks',
      { weight_map: { a: 'one.safetensors' } },
      'E_FILE_FORMAT',
      /tensor b: found in one.safetensors, but not/,
    ],
  ])('refuses %s', async (_, index, code, message) => {
    write(INDEX, index);
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      help: expect.any(String),
    });
  });

  it('refuses a tensor that two shards hold', async () => {
    await writeSafetensors(join(folder, 'two.safetensors'), [tensor('c', 3), tensor('a', 5)]);
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: 'E_FILE_FORMAT',
      message: expect.stringContaining('tensor a: expected once, found in one.safetensors and in two.safetensors'),
    });
  });

  it('a damaged shard is named', async () => {
    write('two.safetensors', 'short');
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: 'E_FILE_TRUNCATED',
      message: expect.stringContaining('two.safetensors'),
    });
  });
});
