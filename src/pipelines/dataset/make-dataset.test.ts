/** EDM zips made of any images: what is in them, what stops them, and that they go on where they stopped. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { edmFiles, edmName, FileMaker, npy, pixelsOf, png, type Files } from '../../../test/support/image-files.js';
import type { FileError } from '../../core/errors.js';
import { decodeImage } from '../../data/encoded/decode-image.js';
import { openZip } from '../../data/encoded/zip-index.js';
import { dataset } from '../../data/dataset.js';
import { centreSquare, squareImage } from '../../data/square-images.js';
import { makeDataset, type MakeDatasetOptions } from './make-dataset.js';

const files = new FileMaker('make-dataset');
afterEach(() => vi.restoreAllMocks());

/** The entries of a zip, in the order of the file, by their local headers; `PK\x03\x04` at the start of each. */
function entriesOf(path: string): { name: string; method: number; content: Buffer }[] {
  const bytes = readFileSync(path);
  const entries = [];
  for (let at = 0; bytes.readUInt32LE(at) === 0x04034b50;) {
    const [method, size, name] = [bytes.readUInt16LE(at + 8), bytes.readUInt32LE(at + 18), bytes.readUInt16LE(at + 26)];
    const start = at + 30 + name;
    entries.push({ name: bytes.toString('utf8', at + 30, start), method, content: bytes.subarray(start, start + size) });
    at = start + size;
  }
  return entries;
}
const labelsOf = (path: string) => JSON.parse(entriesOf(path).at(-1)!.content.toString()) as { labels: [string, number][] | null };
const imagesOf = (path: string) =>
  Promise.all(
    entriesOf(path)
      .slice(0, -1)
      .map(({ name, content }) => decodeImage(content, name)),
  );
const isEmptyBut = (out: string, ...names: string[]) => expect(readdirSync(dirname(out)).sort()).toEqual(names.sort());
const one = { workers: 1 };

/** 40 images of 40 px, labels of 4 classes. */
const COUNT = 40;
const classFolders = (others: Files = {}) =>
  files.folder({
    ...Object.fromEntries(Array.from({ length: COUNT }, (_, k) => [`class${k % 4}/${String(k).padStart(3, '0')}.png`, png(k, 40)])),
    ...others,
  });
const OPTIONS = { size: 16, workers: 1 } satisfies MakeDatasetOptions;

/** 40 images of 40 px as an array, which needs no threads, with labels of 4 classes. */
const arrays = () =>
  files.zip(
    {
      'images.npy': npy('|u1', [COUNT, 40, 40, 3], Buffer.concat(Array.from({ length: COUNT }, (_, k) => pixelsOf(k, 40)))),
      'labels.npy': npy(
        '|u1',
        [COUNT],
        Uint8Array.from({ length: COUNT }, (_, k) => k % 4),
      ),
    },
    { name: 'a.npz' },
  );

/** Stops the work after `images` images. */
async function interrupted(source: string, out: string, images: number, options: MakeDatasetOptions = {}): Promise<unknown> {
  const stop = new AbortController();
  vi.spyOn(performance, 'now').mockImplementation(
    (
      (now) => () =>
        (now += 200)
    )(0),
  ); // progress is told after each image
  try {
    return await makeDataset(source, out, {
      ...OPTIONS,
      ...options,
      signal: stop.signal,
      onProgress: ({ done }) => done >= images && stop.abort(),
    }).catch((error: unknown) => error);
  } finally {
    vi.restoreAllMocks();
  }
}

