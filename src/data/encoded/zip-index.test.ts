import fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ZipFile } from 'yazl';
import { writeLargeZip } from '../../../test/tools/make-large-zip.js';
import { NameRecords } from './name-records.js';
import { sortNames } from './sort-names.js';
import { openZip } from './zip-index.js';

const folder = mkdtempSync(join(tmpdir(), 'onestep-zip-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const save = (bytes: Uint8Array) => {
  const path = join(folder, `${files++}.zip`);
  writeFileSync(path, bytes);
  return path;
};

/** A zip made by yazl, which shares no code with what reads it. */
async function zipOf(entries: readonly [string, string][], { compress = false, zip64 = false, comment = '' } = {}): Promise<Buffer> {
  const zip = new ZipFile();
  for (const [name, text] of entries) zip.addBuffer(Buffer.from(text), name.replace('..', '__'), { compress, forceZip64Format: zip64 });
  const chunks: Buffer[] = [];
  const done = new Promise<void>((resolve) => {
    zip.outputStream.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', resolve);
  });
  zip.end({ forceZip64Format: zip64, comment });
  await done;
  // yazl writes neither such names nor such comments.
  const bytes = Buffer.concat(chunks).toString('latin1').replaceAll('__/', '../').replaceAll('____', 'PK\x05\x06');
  return Buffer.from(bytes, 'latin1');
}

const text = async (path: string) => {
  const zip = await openZip(path);
  const entries: [string, string][] = [];
  for (let k = 0; k < zip.size; k++) entries.push([zip.name(k), Buffer.from(await zip.read(k)).toString()]);
  return entries;
};

describe('openZip', () => {
  const entries: [string, string][] = [
    ['b.txt', 'second'],
    ['a/ä.txt', 'x'.repeat(5000)],
    ['a/b', ''],
    ['../outside', 'nothing is extracted'],
  ];
  const sorted = [entries[3], entries[2], entries[1], entries[0]];

  it.each([
    ['stored', {}],
    ['deflated', { compress: true }],
    ['zip64', { zip64: true }],
    ['with a comment that looks like an end record', { comment: '____'.repeat(20) }],
  ])('reads entries in the order of their names: %s', async (_name, options) => {
    expect(await text(save(await zipOf(entries, options)))).toEqual(sorted);
  });

  it.each([{}, { zip64: true }])('takes data in front of the archive', async (options) => {
    expect(await text(save(Buffer.concat([Buffer.alloc(1000, 7), await zipOf(entries, options)])))).toEqual(sorted);
  });

  it('leaves folders out, and of entries with one name takes the last', async () => {
    const zip = new ZipFile();
    const chunks: Buffer[] = [];
    zip.addEmptyDirectory('folder');
    zip.addBuffer(Buffer.from('old'), 'b');
    zip.addBuffer(Buffer.from('other'), 'a');
    zip.addBuffer(Buffer.from('new'), 'b');
    zip.end();
    for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer);
    expect(await text(save(Buffer.concat(chunks)))).toEqual([
      ['a', 'other'],
      ['b', 'new'],
    ]);
  });

  it('finds every name and no other', async () => {
    const zip = await openZip(save(await zipOf(entries)));
    for (let k = 0; k < zip.size; k++) expect(zip.find(zip.name(k))).toBe(k);
    for (const name of ['', 'a', 'a/', 'a/b ', 'zz', '..']) expect(zip.find(name)).toBe(-1);
  });

  it('reads an empty archive', async () => {
    expect((await openZip(save(await zipOf([])))).size).toBe(0);
  });

  it.each([false, true])('reads 70,000 entries, more than 16 bits count (another order: %s)', async (shuffled) => {
    const path = join(folder, 'large.zip');
    await writeLargeZip(path, { entries: 70_000, shuffled, classes: 7 });
    const zip = await openZip(path);
    expect(zip.size).toBe(70_001);
    expect([0, 1, 69_999, 70_000].map((k) => zip.name(k))).toEqual([
      '00000/img00000000.png',
      '00000/img00000001.png',
      '00069/img00069999.png',
      'dataset.json',
    ]);
    expect(Buffer.from(await zip.read(12_345)).toString('latin1')).toContain('IHDR');
  });

  it('names the entry that is damaged, encrypted, of another method or outside the file', async () => {
    const whole = await zipOf([
      ['a', 'content'],
      ['b', 'content'],
    ]);
    const central = whole.lastIndexOf('PK\x01\x02');
    const changed = (at: number, value: number) => {
      const bytes = Buffer.from(whole);
      bytes.writeUInt16LE(value, at);
      return save(bytes);
    };
    const read = async (path: string) => {
      const zip = await openZip(path);
      return zip.read(zip.find('b'));
    };
    const error = (problem: string) => ({ code: 'E_FILE_FORMAT', message: expect.stringContaining(problem) as string });
    await expect(read(changed(central + 8, 1))).rejects.toMatchObject(error('.zip: b: expected an entry without a password'));
    await expect(read(changed(central + 10, 14))).rejects.toMatchObject(error('found compression method 14'));
    await expect(read(changed(central + 20, 60_000))).rejects.toMatchObject(error('found the end of the file'));
    await expect(read(changed(central + 16, 1))).rejects.toMatchObject(error('its checksum in the zip does not match'));
    await expect(read(changed(central + 42, 3))).rejects.toMatchObject(error('expected the local header'));
    const zip = await openZip(changed(central + 10, 14));
    expect([zip.isReadable(0), zip.isReadable(1)]).toEqual([true, false]);
  });

  it('refuses what is no whole zip, wherever it is cut or changed, and never fails in another way', async () => {
    await expect(openZip(join(folder, 'absent.zip'))).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(openZip(folder)).rejects.toMatchObject({ code: 'E_FILE_NOT_READABLE' });
    await expect(openZip(save(Buffer.from('no zip')))).rejects.toThrow(/expected a zip archive, found no end record\nhelp: /);
    const whole = await zipOf(entries, { zip64: true });
    for (let length = whole.length - 1; length > 0; length -= 7) {
      await expect(openZip(save(whole.subarray(0, length)))).rejects.toMatchObject({ code: 'E_FILE_FORMAT' });
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 4 }), async (at, bytes) => {
        const changed = Buffer.from(whole);
        changed.set(bytes.subarray(0, changed.length - at), at);
        const path = save(changed);
        await text(path).catch((error: unknown) => expect(error).toMatchObject({ code: 'E_FILE_FORMAT' }));
        rmSync(path);
      }),
      { numRuns: 150 },
    );
  });
});

