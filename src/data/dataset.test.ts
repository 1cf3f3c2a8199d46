/** The door to data sets: what each path is found to be, and what is said of those that are none. */
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { edmFiles, FileMaker, npy, pixelsOf, png } from '../../test/support/image-files.js';
import { dataset, openImages, type DatasetOptions } from './dataset.js';
import { detectFormat, type DatasetFormat } from './detect-format.js';
import { binaryRecords, python2Batch, python2Meta, tar, tarGz } from './raw/test-support.js';

const files = new FileMaker('dataset');
const parquet = fileURLToPath(new URL('../../test/golden/parquet', import.meta.url));

const NAMES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
const LABELS = [3, 0, 9];
const cifarPixels = Uint8Array.from({ length: LABELS.length * 3072 }, (_, k) => (k * 7) % 251);
const batches = [1, 2, 3, 4, 5];
const pythonArchive = {
  'cifar-10-batches-py/': new Uint8Array(0),
  'cifar-10-batches-py/batches.meta': python2Meta(NAMES),
  ...Object.fromEntries(batches.map((k) => [`cifar-10-batches-py/data_batch_${k}`, python2Batch(cifarPixels, LABELS)])),
  'cifar-10-batches-py/test_batch': python2Batch(cifarPixels, LABELS),
};
const binaryArchive = {
  'cifar-10-batches-bin/batches.meta.txt': Buffer.from(`${NAMES.join('\n')}\n`),
  ...Object.fromEntries(batches.map((k) => [`cifar-10-batches-bin/data_batch_${k}.bin`, binaryRecords(cifarPixels, LABELS)])),
  'cifar-10-batches-bin/test_batch.bin': binaryRecords(cifarPixels, LABELS),
};
const unpacked = (archive: Readonly<Record<string, Uint8Array>>) =>
  files.folder(Object.fromEntries(Object.entries(archive).filter(([name]) => !name.endsWith('/'))));
const arrays = { 'images.npy': npy('|u1', [4, 8, 8, 3], Uint8Array.from([0, 1, 2, 3].flatMap((k) => [...pixelsOf(k)]))) };

