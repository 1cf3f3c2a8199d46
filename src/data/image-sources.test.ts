import { execFile } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { range, toArray, lastValueFrom, type Observable } from 'rxjs';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { edmFiles, edmName, FileMaker, pixelsOf, png, type Files } from '../../test/support/image-files.js';
import type { DataSource } from '../core/contracts/data.js';
import { batchStream, type BatchStreamOptions } from './batch-stream.js';
import { edmFolder, edmZip, imageFolder } from './image-sources.js';

const files = new FileMaker('sources');
const opened: DataSource[] = [];
afterAll(async () => {
  await Promise.all(opened.map((source) => source.close()));
});
const keep = <S extends DataSource>(source: S): S => {
  opened.push(source);
  return source;
};

const image = (batch: { images: Uint8Array; shape: readonly number[] }, k: number) => {
  const bytes = batch.images.length / batch.shape[0]!;
  return batch.images.subarray(k * bytes, (k + 1) * bytes);
};
const demands = (count: number) => range(0, count) as unknown as Observable<void>;
const batches = (source: DataSource, count: number, options: Partial<BatchStreamOptions> = {}) =>
  lastValueFrom(batchStream(source, { batchSize: 5, seed: 2, flip: true, ...options, demand$: demands(count) }).pipe(toArray()));

