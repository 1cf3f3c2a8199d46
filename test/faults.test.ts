/** Interruptions and faults, for real: signals, kills, a full disk, a directory in use, files that are not what they seem. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createBackbone, distill, listCheckpoints, PhiloxRandom, safetensorsTeacher, saveBackbone } from '../src/index.js';
import { useEngine } from './support/engines.js';
import { tinyBackbone, tinyRun } from './support/tiny.js';

const script = fileURLToPath(new URL('./support/tiny-run.ts', import.meta.url));

let directory: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'onestep-faults-'));
  await useEngine('wasm');
});
afterEach(() => children.splice(0).forEach((child) => child.kill('SIGKILL')));
afterAll(() => rm(directory, { recursive: true, force: true }));

/** Starts the script; `until` resolves when a line that matches has been printed. */
function start(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const reader = createInterface(child.stdout).on('line', (line) => {
    lines.push(line);
    for (const check of waiting) check();
  });
  const exit = Promise.all([once(child, 'exit'), once(reader, 'close')]).then(([[code, signal]]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }));
  const until = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const check = () => lines.some((line) => pattern.test(line)) && (waiting.delete(check), resolve());
      waiting.add(check);
      check();
      void exit.then(() => reject(new Error(`ended before ${pattern}: ${lines.join(' | ')} ${errors}`)));
    });
  return { child, lines, until, exit, stderr: () => errors };
}

const finalNetwork = async (runDir: string) => {
  const [newest] = (await listCheckpoints(runDir)).complete;
  return {
    kimg: newest!.kimg,
    network: await readFile(join(newest!.path, 'network.safetensors')),
    ema: await readFile(join(newest!.path, 'ema.safetensors')),
  };
};

describe('signals', () => {
  it('SIGINT finishes the iteration, leaves a checkpoint and ends cleanly', async () => {
    const runDir = join(directory, 'sigint');
    const run = start(runDir, '100000', '1000');
    await run.until(/^step 3/);
    run.child.kill('SIGINT');
    expect(await run.exit).toEqual({ code: 0, signal: null });
    expect(run.lines.at(-1)).toBe('stopped');
    expect(run.stderr()).toContain('SIGINT');
    const steps = run.lines.filter((line) => line.startsWith('step')).length;
    const { complete } = await listCheckpoints(runDir);
    expect(complete.map(({ kimg }) => kimg)).toEqual([(steps * 8) / 1000]);
    const events = (await readFile(join(runDir, 'events.jsonl'), 'utf8')).trim().split('\n');
    expect(JSON.parse(events.at(-1)!)).toMatchObject({ kind: 'ended', reason: 'stopped' });
    expect((await readdir(runDir)).includes('run.lock')).toBe(false);
  });

  it('a second SIGINT ends at once', async () => {
    const run = start(join(directory, 'sigint-twice'), '100000', '1000');
    await run.until(/^step 1/);
    run.child.kill('SIGINT');
    run.child.kill('SIGINT');
    setTimeout(() => run.child.kill('SIGINT'), 1);
    const { code } = await run.exit;
    // Both may arrive as one; then the run ends as after one signal.
    expect([130, 0]).toContain(code);
  });

  it('killed again and again, a resumed run ends in the very same weights', async () => {
    const [whole, killed] = [join(directory, 'whole'), join(directory, 'killed')];
    await start(whole, '160').exit;
    for (const step of [3, 9, 14]) {
      const run = start(killed, '160');
      await run.until(new RegExp(`^step ${step}$`));
      run.child.kill('SIGKILL');
      expect(await run.exit).toMatchObject({ signal: 'SIGKILL' });
    }
    const last = start(killed, '160');
    expect(await last.exit).toEqual({ code: 0, signal: null });
    expect(Number(last.lines[0]!.split(' ')[1])).toBeGreaterThan(0);
    expect(await finalNetwork(killed)).toEqual(await finalNetwork(whole));
  });
});