interface Case {
  what: string;
  make: () => Promise<string> | string;
  format: DatasetFormat;
  is: { size: number; resolution: number; classes: number };
  options?: DatasetOptions;
}
const image8 = { resolution: 8, classes: 0 };
const cifar = { resolution: 32, classes: 10 };
const cases: Case[] = [
  { what: 'an EDM zip', make: () => files.zip(edmFiles(4)), format: 'edm-zip', is: { ...image8, size: 4, classes: 3 } },
  {
    what: 'a deflated zip',
    make: () => files.zip(edmFiles(4), { compress: true }),
    format: 'edm-zip',
    is: { ...image8, size: 4, classes: 3 },
  },
  {
    what: 'a zip of another name, with other files first',
    make: () => files.zip({ 'LICENSE.txt': 'x', 'z/1.png': png(1) }, { name: 'images' }),
    format: 'edm-zip',
    is: { ...image8, size: 1 },
  },
  { what: 'an EDM folder', make: () => files.folder(edmFiles(4)), format: 'edm-folder', is: { ...image8, size: 4, classes: 3 } },
  {
    what: 'a folder of images',
    make: () => files.folder({ '1.png': png(1), '2.PNG': png(2) }),
    format: 'edm-folder',
    is: { ...image8, size: 2 },
  },
  {
    what: 'an EDM folder without labels',
    make: () => files.folder({ '00000/img00000000.png': png(1), '00001/img00001000.png': png(2) }),
    format: 'edm-folder',
    is: { ...image8, size: 2 },
  },
  {
    what: 'a folder for each class',
    make: () => files.folder({ 'cat/1.png': png(1), 'dog/1.png': png(2), '.cache/x': '' }),
    format: 'image-folder',
    is: { ...image8, size: 2, classes: 2 },
  },
  {
    what: 'the same, called an EDM folder',
    make: () => files.folder({ 'cat/1.png': png(1), 'dog/1.png': png(2) }),
    format: 'image-folder',
    is: { ...image8, size: 2 },
    options: { format: 'edm-folder' },
  },
  { what: 'a NumPy archive', make: () => files.zip(arrays, { name: 'a.npz' }), format: 'npz', is: { ...image8, size: 4 } },
  {
    what: 'a NumPy archive of another name',
    make: () => files.zip(arrays, { name: 'a.zip', compress: true }),
    format: 'npz',
    is: { ...image8, size: 4 },
  },
  {
    what: "CIFAR-10's Python archive",
    make: () => files.file('a.tar.gz', tarGz(pythonArchive)),
    format: 'cifar10',
    is: { ...cifar, size: 15 },
  },
  {
    what: 'its test images',
    make: () => files.file('a', tar(pythonArchive)),
    format: 'cifar10',
    is: { ...cifar, size: 3 },
    options: { split: 'test' },
  },
  {
    what: 'its binary archive',
    make: () => files.file('b.bin', gzipSync(tar(binaryArchive))),
    format: 'cifar10',
    is: { ...cifar, size: 15 },
  },
  { what: 'its folder', make: () => unpacked(pythonArchive), format: 'cifar10', is: { ...cifar, size: 18 }, options: { split: 'all' } },
  {
    what: 'its binary folder',
    make: () => join(unpacked(binaryArchive), 'cifar-10-batches-bin'),
    format: 'cifar10',
    is: { ...cifar, size: 15 },
  },
  {
    what: 'a Parquet file',
    make: () => join(parquet, 'train-00000-of-00002.parquet'),
    format: 'parquet',
    is: { size: 15, resolution: 6, classes: 3 },
  },
  {
    what: 'a folder of Parquet files',
    make: () => parquet,
    format: 'parquet',
    is: { size: 4, resolution: 6, classes: 0 },
    options: { split: 'test' },
  },
];