describe('edmZip and edmFolder', () => {
  it.each([
    ['a stored zip', async () => edmZip(await files.zip(edmFiles(7)), { workers: 2 })],
    ['a deflated zip', async () => edmZip(await files.zip(edmFiles(7), { compress: true }), { workers: 2 })],
    ['a folder', () => edmFolder(files.folder(edmFiles(7)), { workers: 2 })],
  ])('read images and labels in the order of names: %s', async (_name, make) => {
    const source = keep(await make());
    expect(await source.open()).toMatchObject({ resolution: 8, channels: 3, classes: 3, size: 7 });
    const batch = await source.read(Uint32Array.of(6, 0, 3, 3));
    expect(batch.shape).toEqual([4, 8, 8, 3]);
    expect(batch.labels).toEqual(Uint32Array.of(0, 0, 0, 0));
    [6, 0, 3, 3].forEach((number, k) => expect(image(batch, k)).toEqual(pixelsOf(number)));
    expect((await source.read(Uint32Array.of(1, 2, 5))).labels).toEqual(Uint32Array.of(1, 2, 2));
    expect((await source.read(new Uint32Array(0))).shape).toEqual([0, 8, 8, 3]);
    await expect(source.read(Uint32Array.of(7))).rejects.toThrow('expected an index below 7, got 7');
  });

  it('sorts names, whatever the order in the zip, and leaves other and hidden files out', async () => {
    const content = {
      'b.png': png(2),
      '__MACOSX/._b.png': 'junk',
      'notes.txt': 'x',
      'a/c.PNG': png(1),
      '.hidden.png': 'x',
      'B.png': png(0),
    };
    const source = keep(edmZip(await files.zip(content), { workers: 1 }));
    expect(await source.open()).toEqual({
      name: expect.stringMatching(/\.zip$/) as string,
      resolution: 8,
      channels: 3,
      classes: 0,
      size: 3,
    });
    const batch = await source.read(Uint32Array.of(0, 1, 2));
    expect(batch.labels).toBeUndefined();
    [0, 1, 2].forEach((number) => expect(image(batch, number)).toEqual(pixelsOf(number)));
  });

  it('has no labels where dataset.json says null, and keeps greys at one channel', async () => {
    const source = keep(edmZip(await files.zip({ 'a.png': png(4, 8, 8, 1), 'dataset.json': '{"labels": null}' }), { workers: 1 }));
    expect(await source.open()).toMatchObject({ channels: 1, classes: 0 });
    expect(image(await source.read(Uint32Array.of(0)), 0)).toEqual(pixelsOf(4, 8, 8, 1));
  });

  it('says what is wrong with a set as a whole', async () => {
    const open = async (content: Files) => keep(edmZip(await files.zip(content), { workers: 1 })).open();
    await expect(open({ 'a.txt': 'x' })).rejects.toMatchObject({ code: 'E_IMAGE_NONE' });
    await expect(open(edmFiles(2, { 'dataset.json': '{"labels": [' }))).rejects.toThrow(/\.zip: dataset\.json: near byte 12: /);
    const oneHot = JSON.stringify({ labels: [[edmName(0), [0, 1]]] });
    await expect(open(edmFiles(1, { 'dataset.json': oneHot }))).rejects.toThrow('labels that are vectors are not read');
    await expect(open({ 'a.png': png(0, 8, 4) })).rejects.toMatchObject({
      code: 'E_IMAGE_SIZE',
      message: expect.stringMatching(/data\.zip: a\.png: expected a square, found 8x4 px\nhelp: /) as string,
    });
    await expect(open({ 'set/a.png': png(1), 'set/dataset.json': '{"labels": [["a.png", 1]]}' })).rejects.toMatchObject({
      code: 'E_FILE_FORMAT',
      message: expect.stringContaining('expected dataset.json beside the folders of images, found set/dataset.json') as string,
    });
    await expect(keep(edmZip(join(files.root, 'absent.zip'))).open()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(keep(edmFolder(join(files.root, 'absent'))).open()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    expect(() => edmZip('a.zip', { worker: 1 } as never)).toThrow(/^edmZip: 1 problem\n.*worker/);
  });
});

describe('invalid images', () => {
  const truncated = png(3).subarray(0, 60);
  const content = (): Files => ({
    ...edmFiles(12, { [edmName(3)]: truncated, [edmName(5)]: png(5, 16), [edmName(7)]: png(7, 8, 8, 4), [edmName(9)]: 'no image' }),
    'unlabelled.png': png(99),
  });

  it('stop: each is an error with its name and a code of its own', async () => {
    const all: Record<string, Uint8Array | string> = content();
    await expect(keep(edmZip(await files.zip(all), { workers: 1 })).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringContaining('unlabelled.png: expected a label in dataset.json') as string,
    });
    delete all['unlabelled.png'];
    for (const source of [edmZip(await files.zip(all), { workers: 1 }), edmFolder(files.folder(all), { workers: 1 })].map(keep)) {
      expect(await source.open()).not.toHaveProperty('skipped');
      for (const [number, code, problem] of [
        [3, 'E_IMAGE_FORMAT', 'expected a whole PNG'],
        [5, 'E_IMAGE_SIZE', 'expected 8x8 px as 00000/img00000000.png, found 16x16 px'],
        [7, 'E_IMAGE_CHANNELS', 'expected 3 channels as 00000/img00000000.png, found 4'],
        [9, 'E_IMAGE_FORMAT', 'expected a PNG, a JPEG or a WebP'],
      ] as const) {
        const error = { code, message: expect.stringContaining(`: ${edmName(number)}: ${problem}`) as string };
        await expect(source.read(Uint32Array.of(0, number, 1))).rejects.toMatchObject(error);
      }
      expect(image(await source.read(Uint32Array.of(11)), 0)).toEqual(pixelsOf(11));
      await expect(batches(source, 12)).rejects.toHaveProperty('code', expect.stringMatching(/^E_IMAGE_/));
    }
  });

  it('skip: all of them are left out and counted; the rest keep their order and labels', async () => {
    const all: Record<string, Uint8Array | string> = content();
    for (const source of [
      edmZip(await files.zip(all), { workers: 1, onInvalid: 'skip' }),
      edmFolder(files.folder(all), { workers: 1, onInvalid: 'skip' }),
    ].map(keep)) {
      expect(await source.open()).toMatchObject({ size: 8, skipped: 5, resolution: 8, classes: 3 });
      const valid = [0, 1, 2, 4, 6, 8, 10, 11];
      const batch = await source.read(Uint32Array.from(valid.keys()));
      valid.forEach((number, k) => expect(image(batch, k)).toEqual(pixelsOf(number)));
      expect(batch.labels).toEqual(Uint32Array.from(valid, (number) => number % 3));
    }
  });

  it('skip: an odd first image does not make the others odd, and nothing wrong counts as nothing', async () => {
    const odd = keep(edmZip(await files.zip(edmFiles(5, { [edmName(0)]: png(0, 16) })), { workers: 2, onInvalid: 'skip' }));
    expect(await odd.open()).toMatchObject({ size: 4, skipped: 1, resolution: 8 });
    const good = keep(edmZip(await files.zip(edmFiles(5)), { workers: 2, onInvalid: 'skip' }));
    expect(await good.open()).toMatchObject({ size: 5, skipped: 0 });
    const none = keep(edmZip(await files.zip({ 'a.png': 'x' }), { workers: 1, onInvalid: 'skip' }));
    await expect(none.open()).rejects.toThrow(/found none of 1 valid; the first: data\.zip: a\.png: /);
  });

  it('skip: images that are no squares are left out, however many; where no image is valid the first says why', async () => {
    const wide = { [edmName(0)]: png(0, 8, 4), [edmName(1)]: png(1, 8, 4), [edmName(2)]: png(2, 4, 8) };
    const some = keep(edmZip(await files.zip(edmFiles(4, wide)), { workers: 1, onInvalid: 'skip' }));
    expect(await some.open()).toMatchObject({ size: 1, skipped: 3, resolution: 8 });
    expect((await some.read(Uint32Array.of(0))).images).toEqual(pixelsOf(3));
    const none = keep(edmZip(await files.zip({ 'a.png': png(0, 8, 4) }), { workers: 1, onInvalid: 'skip' }));
    await expect(none.open()).rejects.toThrow(/found none of 1 valid; the first: data\.zip: a\.png: expected a square, found 8x4 px/);
    const unlabelled = { 'a.png': png(0), 'dataset.json': '{"labels": [["b.png", 1]]}' };
    await expect(keep(edmZip(await files.zip(unlabelled), { onInvalid: 'skip' })).open()).rejects.toThrow(
      /expected images, found none of 1 valid; onInvalid: stop says why/,
    );
  });

  it('a label that is no class index is that of its image alone', async () => {
    const labels = [0, -1, 2].map((label, k) => [edmName(k), label]);
    const path = await files.zip(edmFiles(3, { 'dataset.json': JSON.stringify({ labels }) }));
    await expect(keep(edmZip(path)).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringContaining(`data.zip: dataset.json: ${edmName(1)}: expected a class index of 0 to`) as string,
    });
    const skipping = keep(edmZip(path, { workers: 1, onInvalid: 'skip' }));
    expect(await skipping.open()).toMatchObject({ size: 2, skipped: 1, classes: 3 });
    expect((await skipping.read(Uint32Array.of(0, 1))).labels).toEqual(Uint32Array.of(0, 2));
    for (const plain of [
      edmZip(path, { labels: false }),
      edmFolder(files.folder(edmFiles(3, { 'dataset.json': '{' })), { labels: false }),
    ]) {
      expect(await keep(plain).open()).toMatchObject({ size: 3, classes: 0 });
      expect((await plain.read(Uint32Array.of(1))).labels).toBeUndefined();
    }
  });

  it('skip: entries of a zip that cannot be located are left out as well', async () => {
    const path = await files.zip(edmFiles(4));
    const bytes = readFileSync(path);
    bytes.writeUInt16LE(14, bytes.indexOf('PK\x01\x02') + 10);
    writeFileSync(path, bytes);
    await expect(keep(edmZip(path, { workers: 1 })).open()).rejects.toThrow(
      `${edmName(0)}: expected an entry stored or deflated, found compression method 14`,
    );
    expect(await keep(edmZip(path, { workers: 1, onInvalid: 'skip' })).open()).toMatchObject({ size: 3, skipped: 1 });
  });
});

