/** Zips larger than 16 and 32 bits count, read by our reader and by Python's. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openZip } from '../../data/encoded/zip-index.js';
import { StoredZip } from './stored-zip.js';

const folder = mkdtempSync(join(tmpdir(), 'onestep-stored-zip-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const MAX32 = 2 ** 32 - 1;

const python = process.env['ONESTEP_PYTHON'] ?? 'python3';
const hasPython = spawnSync(python, ['-c', 'import zipfile']).status === 0;
if (!hasPython) console.log(`skipped: ${python} does not run; name one in ONESTEP_PYTHON`);

/** What Python's zipfile finds: how many entries, their names without a number, the content of some. */
function readByPython(path: string, names: string[]): { count: number; contents: string[]; offsets: number[] } {
  const script = `import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    found = archive.infolist()
    print(json.dumps({"count": len(found), "contents": [archive.read(name).decode() for name in sys.argv[2:]],
                      "offsets": [archive.getinfo(name).header_offset for name in sys.argv[2:]]}))`;
  const { status, stdout, stderr } = spawnSync(python, ['-c', script, path, ...names], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as ReturnType<typeof readByPython>;
}

const nameOf = (k: number) => `folder/${k % 10}/${k}é.txt`;
const contentOf = (k: number) => `content of ${k}`;

/** A zip of `count` entries, the first at byte `start`. */
async function write(name: string, count: number, start = 0): Promise<string> {
  const path = join(folder, name);
  const zip = (await StoredZip.open(path, 0, 0, start))!;
  for (let k = 0; k < count; k++) await zip.add(nameOf(k), Buffer.from(contentOf(k)));
  await zip.finish();
  expect(zip.bytes).toBe(statSync(path).size);
  await zip.close();
  return path;
}

async function check(path: string, count: number, sample: number[]): Promise<void> {
  const zip = await openZip(path);
  expect(zip.size).toBe(count);
  const found = await Promise.all(sample.map(async (k) => Buffer.from(await zip.read(zip.find(nameOf(k)))).toString()));
  expect(found).toEqual(sample.map(contentOf));
  if (hasPython) expect(readByPython(path, sample.map(nameOf))).toMatchObject({ count, contents: sample.map(contentOf) });
}

describe('StoredZip', () => {
  it.each([0, 1, 65_534, 65_535, 150_000])('writes %i entries that both readers find', async (count) => {
    const path = await write(`count-${count}.zip`, count);
    await check(
      path,
      count,
      [0, 1, 9_999, 65_534, count - 1].filter((k) => k >= 0 && k < count),
    );
    // The end record of zip64 stands where 16 bits are too few, and only there.
    expect(readFileSync(path).subarray(-42).readUInt32LE(0) === 0x07064b50).toBe(count >= 65_535);
  });

  it.each([
    ['the last one beyond', MAX32 - 50],
    ['at its end', MAX32 - 1],
    ['all beyond', MAX32],
    ['all far beyond', 5 * 2 ** 30],
  ])('writes entries around 4 GiB, in a file with a hole: %s', async (name, start) => {
    const path = await write('far.zip', 3, start);
    await check(path, 3, [0, 1, 2]);
    const zip = await openZip(path);
    expect(zip.location(zip.find(nameOf(0))).offset, name).toBe(start);
    if (hasPython) expect(readByPython(path, [nameOf(0)]).offsets).toEqual([start]);
    rmSync(path);
  });

  it('goes on with the entries that are there, more than one chunk of the directory, and equals one written at once', async () => {
    const count = 40_000;
    const whole = readFileSync(await write('whole.zip', count));
    const path = join(folder, 'continued.zip');
    let zip = (await StoredZip.open(path, 0, 0))!;
    for (let k = 0; k < count - 100; k++) await zip.add(nameOf(k), Buffer.from(contentOf(k)));
    await zip.flush();
    const { bytes, entries } = zip;
    await zip.close();
    zip = (await StoredZip.open(path, bytes, entries))!;
    expect(zip.entries).toBe(count - 100);
    for (let k = count - 100; k < count; k++) await zip.add(nameOf(k), Buffer.from(contentOf(k)));
    await zip.finish();
    await zip.close();
    expect(readFileSync(path).equals(whole)).toBe(true);
    expect(await StoredZip.open(path, bytes, entries + 1)).toBeUndefined();
  });
});
