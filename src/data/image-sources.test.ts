import { encode } from 'fast-png';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { range, toArray, lastValueFrom, type Observable } from 'rxjs';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { ZipFile } from 'yazl';
import type { DataSource } from '../core/contracts/data.js';
import { batchStream, type BatchStreamOptions } from './batch-stream.js';
import { edmFolder, edmZip, imageFolder } from './image-sources.js';

const folder = mkdtempSync(join(tmpdir(), 'onestep-sources-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const opened: DataSource[] = [];
afterAll(async () => {
  await Promise.all(opened.map((source) => source.close()));
});
const keep = <S extends DataSource>(source: S): S => {
  opened.push(source);
  return source;
};

/** An image whose every byte follows from its number. */
const pixelsOf = (number: number, size = 8, channels = 3) =>
  Uint8Array.from({ length: size * size * channels }, (_, k) => (number * 37 + k * 11) % 256);
const png = (number: number, size = 8, channels = 3) =>
  encode({ width: size, height: size, channels, data: pixelsOf(number, size, channels), depth: 8 });
const nameOf = (number: number) => `00000/img${String(number).padStart(8, '0')}.png`;

type Files = Record<string, Uint8Array | string>;
let made = 0;
async function zipOf(files: Files, compress = false): Promise<string> {
  const zip = new ZipFile();
  for (const [name, content] of Object.entries(files)) zip.addBuffer(Buffer.from(content), name, { compress });
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer);
  const path = join(folder, `${made++}.zip`);
  writeFileSync(path, Buffer.concat(chunks));
  return path;
}
function folderOf(files: Files): string {
  const root = join(folder, String(made++));
  mkdirSync(root);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  return root;
}

/** An EDM set of `count` images with labels; `others` are added or replace some. */
function edmFiles(count: number, others: Files = {}): Files {
  const numbers = Array.from({ length: count }, (_, k) => k);
  const labels = numbers.map((k) => [nameOf(k), k % 3]);
  return { ...Object.fromEntries(numbers.map((k) => [nameOf(k), png(k)])), 'dataset.json': JSON.stringify({ labels }), ...others };
}

const image = (batch: { images: Uint8Array; shape: readonly number[] }, k: number) => {
  const bytes = batch.images.length / batch.shape[0]!;
  return batch.images.subarray(k * bytes, (k + 1) * bytes);
};
const demands = (count: number) => range(0, count) as unknown as Observable<void>;
const batches = (source: DataSource, count: number, options: Partial<BatchStreamOptions> = {}) =>
  lastValueFrom(batchStream(source, { batchSize: 5, seed: 2, flip: true, ...options, demand$: demands(count) }).pipe(toArray()));

describe('edmZip and edmFolder', () => {
  it.each([
    ['a stored zip', async () => edmZip(await zipOf(edmFiles(7)), { workers: 2 })],
    ['a deflated zip', async () => edmZip(await zipOf(edmFiles(7), true), { workers: 2 })],
    ['a folder', () => edmFolder(folderOf(edmFiles(7)), { workers: 2 })],
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
    const files = { 'b.png': png(2), '__MACOSX/._b.png': 'junk', 'notes.txt': 'x', 'a/c.PNG': png(1), '.hidden.png': 'x', 'B.png': png(0) };
    const source = keep(edmZip(await zipOf(files), { workers: 1 }));
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
    const source = keep(edmZip(await zipOf({ 'a.png': png(4, 8, 1), 'dataset.json': '{"labels": null}' }), { workers: 1 }));
    expect(await source.open()).toMatchObject({ channels: 1, classes: 0 });
    expect(image(await source.read(Uint32Array.of(0)), 0)).toEqual(pixelsOf(4, 8, 1));
  });

  it('says what is wrong with a set as a whole', async () => {
    const open = async (files: Files) => keep(edmZip(await zipOf(files), { workers: 1 })).open();
    await expect(open({ 'a.txt': 'x' })).rejects.toMatchObject({ code: 'E_IMAGE_NONE' });
    await expect(open(edmFiles(2, { 'dataset.json': '{"labels": [' }))).rejects.toThrow(/\.zip: dataset\.json: near byte 12: /);
    const oneHot = JSON.stringify({ labels: [[nameOf(0), [0, 1]]] });
    await expect(open(edmFiles(1, { 'dataset.json': oneHot }))).rejects.toThrow('labels that are vectors are not read');
    const wide = encode({ width: 8, height: 4, channels: 3, data: new Uint8Array(96), depth: 8 });
    await expect(open({ 'a.png': wide })).rejects.toMatchObject({
      code: 'E_IMAGE_SIZE',
      message: expect.stringContaining('found 8x4 px') as string,
    });
    await expect(keep(edmZip(join(folder, 'absent.zip'))).open()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(keep(edmFolder(join(folder, 'absent'))).open()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    expect(() => edmZip('a.zip', { worker: 1 } as never)).toThrow(/^edmZip: 1 problem\n.*worker/);
  });
});

describe('invalid images', () => {
  const truncated = png(3).subarray(0, 60);
  const files = (): Files => ({
    ...edmFiles(12, { [nameOf(3)]: truncated, [nameOf(5)]: png(5, 16), [nameOf(7)]: png(7, 8, 4), [nameOf(9)]: 'no image' }),
    'unlabelled.png': png(99),
  });

  it('stop: each is an error with its name and a code of its own', async () => {
    const all = files();
    await expect(keep(edmZip(await zipOf(all), { workers: 1 })).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringContaining('unlabelled.png: expected a label in dataset.json') as string,
    });
    delete all['unlabelled.png'];
    for (const source of [edmZip(await zipOf(all), { workers: 1 }), edmFolder(folderOf(all), { workers: 1 })].map(keep)) {
      expect(await source.open()).not.toHaveProperty('skipped');
      for (const [number, code, problem] of [
        [3, 'E_IMAGE_FORMAT', 'expected a whole PNG'],
        [5, 'E_IMAGE_SIZE', 'expected 8x8 px as the other images, found 16x16 px'],
        [7, 'E_IMAGE_CHANNELS', 'expected 3 channels as the other images, found 4'],
        [9, 'E_IMAGE_FORMAT', 'expected a PNG, a JPEG or a WebP'],
      ] as const) {
        const error = { code, message: expect.stringContaining(`: ${nameOf(number)}: ${problem}`) as string };
        await expect(source.read(Uint32Array.of(0, number, 1))).rejects.toMatchObject(error);
      }
      expect(image(await source.read(Uint32Array.of(11)), 0)).toEqual(pixelsOf(11));
      await expect(batches(source, 12)).rejects.toHaveProperty('code', expect.stringMatching(/^E_IMAGE_/));
    }
  });

  it('skip: all of them are left out and counted; the rest keep their order and labels', async () => {
    const all = files();
    for (const source of [
      edmZip(await zipOf(all), { workers: 1, onInvalid: 'skip' }),
      edmFolder(folderOf(all), { workers: 1, onInvalid: 'skip' }),
    ].map(keep)) {
      expect(await source.open()).toMatchObject({ size: 8, skipped: 5, resolution: 8, classes: 3 });
      const valid = [0, 1, 2, 4, 6, 8, 10, 11];
      const batch = await source.read(Uint32Array.from(valid.keys()));
      valid.forEach((number, k) => expect(image(batch, k)).toEqual(pixelsOf(number)));
      expect(batch.labels).toEqual(Uint32Array.from(valid, (number) => number % 3));
    }
  });

  it('skip: an odd first image does not make the others odd, and nothing wrong counts as nothing', async () => {
    const odd = keep(edmZip(await zipOf(edmFiles(5, { [nameOf(0)]: png(0, 16) })), { workers: 2, onInvalid: 'skip' }));
    expect(await odd.open()).toMatchObject({ size: 4, skipped: 1, resolution: 8 });
    const good = keep(edmZip(await zipOf(edmFiles(5)), { workers: 2, onInvalid: 'skip' }));
    expect(await good.open()).toMatchObject({ size: 5, skipped: 0 });
    const none = keep(edmZip(await zipOf({ 'a.png': 'x' }), { workers: 1, onInvalid: 'skip' }));
    await expect(none.open()).rejects.toThrow(/found none of 1 valid; the first: \d+\.zip: a\.png: /);
  });

  it('skip: entries of a zip that cannot be located are left out as well', async () => {
    const path = await zipOf(edmFiles(4));
    const bytes = readFileSync(path);
    bytes.writeUInt16LE(14, bytes.indexOf('PK\x01\x02') + 10);
    writeFileSync(path, bytes);
    await expect(keep(edmZip(path, { workers: 1 })).open()).rejects.toThrow(
      `${nameOf(0)}: expected an entry stored or deflated, found compression method 14`,
    );
    expect(await keep(edmZip(path, { workers: 1, onInvalid: 'skip' })).open()).toMatchObject({ size: 3, skipped: 1 });
  });
});

describe('imageFolder', () => {
  const raw = { width: 8, height: 8, channels: 3 } as const;

  it('reads PNG, JPEG and WebP; the folders by name are the classes; links are followed', async () => {
    const root = folderOf({
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
    const files = { 'a/1.png': png(1), 'b/1.txt': 'x' };
    await expect(keep(imageFolder(folderOf(files))).open()).rejects.toMatchObject({
      code: 'E_IMAGE_NONE',
      message: expect.stringContaining(': b: ') as string,
    });
    const beside = folderOf({ 'a/1.png': png(1), 'stray.png': png(2) });
    await expect(keep(imageFolder(beside)).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringContaining('stray.png: ') as string,
    });
    expect(await keep(imageFolder(beside, { onInvalid: 'skip' })).open()).toMatchObject({ size: 1, skipped: 1 });
    await expect(keep(imageFolder(folderOf({ '1.png': png(1) }))).open()).rejects.toThrow('found 1 images and no folder');
  });
});

describe('streams of decoded images', () => {
  it('do not depend on the number of workers, and resume exactly in mid-epoch', async () => {
    const path = await zipOf(edmFiles(23));
    const whole = await batches(keep(edmZip(path, { workers: 2 })), 12);
    expect(await batches(keep(edmZip(path, { workers: 3 })), 12, { prefetch: 5 })).toEqual(whole);
    // 35 images: 12 into the second epoch.
    expect(await batches(keep(edmZip(path, { workers: 1 })), 5, { cursor: 35 })).toEqual(whole.slice(7));
    expect(await batches(keep(edmFolder(folderOf(edmFiles(23)))), 12)).toEqual(whole);
  });

  it('end every worker when they are unsubscribed, and start again', async () => {
    const source = keep(edmZip(await zipOf(edmFiles(23)), { workers: 2 }));
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
    const path = await zipOf(edmFiles(9));
    const script = join(folder, 'forgetful.mts');
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