describe('makeDataset', () => {
  it('writes stored PNGs in EDM’s layout, with labels', async () => {
    const source = classFolders();
    const out = files.path('out.zip');
    const progress: number[] = [];
    const made = await makeDataset(source, out, { ...one, onProgress: ({ done }) => progress.push(done) });
    expect(made).toEqual({
      ...{ path: out, format: 'folder for each class', images: COUNT, resolution: 40, channels: 3, classes: 4, skipped: 0, resumed: 0 },
      bytes: readFileSync(out).length,
    });
    expect(progress.at(-1)).toBe(COUNT);
    isEmptyBut(out, 'out.zip');
    const entries = entriesOf(out);
    expect(entries.map(({ name }) => name)).toEqual([...Array.from({ length: COUNT }, (_, k) => edmName(k)), 'dataset.json']);
    expect(new Set(entries.map(({ method }) => method))).toEqual(new Set([0]));
    expect(labelsOf(out).labels).toEqual(Array.from({ length: COUNT }, (_, k) => [edmName(k), Math.floor(k / 10)]));
    // Class 0 holds the images 0, 4, 8, …
    (await imagesOf(out)).forEach(({ pixels }, k) => expect(pixels).toEqual(pixelsOf((k % 10) * 4 + Math.floor(k / 10), 40)));
    expect((await openZip(out)).size).toBe(COUNT + 1);
    const read = dataset(out, one);
    expect(await read.open()).toMatchObject({ size: COUNT, resolution: 40, channels: 3, classes: 4 });
    await read.close();
  });

  it('writes null where there are no labels, or none are asked for, and makes the same zip of a zip', async () => {
    const plain = files.path('plain.zip');
    expect(await makeDataset(await files.zip({ 'b.png': png(1), 'a.png': png(0) }), plain, one)).toMatchObject({ images: 2, classes: 0 });
    expect(entriesOf(plain).at(-1)!.content.toString()).toBe('{"labels": null}');
    const [first, second, unlabelled] = ['1.zip', '2.zip', '3.zip'].map((name) => files.path(name)) as [string, string, string];
    await makeDataset(classFolders(), first, one);
    await makeDataset(first, second, one);
    expect(readFileSync(second).equals(readFileSync(first))).toBe(true);
    expect(await makeDataset(first, unlabelled, { ...one, labels: false, max: 3 })).toMatchObject({ images: 3, classes: 0 });
    expect(labelsOf(unlabelled).labels).toBeNull();
  });

  it('crops, resizes and comes to the channels that are asked for', async () => {
    const wide = { pixels: pixelsOf(5, 30, 20), width: 30, height: 20, channels: 3 };
    const source = await files.zip({ 'a.png': png(5, 30, 20), 'b.png': png(6, 12, 12, 1) });
    for (const [options, expected] of [
      [{ size: 8, crop: true }, squareImage(centreSquare(wide), 8, 'lanczos')],
      [{ size: 8, crop: true, resize: 'box' }, squareImage(centreSquare(wide), 8, 'box')],
      [{ size: 8, resize: 'adm' }, squareImage(wide, 8, 'adm')],
    ] as const) {
      const out = files.path('out.zip');
      expect(await makeDataset(source, out, { ...one, ...options })).toMatchObject({ images: 2, resolution: 8, channels: 3 });
      const [a, b] = await imagesOf(out);
      expect(a).toMatchObject({ width: 8, height: 8, channels: 3 });
      expect(a!.pixels).toEqual(expected.pixels);
      for (let k = 0; k < 64; k++) expect(new Set(b!.pixels.subarray(3 * k, 3 * k + 3)).size).toBe(1);
    }
    const grey = files.path('grey.zip');
    expect(await makeDataset(source, grey, { ...one, size: 12, crop: true, channels: 1 })).toMatchObject({ channels: 1 });
    expect((await imagesOf(grey))[1]!.pixels).toEqual(pixelsOf(6, 12, 12, 1));
    await expect(makeDataset(source, files.path('o.zip'), { ...one, size: 8 })).rejects.toMatchObject({
      code: 'E_IMAGE_SIZE',
      message: expect.stringMatching(/: a\.png: expected a square, found 30 x 20\nhelp: --crop/) as string,
    });
  });

  it('mixed sizes, mixed channels and transparency: an error that names the image, or left out and counted', async () => {
    const source = files.folder({
      ...edmFiles(8, {
        [edmName(2)]: png(2, 16),
        [edmName(4)]: png(4, 8, 8, 4),
        [edmName(5)]: 'no image',
        [edmName(6)]: png(6).subarray(0, 70),
      }),
    });
    const out = files.path('out.zip');
    await expect(makeDataset(source, out, one)).rejects.toMatchObject({
      code: 'E_IMAGE_SIZE',
      message: expect.stringContaining(`${edmName(2)}: expected 8 x 8 as the first image, found 16 x 16\nhelp: --size`) as string,
    });
    isEmptyBut(out, 'out.zip.part', 'out.zip.part.json');
    const left: string[] = [];
    const skipping = { ...one, onInvalid: 'skip', onSkip: ({ code }: FileError) => left.push(code) } as const;
    await expect(makeDataset(source, out, skipping)).rejects.toMatchObject({
      code: 'E_FILE_EXISTS',
      message: expect.stringContaining('found that of other images or options\nhelp: ') as string,
    });
    expect(await makeDataset(source, out, { ...skipping, force: true })).toMatchObject({ images: 4, skipped: 4, classes: 3 });
    expect(left.sort()).toEqual(['E_IMAGE_CHANNELS', 'E_IMAGE_FORMAT', 'E_IMAGE_FORMAT', 'E_IMAGE_SIZE']);
    expect(labelsOf(out).labels).toEqual([0, 1, 3, 7].map((k, index) => [edmName(index), k % 3]));
    (await imagesOf(out)).forEach(({ pixels }, k) => expect(pixels).toEqual(pixelsOf([0, 1, 3, 7][k]!)));
    isEmptyBut(out, 'out.zip');

    const none = files.path('none.zip');
    await expect(makeDataset(files.folder({ 'a.png': 'x', 'b.png': 'x' }), none, skipping)).rejects.toMatchObject({
      code: 'E_IMAGE_NONE',
      message: expect.stringContaining('found none of 2 that can be used') as string,
    });
    isEmptyBut(none);
  });

  it('refuses wrong options, sources that are none, and targets that are there', async () => {
    const source = files.folder(edmFiles(2));
    const out = files.path('out.zip');
    await expect(makeDataset(source, out, { size: 0, resize: 'nearest', colour: 1 } as never)).rejects.toThrow(
      /^makeDataset: 3 problems\n[^]*size[^]*resize[^]*colour/,
    );
    await expect(makeDataset(files.folder({ 'a.txt': '' }), out)).rejects.toMatchObject({ code: 'E_DATA_FORMAT' });
    await expect(makeDataset(join(files.root, 'absent'), out)).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    isEmptyBut(out);
    writeFileSync(out, 'something');
    await expect(makeDataset(source, out)).rejects.toMatchObject({ code: 'E_FILE_EXISTS' });
    expect(readFileSync(out, 'utf8')).toBe('something');
    await expect(makeDataset(source, dirname(out), { force: true })).rejects.toMatchObject({ code: 'E_FILE_NOT_WRITABLE' });
    expect(await makeDataset(source, out, { ...one, force: true })).toMatchObject({ images: 2 });
    await expect(makeDataset(out, out, { force: true })).rejects.toThrow('expected another file than the source');
  });
});