describe('dataset', () => {
  it.each(cases)('reads $what', async ({ make, format, is, options }) => {
    const path = await make();
    expect(await detectFormat(path)).toBe(format);
    const source = dataset(path, { workers: 1, ...options });
    try {
      expect(await source.open()).toMatchObject({ channels: 3, ...is });
      const { shape, labels } = await source.read(Uint32Array.of(is.size - 1, 0));
      expect([shape, labels?.length]).toEqual([[2, is.resolution, is.resolution, 3], is.classes > 0 ? 2 : undefined]);
    } finally {
      await source.close();
    }
    const images = await openImages(path, { workers: 1, ...options });
    expect(images).toMatchObject({ size: is.size, classes: is.classes });
    expect(await images.decode([0])).toMatchObject([{ width: is.resolution, height: is.resolution }]);
    await images.close();
  });

  it.each(cases)('leaves labels out of $what where it is told', async ({ make, is, options }) => {
    const images = await openImages(await make(), { ...options, labels: false });
    expect(images).toMatchObject({ size: is.size, classes: 0 });
    expect([images.labels, images.classNames]).toEqual([undefined, undefined]);
    await images.close();
  });

  it('takes the names of columns and arrays where there are some', async () => {
    const plain = join(parquet, 'plain.parquet');
    await expect(openImages(plain)).rejects.toMatchObject({
      code: 'E_DATA_COLUMN',
      message: expect.stringMatching(/label, fine_label\nhelp: .*--labels NAME.*--no-labels/) as string,
    });
    const named = await files.zip(
      { 'photos.npy': arrays['images.npy'], 'kinds.npy': npy('|u1', [4], Uint8Array.of(0, 4, 1, 2)) },
      { name: 'a.npz' },
    );
    for (const [path, options, classes] of [
      [plain, { labels: 'label' }, 3],
      [named, { images: 'photos', labels: 'kinds' }, 5],
      [named, { images: 'photos' }, 0],
    ] as const) {
      const images = await openImages(path, options);
      expect(images.classes).toBe(classes);
      await images.close();
    }
    const source = dataset(named, { images: 'photos', labels: 'kinds' });
    expect(await source.open()).toMatchObject({ size: 4, classes: 5 });
    await source.close();
    await expect(dataset(await files.zip(edmFiles(1)), { images: 'a', labels: 'b', split: 'c' }).open()).rejects.toThrow(
      /^dataset: 3 problems\n.*split: data\.zip \(edm-zip\) has no splits.*\n.*images: .* has no names to choose from, got 'a'\n.*labels: /,
    );
  });

  it('says what it looked for and what it found', async () => {
    const refused: [path: string, found: string][] = [
      [files.folder({}), 'an empty folder'],
      [files.folder({ 'a.txt': '', 'b.csv': '' }), 'a folder of a.txt, b.csv'],
      [files.folder({ 'a/1.txt': '', 'b/c/2.gif': 'x' }), 'folders without images (a, b)'],
      [files.file('empty.zip', ''), 'an empty file'],
      [files.file('a.txt', 'no images'), 'a file of another kind'],
      [files.file('a.png', png(1)), 'a single image'],
      [files.file('a.npy', npy('|u1', [1], Uint8Array.of(1))), 'a single NumPy array'],
      [await files.zip({ 'a.txt': 'x', 'b.txt': 'x' }), 'a zip of a.txt, b.txt'],
      [await files.zip({}), 'an empty zip'],
      [files.file('a.tgz', tarGz({ 'a/1.png': png(1) })), 'a tar archive of a/1.png'],
      ['/dev/null', 'a device or a pipe'],
    ];
    for (const [path, found] of refused)
      await expect(dataset(path).open(), found).rejects.toMatchObject({
        code: 'E_DATA_FORMAT',
        message: expect.stringMatching(
          new RegExp(
            `^${path}: expected a zip of images .*folder for each class.*CIFAR-10.*npz.*Parquet.*; found ${found.replace(/[()]/g, '\\$&')}[^]*\nhelp: `,
          ),
        ) as string,
      });
  });

  it('an absent path, a gzip of no archive, a damaged zip and wrong options are errors', async () => {
    await expect(dataset(join(files.root, 'absent')).open()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(openImages(join(files.root, 'absent.zip'))).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(dataset(files.file('a.gz', gzipSync('no tar'))).open()).rejects.toMatchObject({ name: 'FileError' });
    const zip = await files.zip(edmFiles(2));
    for (const keep of [0.5, 0.1]) {
      const whole = readFileSync(zip);
      await expect(dataset(files.file('half.zip', whole.subarray(0, whole.length * keep))).open()).rejects.toMatchObject({
        name: 'FileError',
      });
    }
    expect(() => dataset(zip, { formats: 'npz' } as never)).toThrow(/^dataset: 1 problem\n.*formats/);
    expect(() => dataset(zip, { format: 'png' as never })).toThrow(/edm-zip/);
    await expect(dataset(zip, { split: 'test' }).open()).rejects.toThrow("split: data.zip (edm-zip) has no splits, got 'test'");
    await expect(dataset(zip, { format: 'npz' }).open()).rejects.toMatchObject({ name: 'FileError' });
    await expect(dataset(zip, { format: 'image-folder' }).open()).rejects.toThrow('expected a folder, found a file');
    await expect(dataset(join(parquet, 'plain.parquet'), { split: 'test' }).open()).rejects.toThrow('has no splits');
  });

  it('follows links, and closes what was never opened', async () => {
    const link = files.path('link');
    symlinkSync(files.folder({ 'cat/1.png': png(1) }), link);
    expect(await detectFormat(link)).toBe('image-folder');
    const nested = files.path('nested');
    mkdirSync(nested);
    symlinkSync(link, join(nested, 'class'));
    expect(await detectFormat(nested)).toBe('image-folder');
    await dataset(link).close();
    await dataset(join(files.root, 'absent')).close();
  });
});
