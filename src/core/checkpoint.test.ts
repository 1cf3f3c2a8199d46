import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listCheckpoints, loadCheckpoint, saveCheckpoint } from './checkpoint.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'onestep-checkpoint-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const values = Float32Array.of(1, NaN, -0, 1e-40, Infinity);
const parts = {
  generator: { json: { a: [1, 'x', null] }, tensors: [{ name: 'w', shape: [5, 1], data: values }] },
  'optimizer-generator': { json: { step: 3 }, tensors: [] },
};

describe('saveCheckpoint and loadCheckpoint', () => {
  it('give back what was saved, bit for bit', async () => {
    const path = await saveCheckpoint(directory, 12.5, parts);
    expect(path).toBe(join(directory, 'checkpoint-12.5'));
    expect(await loadCheckpoint(path)).toEqual({ kimg: 12.5, parts });
    expect(readdirSync(directory)).toEqual(['checkpoint-12.5']);
  });

  it('replace a checkpoint of the same name', async () => {
    await saveCheckpoint(directory, 1, parts);
    const path = await saveCheckpoint(directory, 1, { other: { json: 1, tensors: [] } });
    expect((await loadCheckpoint(path)).parts).toEqual({ other: { json: 1, tensors: [] } });
  });

  it('refuse names and values that would not come back', async () => {
    const save = (name: string, json: unknown) => saveCheckpoint(directory, 1, { [name]: { json, tensors: [] } });
    await expect(save('../up', 1)).rejects.toMatchObject({ code: 'E_VALUE', message: expect.stringContaining('"../up"') });
    await expect(save('manifest', 1)).rejects.toMatchObject({ code: 'E_VALUE' });
    await expect(save('part', { loss: NaN })).rejects.toMatchObject({
      code: 'E_VALUE',
      message: expect.stringMatching(/part part: loss: .*NaN/),
    });
    await expect(saveCheckpoint(directory, -1, {})).rejects.toMatchObject({ code: 'E_VALUE' });
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('damaged checkpoints', () => {
  const flip = (file: string) => {
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
  };
  it.each([
    [
      'a truncated file',
      'E_FILE_TRUNCATED',
      (p: string) => truncateSync(join(p, 'generator.safetensors'), 100),
      /generator\.safetensors: expected \d+ bytes, found 100/,
    ],
    ['a longer file', 'E_FILE_TRUNCATED', (p: string) => appendFileSync(join(p, 'generator.json'), ' '), /generator\.json/],
    ['a flipped bit', 'E_FILE_DAMAGED', (p: string) => flip(join(p, 'generator.safetensors')), /generator\.safetensors: expected SHA-256/],
    ['a missing file', 'E_FILE_ABSENT', (p: string) => rmSync(join(p, 'optimizer-generator.json')), /optimizer-generator\.json/],
    ['a missing manifest', 'E_FILE_ABSENT', (p: string) => rmSync(join(p, 'manifest.json')), /manifest\.json/],
    ['half a manifest', 'E_FILE_FORMAT', (p: string) => truncateSync(join(p, 'manifest.json'), 60), /manifest\.json: not JSON/],
    ['a foreign manifest', 'E_FILE_FORMAT', (p: string) => writeFileSync(join(p, 'manifest.json'), '{"files":3}'), /format/],
  ])('%s: an error that names the file, and the list passes over it', async (_, code, damage, message) => {
    await saveCheckpoint(directory, 1, parts);
    const path = await saveCheckpoint(directory, 2, parts);
    await saveCheckpoint(directory, 10, parts);
    damage(path);
    await expect(loadCheckpoint(path)).rejects.toMatchObject({ name: 'FileError', code, message: expect.stringMatching(message) });
    const { complete, damaged } = await listCheckpoints(directory);
    expect(complete.map(({ kimg }) => kimg)).toEqual([10, 1]);
    expect(damaged).toEqual([{ path, reason: expect.stringMatching(message) }]);
  });

  it('a full disk leaves nothing behind and the former checkpoint whole', async ({ skip }) => {
    const disk = join(directory, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      return skip('a small disk cannot be mounted here (needs root)');
    }
    try {
      await saveCheckpoint(disk, 1, parts);
      const big = { generator: { json: 1, tensors: [{ name: 'w', shape: [250_000], data: new Float32Array(250_000) }] } };
      await expect(saveCheckpoint(disk, 2, big)).rejects.toMatchObject({ name: 'FileError', code: 'E_FILE_NO_SPACE' });
      expect(readdirSync(disk)).toEqual(['checkpoint-1']);
      expect((await listCheckpoints(disk)).complete).toHaveLength(1);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});

describe('a process that is killed while it writes checkpoints', () => {
  it('leaves a newest one that loads, at whatever moment', async () => {
    const module = fileURLToPath(new URL('./run-directory.ts', import.meta.url));
    const code = `
      import { RunDirectory } from ${JSON.stringify(module)};
      const run = await RunDirectory.open(${JSON.stringify(directory)}, {});
      const [newest] = (await run.checkpoints()).complete;
      for (let kimg = (newest?.kimg ?? 0) + 1; ; kimg++) {
        const part = { json: { kimg }, tensors: [{ name: 'w', shape: [50_000], data: new Float32Array(50_000).fill(kimg) }] };
        await run.saveCheckpoint(kimg, { a: part, b: part });
        console.log(kimg);
      }`;
    let last = 0;
    let interrupted = 0;
    for (let round = 0; round < 8; round++) {
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let reported = last;
      child.stdout.on('data', (text: Buffer) => (reported = Number(text.toString().trim().split('\n').at(-1))));
      await once(child.stdout, 'data');
      await sleep(Math.random() * 100);
      child.kill('SIGKILL');
      await once(child, 'close');

      interrupted += readdirSync(directory).filter((name) => name.includes('.tmp-')).length;
      const { complete, damaged } = await listCheckpoints(directory);
      expect(damaged).toEqual([]);
      expect(complete[0]!.kimg).toBeGreaterThanOrEqual(reported);
      const { kimg, parts } = await loadCheckpoint(complete[0]!.path);
      for (const part of [parts.a!, parts.b!]) {
        expect(part.json).toEqual({ kimg });
        expect(part.tensors[0]!.data.every((value) => value === kimg)).toBe(true);
      }
      expect(kimg).toBeGreaterThan(last);
      last = kimg;
    }
    expect(existsSync(join(directory, `checkpoint-${last}`))).toBe(true);
    // Otherwise the kills came between the writes and nothing was tested.
    expect(interrupted).toBeGreaterThan(0);
  });
});
