/**
 * The cache that outlives node_modules, and the lock that keeps two set-ups apart.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** ONESTEP_CACHE, else `onestep` in XDG_CACHE_HOME, else `~/.cache/onestep`. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment['ONESTEP_CACHE']) return resolve(environment['ONESTEP_CACHE']);
  return join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'onestep');
}

/** Free megabytes on the disk that holds `path` or will hold it. */
export async function freeMegabytes(path: string): Promise<number> {
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  const { bavail, bsize } = await statfs(existing);
  return Math.floor((bavail * bsize) / 1e6);
}

/** Why no file can be written into `directory`, which is made if need be; undefined where one can. */
export function whyNotWritable(directory: string): string | undefined {
  const trial = join(directory, `.trial-${randomBytes(4).toString('hex')}`);
  try {
    mkdirSync(directory, { recursive: true });
    writeFileSync(trial, '');
    rmSync(trial);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A lock whose holder has not touched it for so long is of a holder that is gone: many heartbeats. */
const STALE_MILLISECONDS = 60_000;
const HEARTBEAT_MILLISECONDS = 2_000;

interface Holder {
  pid: number;
  host: string;
  token: string;
}

export interface LockOptions {
  /** Called once, where another process holds the lock and lives. */
  onWait?: (holder: { pid: number; host: string }) => void;
  signal?: AbortSignal;
}

/**
 * Runs `action` while holding the lock file `path`; waits for another holder, and takes the lock over from one that is gone.
 *
 * `waited` tells the action whether another process held it first.
 */
export async function withLock<T>(path: string, options: LockOptions, action: (waited: boolean) => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const mine: Holder = { pid: process.pid, host: hostname(), token: randomBytes(8).toString('hex') };
  let waited = false;
  while (!take(path, mine)) {
    const holder = read(path);
    if (holder === undefined || isGone(path, holder)) {
      takeAway(path, holder?.token);
      continue;
    }
    if (!waited) options.onWait?.(holder);
    waited = true;
    await sleep(200, undefined, { signal: options.signal });
  }

  const heartbeat = setInterval(() => {
    const now = new Date();
    try {
      utimesSync(path, now, now);
    } catch {
      // Taken away: the work goes on, its results are renamed into place whole.
    }
  }, HEARTBEAT_MILLISECONDS);
  try {
    return await action(waited);
  } finally {
    clearInterval(heartbeat);
    if (read(path)?.token === mine.token) rmSync(path, { force: true });
  }
}

/** Makes the lock file with its content in one step, so that nobody reads half of it. */
function take(path: string, holder: Holder): boolean {
  const draft = `${path}.${holder.token}`;
  writeFileSync(draft, JSON.stringify(holder));
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function read(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    return undefined;
  }
}

function isGone(path: string, holder: Holder): boolean {
  try {
    if (Date.now() - statSync(path).mtimeMs > STALE_MILLISECONDS) return true;
    if (holder.host !== hostname()) return false;
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return ['ESRCH', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '');
  }
}

/** Removes the lock of a holder that is gone, and gives it back if a living one took it meanwhile. */
function takeAway(path: string, token: string | undefined): void {
  const aside = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  try {
    if (read(aside)?.token !== token) linkSync(aside, path);
  } catch {
    // A third one has it.
  }
  rmSync(aside, { force: true });
}