describe('sortNames', () => {
  it('sorts as comparing bytes does, and keeps the last of equal names', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '\0', 'é', '/'), maxLength: 9 });
    fc.assert(
      fc.property(fc.array(name, { maxLength: 200 }), (names) => {
        const records = NameRecords.of(names);
        const sorted = sortNames(records);
        const expected = [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(Array.from(expected.keys(), (k) => sorted.name(k))).toEqual(expected);
        expect(sorted.size).toBe(expected.length);
        expect(Array.from(sorted.records)).toEqual(expected.map((found) => records.records[names.lastIndexOf(found)]));
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['EDM names', (k: number) => `${String(k % 97).padStart(5, '0')}/img${String(k).padStart(8, '0')}.png`],
    ['names of many lengths', (k: number) => `n${k % 13}/${k}.JPEG`],
    ['differences far behind', (k: number) => `${'x'.repeat(200)}${k % 5}${'y'.repeat(150)}${k}`],
    ['every byte, the zero at the end too', (k: number) => Buffer.from([k % 251, 0, k % 7, k >> 8]).toString('latin1')],
  ])('sorts thousands of %s, of which some stand twice', (_kind, nameOf) => {
    // 4,999 has no factor of the step.
    const names = Array.from({ length: 6000 }, (_, k) => nameOf((k * 1237) % 4999));
    const sorted = sortNames(NameRecords.of(names));
    const expected = [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(Array.from(sorted.records.keys(), (k) => sorted.name(k))).toEqual(expected);
    const records = NameRecords.of(names);
    expect(Array.from(sorted.records)).toEqual(expected.map((found) => records.records[names.lastIndexOf(found)]));
  });

  it('tells in which order names lie in their buffer', () => {
    const names = ['d', 'a', 'c', 'b'];
    expect(Array.from(NameRecords.of(names).byPlace())).toEqual([0, 1, 2, 3]);
    expect(Array.from(sortNames(NameRecords.of(names)).byPlace())).toEqual([3, 0, 2, 1]);
  });
});
