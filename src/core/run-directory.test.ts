import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunDirectory } from './run-directory.js';

let parent: string;
let path: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'onestep-run-'));
  path = join(parent, 'runs', 'a');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const lockOf = (owner: object) => {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'run.lock'), JSON.stringify({ host: hostname(), time: 'then', ...owner }));
};
const part = { json: null, tensors: [] };

describe('the configuration', () => {
  it('is written when the directory is made, and compared when it is opened again', async () => {
    const run = await RunDirectory.open(path, { a: 1, b: { c: [1, 2], gone: true } });
    expect(run.differences).toEqual([]);
    expect(JSON.parse(readFileSync(run.file('config.json'), 'utf8'))).toEqual({ a: 1, b: { c: [1, 2], gone: true } });
    await run.release();

    const again = await RunDirectory.open(path, { a: 1, b: { c: [1, 3], gone: undefined }, fresh: 'x' });
    expect(again.differences).toEqual(['b.c.1: was 2, is 3', 'b.gone: was true, is absent', 'fresh: was absent, is "x"']);
    expect(JSON.parse(readFileSync(again.file('config.json'), 'utf8'))).toHaveProperty('a', 1);
    await again.writeConfig({ now: 1 });
    expect(JSON.parse(readFileSync(again.file('config.json'), 'utf8'))).toEqual({ now: 1 });
    await again.release();
  });

  it('that is damaged is an error, which gives the lock back', async () => {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'config.json'), '{');
    await expect(RunDirectory.open(path, {})).rejects.toMatchObject({
      code: 'E_FILE_FORMAT',
      message: expect.stringContaining('config.json'),
    });
    expect(readdirSync(path)).toEqual(['config.json']);
  });
});

describe('the lock', () => {
  it('refuses a second opening, names the process, and is given back', async () => {
    const run = await RunDirectory.open(path, {});
    await expect(RunDirectory.open(path, {})).rejects.toMatchObject({
      name: 'RunError',
      code: 'E_RUN_LOCKED',
      message: expect.stringMatching(new RegExp(`process ${process.pid} on `)),
    });
    await run.release();
    await run.release();
    expect(existsSync(join(path, 'run.lock'))).toBe(false);
    await (await RunDirectory.open(path, {})).release();
  });

  it('of another living process is respected', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    await once(child, 'spawn');
    try {
      lockOf({ pid: child.pid });
      await expect(RunDirectory.open(path, {})).rejects.toMatchObject({
        code: 'E_RUN_LOCKED',
        message: expect.stringContaining(`process ${child.pid}`),
      });
    } finally {
      child.kill();
    }
  });

  it('of a dead process is taken over', async () => {
    lockOf({ pid: spawnSync(process.execPath, ['-e', '']).pid });
    const run = await RunDirectory.open(path, {});
    expect(JSON.parse(readFileSync(run.file('run.lock'), 'utf8'))).toHaveProperty('pid', process.pid);
    await run.release();
  });

  it.runIf(process.platform === 'linux')('of an earlier process with the same pid is taken over', async () => {
    lockOf({ pid: process.pid, processStart: 'another boot 123' });
    await (await RunDirectory.open(path, {})).release();
  });

  it('of another machine is respected; the help says which file to delete', async () => {
    lockOf({ pid: 1, host: 'elsewhere' });
    await expect(RunDirectory.open(path, {})).rejects.toMatchObject({
      code: 'E_RUN_LOCKED',
      message: expect.stringMatching(/process 1 on elsewhere.*\nhelp: .*delete .*run\.lock/s),
    });
  });

  it('that a crash left empty is taken over when it is old', async () => {
    mkdirSync(path, { recursive: true });
    for (const name of ['run.lock', 'run.lock.takeover']) {
      writeFileSync(join(path, name), '');
      utimesSync(join(path, name), 1e9, 1e9);
    }
    await (await RunDirectory.open(path, {})).release();
    expect(readdirSync(path)).toEqual(['config.json']);
  });

  it('goes to exactly one of many that take over at once', async () => {
    lockOf({ pid: spawnSync(process.execPath, ['-e', '']).pid });
    const attempts = await Promise.allSettled(Array.from({ length: 12 }, () => RunDirectory.open(path, {})));
    const won = attempts.filter((attempt) => attempt.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const attempt of attempts) if (attempt.status === 'rejected') expect(attempt.reason).toMatchObject({ code: 'E_RUN_LOCKED' });
    await won[0]!.value.release();
  });

  it('is not given back by one who lost it', async () => {
    const run = await RunDirectory.open(path, {});
    lockOf({ pid: 1, host: 'elsewhere' });
    await run.release();
    expect(existsSync(join(path, 'run.lock'))).toBe(true);
  });
});

describe('checkpoints', () => {
  it('only the last ones are kept', async () => {
    const run = await RunDirectory.open(path, {}, { keepCheckpoints: 2 });
    for (const kimg of [8, 9, 10, 11]) await run.saveCheckpoint(kimg, { part });
    expect((await run.checkpoints()).complete.map(({ kimg }) => kimg)).toEqual([11, 10]);
    // A run that goes on from an older point keeps what it just saved.
    await run.saveCheckpoint(5, { part });
    expect((await run.checkpoints()).complete.map(({ kimg }) => kimg)).toEqual([11, 5]);
    await run.release();
  });

  it('what an interrupted write left is swept away at the next opening', async () => {
    await (await RunDirectory.open(path, {})).release();
    mkdirSync(join(path, '.checkpoint-1.tmp-0123456789abcdef'));
    writeFileSync(join(path, '.snapshot.tmp-0123456789abcdef'), '');
    writeFileSync(join(path, '.mine'), '');
    await (await RunDirectory.open(path, {})).release();
    expect(readdirSync(path).sort()).toEqual(['.mine', 'config.json']);
  });
});

it('a directory that cannot be made is an error that names it', async () => {
  writeFileSync(join(parent, 'file'), '');
  await expect(RunDirectory.open(join(parent, 'file', 'run'), {})).rejects.toMatchObject({
    name: 'FileError',
    code: 'E_FILE_NOT_WRITABLE',
    message: expect.stringContaining(join(parent, 'file', 'run')),
  });
});
