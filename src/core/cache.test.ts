import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheDirectory, freeMegabytes, whyNotWritable, withLock } from './cache.js';

let directory: string;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'onestep-cache-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('cacheDirectory', () => {
  it('heeds ONESTEP_CACHE, then XDG_CACHE_HOME, then the home directory', () => {
    expect(cacheDirectory({ ONESTEP_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a');
    expect(cacheDirectory({ ONESTEP_CACHE: '', XDG_CACHE_HOME: '/b' })).toBe('/b/onestep');
    expect(cacheDirectory({})).toBe(join(homedir(), '.cache', 'onestep'));
  });
});

describe('freeMegabytes and whyNotWritable', () => {
  it('answer for a directory that does not exist yet', async () => {
    const path = join(directory, 'not', 'yet');
    expect(await freeMegabytes(path)).toBeGreaterThan(0);
    expect(existsSync(path)).toBe(false);
    expect(whyNotWritable(path)).toBeUndefined();
    expect(readdirSync(path)).toEqual([]);
  });

  it('say why a file is in the way', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(whyNotWritable(join(directory, 'file', 'cache'))).toMatch(/ENOTDIR/);
  });
});

describe('withLock', () => {
  const lock = () => join(directory, 'lock');
  const held = (holder: object, age = 0) => {
    writeFileSync(lock(), JSON.stringify({ pid: process.pid, host: hostname(), token: 'other', ...holder }));
    const then = new Date(Date.now() - age);
    utimesSync(lock(), then, then);
  };

  it('lets only one in at a time, and every one in the end', async () => {
    let inside = 0;
    let most = 0;
    const enter = () =>
      withLock(lock(), {}, async () => {
        most = Math.max(most, ++inside);
        await sleep(20);
        inside--;
      });
    await Promise.all([enter(), enter(), enter()]);
    expect([most, readdirSync(directory)]).toEqual([1, []]);
  });

  it('lets the lock go when the action fails', async () => {
    await expect(withLock(lock(), {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(existsSync(lock())).toBe(false);
  });

  it('waits for a holder that lives, says so once, and stops waiting when it is told to', async () => {
    held({});
    const waits: number[] = [];
    const stop = new AbortController();
    const waiting = withLock(lock(), { onWait: ({ pid }) => waits.push(pid), signal: stop.signal }, async () => 'in');
    await sleep(500);
    stop.abort(new Error('stop'));
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    expect(waits).toEqual([process.pid]);
    expect(existsSync(lock())).toBe(true);
  });

  it.each([
    ['a process that is gone', { pid: 2 ** 22 + 1 }, 0],
    ['a process that has been silent for long', {}, 120_000],
    ['another machine that has been silent for long', { host: 'elsewhere' }, 120_000],
  ])('takes the lock over from %s', async (_, holder, age) => {
    held(holder, age);
    expect(await withLock(lock(), {}, async (waited) => waited)).toBe(false);
  });

  it('takes over a lock file that was never filled', async () => {
    writeFileSync(lock(), '');
    expect(await withLock(lock(), {}, async () => 'in')).toBe('in');
  });

  it('leaves a holder on another machine alone that was heard of lately', async () => {
    held({ host: 'elsewhere', pid: 2 ** 22 + 1 });
    const stop = AbortSignal.timeout(300);
    await expect(withLock(lock(), { signal: stop }, async () => 'in')).rejects.toMatchObject({ name: 'AbortError' });
  });
});
