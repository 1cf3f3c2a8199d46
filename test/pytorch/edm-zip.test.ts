/** EDM zips beside Python: zipfile and Pillow read ours, and we read what they write in the layout of the published tool. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dataset, makeDataset } from '../../src/index.js';
import { edmName, FileMaker, pixelsOf, png } from '../support/image-files.js';
import { hasPyTorch, runTool, temporaryDirectory } from '../support/pytorch.js';

interface Read {
  damaged: string | null;
  entries: { name: string; method: number; mode?: string; size?: [number, number]; sha256?: string }[];
  labels: [string, number][] | null;
}
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe.skipIf(!hasPyTorch)('EDM zips and Python', () => {
  const files = new FileMaker('edm-zip');
  const directory = temporaryDirectory();
  const readByPython = (path: string) => JSON.parse(runTool('make_edm_zip.py', 'read', path)) as Read;

  it.each([
    [3, 'RGB'],
    [1, 'L'],
  ] as const)('zipfile and Pillow read what makeDataset makes: %i channels', async (channels, mode) => {
    const source = files.folder({
      'a/1.png': png(1, 12, 12, channels),
      'a/2.png': png(2, 12, 12, channels),
      'b/1.png': png(3, 12, 12, channels),
    });
    const out = join(directory, `ours-${channels}.zip`);
    await makeDataset(source, out, { workers: 1 });
    const { damaged, entries, labels } = readByPython(out);
    expect(damaged).toBeNull();
    const images = [1, 2, 3].map((number, k) => ({
      name: edmName(k),
      method: 0,
      mode,
      size: [12, 12],
      sha256: sha256(pixelsOf(number, 12, 12, channels)),
    }));
    expect(entries).toEqual([...images, { name: 'dataset.json', method: 0 }]);
    expect(labels).toEqual([0, 0, 1].map((label, k) => [edmName(k), label]));
  });

  it.each([[[]], [['--deflate']], [['--no-labels']]])('zips of the published layout are read: %j', async (flags) => {
    const path = join(directory, `theirs${flags.join('')}.zip`);
    runTool('make_edm_zip.py', 'write', path, '--count', '12', '--size', '8', ...flags);
    const source = dataset(path, { workers: 1 });
    const labelled = !flags.includes('--no-labels');
    expect(await source.open()).toMatchObject({ size: 12, resolution: 8, channels: 3, classes: labelled ? 3 : 0 });
    const { images, labels } = await source.read(Uint32Array.from({ length: 12 }, (_, k) => k));
    await source.close();
    expect(labels).toEqual(labelled ? Uint32Array.from({ length: 12 }, (_, k) => k % 3) : undefined);
    const expected = Array.from({ length: 12 * 64 }, (_, at) => [Math.floor(at / 64), 16 * Math.floor((at % 64) / 8), 16 * (at % 8)]);
    expect([...images]).toEqual(expected.flat());
    // And a zip made of it holds the same pixels.
    const out = join(directory, `again${flags.join('')}.zip`);
    await makeDataset(path, out, { workers: 1 });
    const hashes = (read: Read) => read.entries.map(({ name, sha256 }) => [name, sha256]);
    expect(hashes(readByPython(out))).toEqual(hashes(readByPython(path)));
  });
});