describe('an interrupted data set', () => {
  it('goes on with the same call; the result is the same byte by byte', async () => {
    const source = classFolders({ 'class1/bad.png': 'x' });
    const options = { ...OPTIONS, onInvalid: 'skip' } as const;
    const whole = files.path('whole.zip');
    expect(await makeDataset(source, whole, options)).toMatchObject({ images: COUNT, skipped: 1, resumed: 0 });
    const out = files.path('out.zip');
    for (const after of [5, 17, 35]) {
      expect(await interrupted(source, out, after, options)).toMatchObject({
        code: 'E_RUN_STOPPED',
        message: expect.stringMatching(/out\.zip: stopped before it was whole\nhelp: the same command goes on from here/) as string,
      });
      isEmptyBut(out, 'out.zip.part', 'out.zip.part.json');
    }
    const made = await makeDataset(source, out, options);
    expect(made).toMatchObject({ images: COUNT, skipped: 1, classes: 4 });
    expect(made.resumed).toBeGreaterThanOrEqual(33);
    expect(readFileSync(out).equals(readFileSync(whole))).toBe(true);
    isEmptyBut(out, 'out.zip');
  });

  it('begins anew where what is there is damaged, absent or longer, and with `force` of other options', async () => {
    const source = await arrays();
    const whole = files.path('whole.zip');
    await makeDataset(source, whole, OPTIONS);
    const harms: [harm: (out: string) => void, resumes: boolean][] = [
      [(out) => truncateSync(`${out}.part`, 100), false],
      [(out) => rmSync(`${out}.part`), false],
      [(out) => writeFileSync(`${out}.part.json`, '{"key": "'), false],
      [(out) => writeFileSync(`${out}.part.json`, '{"key": "x", "entries": -1}'), false],
      [
        (out) => {
          const bytes = readFileSync(`${out}.part`);
          bytes[bytes.length - 100]! ^= 1;
          writeFileSync(`${out}.part`, bytes);
        },
        false,
      ],
      // Written after the last moment that is known.
      [(out) => writeFileSync(`${out}.part`, Buffer.concat([readFileSync(`${out}.part`), Buffer.alloc(999, 80)])), true],
      [(out) => writeFileSync(`${out}.part.lock`, JSON.stringify({ pid: 2 ** 22 + 1, host: 'x', token: 'y' })), true],
    ];
    for (const [harm, resumes] of harms) {
      const out = files.path('out.zip');
      await interrupted(source, out, 20);
      harm(out);
      if (existsSync(`${out}.part.lock`)) utimesSync(`${out}.part.lock`, 1, 1);
      expect((await makeDataset(source, out, OPTIONS)).resumed > 0).toBe(resumes);
      expect(readFileSync(out).equals(readFileSync(whole))).toBe(true);
      isEmptyBut(out, 'out.zip');
    }
    const out = files.path('out.zip');
    await interrupted(source, out, 20, { resize: 'box' });
    await expect(makeDataset(source, out, OPTIONS)).rejects.toMatchObject({ code: 'E_FILE_EXISTS' });
    expect(await makeDataset(source, out, { ...OPTIONS, force: true })).toMatchObject({ resumed: 0 });
    expect(readFileSync(out).equals(readFileSync(whole))).toBe(true);
  });

  it('begins with no other images: a file of a folder that was changed in the meantime is noticed', async () => {
    const source = classFolders();
    const changed = join(source, 'class3', '039.png');
    const out = files.path('out.zip');
    await interrupted(source, out, 20);
    writeFileSync(changed, png(1, 40));
    await expect(makeDataset(source, out, OPTIONS)).rejects.toMatchObject({
      code: 'E_FILE_EXISTS',
      message: expect.stringContaining('found that of other images or options\nhelp: ') as string,
    });
    expect(await makeDataset(source, out, { ...OPTIONS, force: true })).toMatchObject({ resumed: 0, images: COUNT });
  });

  it('says for whom it waits', async () => {
    const source = await arrays();
    const out = files.path('out.zip');
    const waits: number[] = [];
    const onWait = ({ pid }: { pid: number }) => waits.push(pid);
    await Promise.allSettled([makeDataset(source, out, { ...OPTIONS, onWait }), makeDataset(source, out, { ...OPTIONS, onWait })]);
    expect(waits).toEqual([process.pid]);
  });

  it('is not touched by two calls at once', async () => {
    const source = await arrays();
    const out = files.path('out.zip');
    const results = await Promise.allSettled([makeDataset(source, out, OPTIONS), makeDataset(source, out, OPTIONS)]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(results.find((result) => result.status === 'rejected')!.reason).toMatchObject({ code: 'E_FILE_EXISTS' });
    expect(labelsOf(out).labels).toHaveLength(COUNT);
  });

  it('survives SIGKILL', async () => {
    const source = await arrays();
    const [whole, out] = [files.path('whole.zip'), files.path('out.zip')];
    await makeDataset(source, whole, OPTIONS);
    const script = files.file(
      'killed.mts',
      `import { existsSync } from 'node:fs';
       import { makeDataset } from ${JSON.stringify(fileURLToPath(new URL('./make-dataset.ts', import.meta.url)))};
       let after = 0;
       await makeDataset(${JSON.stringify(source)}, ${JSON.stringify(out)}, {
         ...${JSON.stringify(OPTIONS)},
         onProgress() {
           Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 110);
           if (existsSync(${JSON.stringify(`${out}.part.json`)}) && ++after === 3) process.kill(process.pid, 'SIGKILL');
         },
       });`,
    );
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script], { stdio: 'ignore' });
    expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
    expect(existsSync(out)).toBe(false);
    expect(existsSync(`${out}.part.json`)).toBe(true);
    const made = await makeDataset(source, out, OPTIONS);
    expect(made.resumed).toBeGreaterThan(0);
    expect(made.images).toBe(COUNT);
    expect(readFileSync(out).equals(readFileSync(whole))).toBe(true);
    isEmptyBut(out, 'out.zip');
  });
});

