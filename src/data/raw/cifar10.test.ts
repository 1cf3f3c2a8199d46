import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cifar10, openCifar10 } from './cifar10.js';
import { binaryRecords, python2Batch, python2Meta, tar, tarGz } from './test-support.js';

const NAMES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
const COUNT = 25; // of a batch; its data is longer than any text of Python 2
const directory = mkdtempSync(join(tmpdir(), 'onestep-cifar-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Image k of batch b: plane c has the value 40 b + k + 80 c, with the pixel's number in the first row. */
function batch(b: number) {
  const data = Uint8Array.from({ length: COUNT * 3072 }, (_, at) => {
    const [k, c, pixel] = [Math.floor(at / 3072), Math.floor(at / 1024) % 3, at % 1024];
    return pixel < 32 ? pixel : 10 * b + k + 80 * c;
  });
  return { data, labels: Array.from({ length: COUNT }, (_, k) => (b + k) % 10) };
}
const roles = ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch'];

const binary: Record<string, Buffer> = { 'cifar-10-batches-bin/batches.meta.txt': Buffer.from(`${NAMES.join('\n')}\n\n`) };
const python: Record<string, Buffer> = { 'cifar-10-batches-py/': Buffer.alloc(0) };
// As in the published archives: not in order.
for (const index of [3, 0, 5, 1, 2, 4]) {
  const { data, labels } = batch(index);
  binary[`cifar-10-batches-bin/${roles[index]}.bin`] = binaryRecords(data, labels);
  python[`cifar-10-batches-py/${roles[index]}`] = python2Batch(data, labels);
}
python['cifar-10-batches-py/batches.meta'] = python2Meta(NAMES);

const at = (...path: string[]) => join(directory, ...path);
function unpack(folder: string, entries: Record<string, Buffer>) {
  for (const [name, bytes] of Object.entries(entries)) {
    mkdirSync(dirname(at(folder, name)), { recursive: true });
    if (!name.endsWith('/')) writeFileSync(at(folder, name), bytes);
  }
}

beforeAll(() => {
  writeFileSync(at('cifar-10-binary.tar.gz'), tarGz(binary));
  writeFileSync(at('cifar-10-python.tar.gz'), tarGz(python));
  writeFileSync(at('plain.tar'), tar({ [`${'long/'.repeat(30)}README`]: Buffer.from('x'), ...binary }));
  unpack('unpacked', binary);
  unpack('unpacked', python);
});

const layouts = [
  'cifar-10-binary.tar.gz',
  'cifar-10-python.tar.gz',
  'plain.tar',
  'unpacked/cifar-10-batches-bin',
  'unpacked/cifar-10-batches-py',
  'unpacked',
];

describe.each(layouts)('cifar10(%s)', (path) => {
  it('has the batches in their order, pixels and labels', async () => {
    const source = cifar10(at(path));
    expect(await source.open()).toMatchObject({ resolution: 32, channels: 3, classes: 10, size: 5 * COUNT });
    const { images, shape, labels } = await source.read(Uint32Array.of(0, 3 * COUNT + 2, 5 * COUNT - 1));
    expect(shape).toEqual([3, 32, 32, 3]);
    expect([...labels!]).toEqual([0, 5, (4 + COUNT - 1) % 10]);
    expect([...images.subarray(0, 6)]).toEqual([0, 0, 0, 1, 1, 1]);
    const last = 2 * 3072 + 3072 - 3;
    expect([...images.subarray(last, last + 3)]).toEqual([40 + COUNT - 1, 120 + COUNT - 1, 200 + COUNT - 1]);
    await source.close();
  });

  it('has the splits and the names of classes', async () => {
    const test = cifar10(at(path), { split: 'test' });
    expect((await test.open()).size).toBe(COUNT);
    expect((await test.read(Uint32Array.of(1))).images[3071 - 2]).toBe(51);
    await test.close();
    const all = await openCifar10(at(path), { split: 'all' });
    expect([all.size, all.classNames, all.entryName(5 * COUNT)]).toEqual([
      6 * COUNT,
      NAMES,
      expect.stringMatching(/test_batch(\.bin)?\[0\]$/),
    ]);
    expect(await all.decode([5 * COUNT + 1])).toMatchObject([{ height: 32, width: 32, channels: 3, pixels: { [3071 - 2]: 51 } }]);
    await all.close();
  });
});

describe('cifar10', () => {
  const broken = (name: string, entries: Record<string, Buffer | undefined>) => {
    writeFileSync(at(name), tarGz(entries));
    return at(name);
  };

  it('turns arrays in the order of Fortran', async () => {
    const { data, labels } = batch(0);
    const turned = new Uint8Array(data.length);
    for (let k = 0; k < COUNT; k++) for (let p = 0; p < 3072; p++) turned[p * COUNT + k] = data[k * 3072 + p]!;
    const set = cifar10(broken('fortran.tar.gz', { test_batch: python2Batch(turned, labels, { fortran: true }) }), { split: 'test' });
    await set.open();
    expect((await set.read(Uint32Array.of(2))).images.slice(-3)).toEqual(Uint8Array.of(2, 82, 162));
  });

  it('stops at a label that is none, or leaves its image out', async () => {
    const { data } = batch(5);
    const labels = batch(5).labels.map((label, k) => (k === 7 ? 200 : label));
    for (const [entry, bytes] of [
      ['test_batch.bin', binaryRecords(data, labels)],
      ['test_batch', python2Batch(data, labels)],
    ] as const) {
      const path = broken(`label-${entry}.tar.gz`, { [entry]: bytes });
      await expect(cifar10(path, { split: 'test' }).open()).rejects.toMatchObject({
        code: 'E_IMAGE_LABEL',
        message: expect.stringMatching(new RegExp(`${entry}\\[7\\]: expected a label below 10, found 200`)),
      });
      const set = cifar10(path, { split: 'test', onInvalid: 'skip' });
      expect(await set.open()).toMatchObject({ size: COUNT - 1, skipped: 1 });
      expect((await set.read(Uint32Array.of(7))).images.slice(-3)).toEqual(Uint8Array.of(58, 138, 218));
    }
  });

  it('stops at a record that is cut short, or leaves it out', async () => {
    const { data, labels } = batch(5);
    const path = broken('cut.tar.gz', { 'test_batch.bin': binaryRecords(data, labels).subarray(0, -1) });
    await expect(cifar10(path, { split: 'test' }).open()).rejects.toMatchObject({ code: 'E_FILE_TRUNCATED' });
    expect(await cifar10(path, { split: 'test', onInvalid: 'skip' }).open()).toMatchObject({ size: COUNT - 1, skipped: 1 });
  });

  it.each([
    ['no file', () => at('absent.tar.gz'), 'E_FILE_ABSENT', /absent/],
    [
      'a batch missing',
      () => broken('some.tar.gz', { ...binary, 'cifar-10-batches-bin/data_batch_4.bin': undefined }),
      'E_FILE_FORMAT',
      /no data_batch_4/,
    ],
    ['a folder without batches', () => directory, 'E_FILE_FORMAT', /no data_batch_1/],
    [
      'a name that is no data',
      () => broken('evil.tar.gz', { test_batch: Buffer.from("cos\nsystem\n(S'touch /tmp/x'\ntR.") }),
      'E_PICKLE_GLOBAL',
      /os\.system.*\nhelp: no published batch/s,
    ],
    ['fewer labels', () => broken('few.tar.gz', { test_batch: python2Batch(batch(0).data, [1, 2]) }), 'E_FILE_FORMAT', /expected/],
    [
      'an archive that ends early',
      () => {
        writeFileSync(at('short.tar.gz'), tarGz(binary).subarray(0, tarGz(binary).length / 2));
        return at('short.tar.gz');
      },
      'E_FILE_TRUNCATED',
      /short\.tar\.gz/,
    ],
    [
      'an archive that ends in a batch',
      () => {
        // Pixels that do not compress: the batch is most of the archive.
        const noise = Uint8Array.from({ length: 10 * 3072 }, (_, k) => (Math.imul(k + 1, 0x9e3779b1) >>> 13) & 255);
        const whole = tarGz({ 'data_batch_1.bin': binaryRecords(noise, new Array<number>(10).fill(1)) });
        writeFileSync(at('in-batch.tar.gz'), whole.subarray(0, whole.length / 2));
        return at('in-batch.tar.gz');
      },
      'E_FILE_TRUNCATED',
      /in-batch\.tar\.gz: expected more of the archive/,
    ],
    [
      'something else',
      () => {
        writeFileSync(at('text.tar.gz'), 'no archive\n'.repeat(100));
        return at('text.tar.gz');
      },
      'E_FILE_FORMAT',
      /expected a tar archive/,
    ],
  ] as const)('%s is an error with the file in it', async (_, path, code, message) => {
    const file = path();
    const split = /evil|few/.test(file) ? 'test' : 'train';
    await expect(cifar10(file, { split }).open()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('refuses options it does not know', () => {
    expect(() => cifar10('x', { split: 'valid' as 'test' })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  });
});