describe('run directories', () => {
  it('refuses one that another process uses', async () => {
    const runDir = join(directory, 'locked');
    const run = start(runDir, '100000', '1000');
    await run.until(/^step 1/);
    await expect(distill(tinyRun({ runDir })).completed).rejects.toMatchObject({ code: 'E_RUN_LOCKED' });
    await expect(distill(tinyRun({ runDir })).completed).rejects.toThrow(String(run.child.pid));
  });

  it('an unwritable one is an error that names it, and nothing is left in memory', async () => {
    const file = join(directory, 'a-file');
    await writeFile(file, '');
    await expect(distill(tinyRun({ runDir: join(file, 'run') })).completed).rejects.toThrow(join(file, 'run'));
  });

  it('goes back to the checkpoint before a damaged one', async () => {
    const runDir = join(directory, 'damaged');
    await start(runDir, '64').exit;
    const [newest, older] = (await listCheckpoints(runDir)).complete;
    await truncate(join(newest!.path, 'network.safetensors'), 100);
    const run = start(runDir, '64');
    await run.exit;
    expect(run.lines[0]).toBe(`started ${(older!.kimg * 1000) / 8}`);
  });

  const mount = (path: string) => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=640k', 'tmpfs', path], { stdio: 'pipe' });
    return () => execFileSync('umount', [path], { stdio: 'pipe' });
  };
  let canMount = false;
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()], { stdio: 'pipe' });
    canMount = true;
  } catch {
    console.log('skipped: a full disk (mounting a small file system is not permitted here)');
  }

  it.skipIf(!canMount)('a full disk stops the run with the last good checkpoint intact', async () => {
    const disk = join(directory, 'disk');
    await mkdir(disk);
    const unmount = mount(disk);
    try {
      const runDir = join(disk, 'run');
      const first = start(runDir, '16', '0.008');
      await first.exit;
      const good = await finalNetwork(runDir);
      await writeFile(join(disk, 'ballast'), Buffer.alloc(300_000)).catch(() => undefined);
      const run = start(runDir, '1600', '0.008');
      expect(await run.exit).toMatchObject({ code: 1 });
      expect(run.lines.at(-1)).toBe('E_FILE_NO_SPACE');
      const { complete, damaged } = await listCheckpoints(runDir);
      expect(damaged).toEqual([]);
      expect(complete[0]!.kimg).toBeGreaterThanOrEqual(good.kimg);
    } finally {
      unmount();
    }
  });
});

describe('weights', () => {
  const path = (name: string) => join(directory, `${name}.safetensors`);
  beforeAll(async () => {
    const network = createBackbone(tinyBackbone).initialize(new PhiloxRandom(0));
    await saveBackbone(path('good'), network);
    network.dispose();
  });
  const load = (name: string, config?: object) =>
    safetensorsTeacher(path(name), config ? { config: { ...tinyBackbone, ...config } } : {}).load();

  it('a missing file is named', async () => {
    await expect(load('absent')).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(load('absent')).rejects.toThrow(path('absent'));
  });

  it('a truncated file is found out', async () => {
    await copyFile(path('good'), path('short'));
    await truncate(path('short'), 20_000);
    await expect(load('short')).rejects.toMatchObject({ code: expect.stringMatching(/^E_(FILE|WEIGHTS)_/) as string });
  });

  it('tensors of another shape are listed with both shapes, missing ones too', async () => {
    const wrong = load('good', { model_channels: 12, num_blocks: 2 });
    await expect(wrong).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
    await expect(wrong).rejects.toThrow('model.map_layer0.weight: expected shape [48, 24], found [32, 16]');
    await expect(wrong).rejects.toThrow(/and \d+ more/);
  });

  it('a file of something else says what is supported', async () => {
    const { writeSafetensors } = await import('../src/core/safetensors.js');
    await writeSafetensors(path('other'), [{ name: 'bert.encoder.weight', shape: [2], data: new Float32Array(2) }]);
    await expect(load('other')).rejects.toMatchObject({ code: 'E_WEIGHTS_UNKNOWN' });
  });
});