describe('a full disk', () => {
  /** Writing to files with numbers for names fails from the given call on, `times` times. */
  async function fill(from: number, times: number): Promise<void> {
    const handle = await open(fileURLToPath(import.meta.url));
    const prototype = Object.getPrototypeOf(handle) as typeof handle;
    await handle.close();
    const write = prototype.write as (...args: unknown[]) => Promise<unknown>;
    let calls = 0;
    vi.spyOn(prototype, 'write').mockImplementation(function (this: unknown, ...args: unknown[]) {
      calls++;
      if (calls < from || calls >= from + times) return write.apply(this, args) as never;
      return Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' }));
    });
  }

  // 60 images of 128 px, 49 kB each, are gathered to 1 MB: two calls; then the rest, how far it is, and labels with the directory.
  it.each([
    [1, 1, 'the first write, once'],
    [2, 1, 'the second write, once'],
    [2, 99, 'the second write and all after it'],
    [4, 1, 'the fourth, once'],
    [5, 1, 'the fifth, once'],
    [5, 99, 'the fifth and all after it'],
  ])('at write %i, %i times: nothing has the final name, and the same call goes on (%s)', async (from, times) => {
    const images = npy('|u1', [60, 128, 128, 3], Buffer.concat(Array.from({ length: 60 }, (_, k) => pixelsOf(k, 128))));
    const source = await files.zip({ 'images.npy': images }, { name: 'a.npz' });
    const [whole, out] = [files.path('whole.zip'), files.path('out.zip')];
    await makeDataset(source, whole);
    await fill(from, times);
    const ended = await makeDataset(source, out).catch((error: unknown) => error);
    vi.restoreAllMocks();
    expect(ended).toMatchObject({
      code: 'E_FILE_NO_SPACE',
      message: expect.stringMatching(/^cannot write .*ENOSPC.*\nhelp: free some space .*; then the same command goes on$/) as string,
    });
    expect(existsSync(out)).toBe(false);
    expect(await makeDataset(source, out)).toMatchObject({ images: 60 });
    expect(readFileSync(out).equals(readFileSync(whole)), basename(out)).toBe(true);
    isEmptyBut(out, 'out.zip');
  });
});
