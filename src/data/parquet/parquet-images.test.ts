/** Files that pyarrow wrote (test/golden/parquet, by test/tools/make_parquet.py): image k has the colour (k, 2k, 255 - k). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openParquetImages, parquetImages } from './parquet-images.js';
import { RowGroupCache } from './row-group-cache.js';

const folder = fileURLToPath(new URL('../../../test/golden/parquet', import.meta.url));
const at = (name: string) => join(folder, name);
const directory = mkdtempSync(join(tmpdir(), 'onestep-parquet-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const colour = (k: number) => [k, 2 * k, 255 - k];

describe('parquetImages', () => {
  it('reads a split of a folder in any order, with labels', async () => {
    const source = parquetImages(folder, { workers: 1 });
    expect(await source.open()).toMatchObject({ name: 'parquet', resolution: 6, channels: 3, classes: 3, size: 30 });
    const indices = [29, 0, 6, 7, 14, 15, 29];
    const { images, shape, labels } = await source.read(Uint32Array.from(indices));
    expect(shape).toEqual([7, 6, 6, 3]);
    expect([...labels!]).toEqual(indices.map((k) => k % 3));
    indices.forEach((k, b) => {
      expect([...images.subarray(b * 108, b * 108 + 3)]).toEqual(colour(k));
      expect([...images.subarray(b * 108 + 105, b * 108 + 108)]).toEqual(colour(k));
    });
    await source.close();
  });

  it('reads a list of files in its order, and names of classes', async () => {
    const images = await openParquetImages([at('train-00001-of-00002.parquet'), at('train-00000-of-00002.parquet')]);
    expect([images.size, images.classNames, images.labels![0]]).toEqual([30, ['cat', 'dog', 'ship'], 0]);
    expect([0, 15].map((k) => images.entryName(k))).toEqual(['train-00001-of-00002.parquet row 0', 'train-00000-of-00002.parquet row 0']);
    await images.close();
  });

  it('a set whose labels are all -1 has none', async () => {
    const source = parquetImages(folder, { split: 'test', workers: 1 });
    expect(await source.open()).toMatchObject({ classes: 0, size: 4 });
    expect((await source.read(Uint32Array.of(3))).labels).toBeUndefined();
    await source.close();
  });

  it('texts are classes, columns are chosen by name, bytes need no struct', async () => {
    await expect(openParquetImages(at('plain.parquet'))).rejects.toMatchObject({
      code: 'E_DATA_COLUMN',
      message: expect.stringMatching(/found label, fine_label/),
    });
    const images = await openParquetImages(at('plain.parquet'), { label: 'label' });
    expect([...images.labels!]).toEqual([1, 0, 1, 2, 0]);
    expect(images.classNames).toEqual(['a', 'b', 'c']);
    const source = parquetImages(at('plain.parquet'), { label: false, workers: 1 });
    expect(await source.open()).toMatchObject({ classes: 0, size: 5, channels: 3 });
    expect([...(await source.read(Uint32Array.of(4))).images.subarray(0, 3)]).toEqual(colour(4));
    await source.close();
  });

  it('names the row without a label, without an image, or with half an image', async () => {
    await expect(parquetImages(at('holes.parquet'), { workers: 1 }).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringMatching(/holes\.parquet: row 5: expected a label, found none/),
    });
    const source = parquetImages(at('holes.parquet'), { label: false, workers: 1 });
    await source.open();
    await expect(source.read(Uint32Array.of(2))).rejects.toMatchObject({
      code: 'E_IMAGE_FORMAT',
      message: expect.stringMatching(/holes\.parquet: row 2/),
    });
    await expect(source.read(Uint32Array.of(4))).rejects.toMatchObject({ code: 'E_IMAGE_FORMAT', message: expect.stringMatching(/row 4/) });
    await source.close();
    const skipping = parquetImages(at('holes.parquet'), { onInvalid: 'skip', workers: 1 });
    expect(await skipping.open()).toMatchObject({ size: 5, skipped: 3, classes: 3 });
    const { images, labels } = await skipping.read(Uint32Array.of(0, 1, 2, 3, 4));
    expect([0, 1, 2, 3, 4].map((b) => images[b * 108])).toEqual([0, 1, 3, 6, 7]);
    expect([...labels!]).toEqual([0, 1, 0, 0, 1]);
    await skipping.close();
  });

  it.each([
    ['no file', () => at('absent.parquet'), 'E_FILE_ABSENT', /absent/],
    ['no column of images', () => at('numbers.parquet'), 'E_DATA_COLUMN', /expected a column of images.*found a/],
    ['another split', () => folder, 'E_IMAGE_NONE', /found .*test.*train/],
    [
      'half a file',
      () => {
        const bytes = readFileSync(at('train-00000-of-00002.parquet'));
        writeFileSync(join(directory, 'half.parquet'), bytes.subarray(0, bytes.length / 2));
        return join(directory, 'half.parquet');
      },
      'E_FILE_FORMAT',
      /half\.parquet: its footer cannot be read/,
    ],
    ['a folder without files', () => directory, 'E_IMAGE_NONE', /expected files of the split valid/],
  ] as const)('%s is an error', async (what, path, code, message) => {
    const options = /split|folder/.test(what) ? { split: 'valid' } : {};
    await expect(openParquetImages(path(), options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe('RowGroupCache', () => {
  const group = (size: number) => async () => [new Uint8Array(size)];
  it('reads a group once for all who wait, and lets go what was used longest ago', async () => {
    const cache = new RowGroupCache(100);
    let loads = 0;
    const counted = (size: number) => () => (loads++, group(size)());
    const [a, b] = await Promise.all([cache.get('a', counted(40)), cache.get('a', counted(40))]);
    expect([a === b, loads]).toEqual([true, 1]);
    await cache.get('b', counted(40));
    await cache.get('a', counted(40));
    await cache.get('c', counted(40)); // b goes
    expect([loads, cache.bytes]).toEqual([3, 80]);
    await cache.get('a', counted(40));
    expect(loads).toBe(3);
    await cache.get('b', counted(40));
    expect([loads, cache.bytes]).toEqual([4, 80]);
  });
  it('holds one group that is larger than all room, and asks again after a failure', async () => {
    const cache = new RowGroupCache(10);
    await cache.get('a', group(40));
    expect(cache.bytes).toBe(40);
    await cache.get('b', group(30));
    expect(cache.bytes).toBe(30);
    await expect(cache.get('c', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await cache.get('c', group(1))).toHaveLength(1);
  });
});