describe('imageFolder', () => {
  const raw = { width: 8, height: 8, channels: 3 } as const;

  it('reads PNG, JPEG and WebP; the folders by name are the classes; links are followed', async () => {
    const root = files.folder({
      'dogs/old/a.webp': await sharp(pixelsOf(1), { raw }).webp({ lossless: true }).toBuffer(),
      'dogs/b.png': png(2),
      'cats/z.JPG': await sharp(pixelsOf(3), { raw }).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer(),
      'cats/notes.txt': 'x',
      '.git/c.png': 'x',
    });
    symlinkSync(join(root, 'dogs'), join(root, 'wolves'));
    symlinkSync(root, join(root, 'cats', 'loop'));
    const source = keep(imageFolder(root, { workers: 2 }));
    expect(await source.open()).toMatchObject({ size: 5, classes: 3, resolution: 8, channels: 3 });
    const batch = await source.read(Uint32Array.of(0, 1, 2, 3, 4));
    expect(batch.labels).toEqual(Uint32Array.of(0, 1, 1, 2, 2));
    [2, 1, 2, 1].forEach((number, k) => expect(image(batch, k + 1)).toEqual(pixelsOf(number)));
    image(batch, 0).forEach((value, k) => expect(Math.abs(value - pixelsOf(3)[k]!)).toBeLessThan(12));
  });

  it('refuses a class without images and images without a class', async () => {
    const content = { 'a/1.png': png(1), 'b/1.txt': 'x' };
    await expect(keep(imageFolder(files.folder(content))).open()).rejects.toMatchObject({
      code: 'E_IMAGE_NONE',
      message: expect.stringContaining(': b: ') as string,
    });
    const beside = files.folder({ 'a/1.png': png(1), 'stray.png': png(2) });
    await expect(keep(imageFolder(beside)).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringContaining('stray.png: ') as string,
    });
    expect(await keep(imageFolder(beside, { onInvalid: 'skip' })).open()).toMatchObject({ size: 1, skipped: 1 });
    await expect(keep(imageFolder(files.folder({ '1.png': png(1) }))).open()).rejects.toThrow('found 1 images and no folder');
  });
});

describe('streams of decoded images', () => {
  it('do not depend on the number of workers, and resume exactly in mid-epoch', async () => {
    const path = await files.zip(edmFiles(23));
    const whole = await batches(keep(edmZip(path, { workers: 2 })), 12);
    expect(await batches(keep(edmZip(path, { workers: 3 })), 12, { prefetch: 5 })).toEqual(whole);
    // 35 images: 12 into the second epoch.
    expect(await batches(keep(edmZip(path, { workers: 1 })), 5, { cursor: 35 })).toEqual(whole.slice(7));
    expect(await batches(keep(edmFolder(files.folder(edmFiles(23)))), 12)).toEqual(whole);
  });

  it('end every worker when they are unsubscribed, and start again', async () => {
    const source = keep(edmZip(await files.zip(edmFiles(23)), { workers: 2 }));
    const description = await source.open();
    for (let turn = 0; turn < 2; turn++) {
      const reading = new AbortController();
      const read = source.read(
        Uint32Array.from({ length: 23 }, (_, k) => k),
        reading.signal,
      );
      reading.abort(new Error('enough'));
      await expect(read).rejects.toThrow('enough');
      expect((await batches(source, 2, { description })).length).toBe(2);
    }
    await source.close();
    await expect(source.read(Uint32Array.of(0))).rejects.toMatchObject({ code: 'E_FILE_CLOSED' });
  });

  it('keep no process alive: one that forgets to close ends by itself', async () => {
    const path = await files.zip(edmFiles(9));
    const script = files.path('forgetful.mts');
    const module = fileURLToPath(new URL('./image-sources.ts', import.meta.url));
    writeFileSync(
      script,
      `import { edmZip } from ${JSON.stringify(module)};
       const source = edmZip(${JSON.stringify(path)}, { workers: 2 });
       await source.open();
       const { images } = await source.read(Uint32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8));
       console.log('read', images.length);`,
    );
    const tsx = fileURLToPath(new URL('../../node_modules/tsx/dist/cli.mjs', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [tsx, script], { timeout: 110_000 });
    expect(stdout).toBe('read 1728\n');
  });
});
