/**
 * The directory of a run: one process at a time, the resolved options, the checkpoints.
 */
import { mkdir, open, readFile, readdir, rm, stat } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type CheckpointList, type CheckpointPartToSave, listCheckpoints, saveCheckpoint } from './checkpoint.js';
import { FileError, RunError } from './errors.js';
import { isTemporaryName, removeDirectoryAtomic, withFileErrors, writeFileAtomic } from './files.js';
import { parseOptions } from './options.js';

const runDirectoryOptions = z.strictObject({
  /** Complete checkpoints to keep; older ones are removed after each save. */
  keepCheckpoints: z.number().int().min(1).default(2),
});

/**
 * Options of `RunDirectory.open`.
 *
 * @interface
 */
export type RunDirectoryOptions = z.input<typeof runDirectoryOptions>;

const LOCK = 'run.lock';
const CONFIG = 'config.json';

/**
 * An opened run directory. Nobody else can open it until `release()` or the end of this process.
 *
 * @example
 * const run = await RunDirectory.open('runs/c10', config);
 * const [newest] = (await run.checkpoints()).complete;
 * await run.saveCheckpoint(256, parts);
 * await run.release();
 */
export class RunDirectory {
  private constructor(
    readonly path: string,
    /** How `config` differs from the `config.json` found, such as `schedule.batchSize: was 64, is 32`; empty for a new run. */
    readonly differences: readonly string[],
    private readonly keep: number,
    private readonly lock: Lock,
  ) {}

  /**
   * Creates or opens the directory, locks it, sweeps away what an interrupted write left, and writes `config.json` where there is none.
   * A former `config.json` is left as it is: what the differences mean is the caller's to decide.
   *
   * Throws {@link RunError} `E_RUN_LOCKED` where a living process has it open; {@link FileError} where it cannot be written.
   */
  static async open(path: string, config: unknown, options: RunDirectoryOptions = {}): Promise<RunDirectory> {
    const { keepCheckpoints } = parseOptions(runDirectoryOptions, options, 'runDirectory');
    const directory = resolve(path);
    await withFileErrors(path, 'write', () => mkdir(directory, { recursive: true }));
    const lock = await acquire(directory);
    try {
      await withFileErrors(path, 'write', () => sweep(directory));
      const former = await readConfig(directory);
      if (former === undefined) await writeFileAtomic(join(directory, CONFIG), `${JSON.stringify(config, null, 2)}\n`);
      return new RunDirectory(directory, former === undefined ? [] : compare(former, plain(config)), keepCheckpoints, lock);
    } catch (error) {
      await unlock(lock);
      throw error;
    }
  }

  /** Path of a file of the run. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Replaces `config.json`, for a run that goes on with other options. */
  async writeConfig(config: unknown): Promise<void> {
    await writeFileAtomic(this.file(CONFIG), `${JSON.stringify(config, null, 2)}\n`);
  }

  /** Complete checkpoints, newest first, and damaged ones with the reason. Reads every file to compare checksums. */
  checkpoints(): Promise<CheckpointList> {
    return listCheckpoints(this.path);
  }

  /** Saves a checkpoint, removes those that are too old, and returns the path. */
  async saveCheckpoint(kimg: number, parts: Readonly<Record<string, CheckpointPartToSave>>): Promise<string> {
    const path = await saveCheckpoint(this.path, kimg, parts);
    const { complete } = await listCheckpoints(this.path, { checksums: false });
    for (const old of complete.filter((checkpoint) => checkpoint.path !== path).slice(this.keep - 1)) await removeDirectoryAtomic(old.path);
    return path;
  }

  /** Gives the directory free; safe to call twice. */
  async release(): Promise<void> {
    await unlock(this.lock);
  }
}

/** Removes what an interrupted write left; the lock must be held. */
async function sweep(directory: string): Promise<void> {
  for (const name of await readdir(directory)) if (isTemporaryName(name)) await rm(join(directory, name), { recursive: true, force: true });
}

// ---------------------------------------------------------------------------------------------------------------------
// Configuration

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));

async function readConfig(directory: string): Promise<unknown> {
  const path = join(directory, CONFIG);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return withFileErrors(path, 'read', () => Promise.reject(error));
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${path}: not JSON: ${(cause as Error).message}`, {
      cause,
      help: 'repair it or start in a new directory',
    });
  }
}

/** One line per value that differs, with its path. */
function compare(former: unknown, current: unknown, path = ''): string[] {
  const isTree = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
  if (isTree(former) && isTree(current) && Array.isArray(former) === Array.isArray(current)) {
    const keys = new Set([...Object.keys(former), ...Object.keys(current)]);
    return [...keys].flatMap((key) => compare(former[key], current[key], path === '' ? key : `${path}.${key}`));
  }
  if (Object.is(former, current)) return [];
  const show = (value: unknown) => (value === undefined ? 'absent' : JSON.stringify(value));
  return [`${path || '(config)'}: was ${show(former)}, is ${show(current)}`];
}

// ---------------------------------------------------------------------------------------------------------------------
// Lock

const ownerSchema = z.object({ pid: z.number().int().positive(), host: z.string(), processStart: z.string().optional(), time: z.string() });

type Owner = z.infer<typeof ownerSchema>;

interface Lock {
  path: string;
  content: string;
}

/** A file that is being made holds no owner yet; after this long it was left by a crash. */
const UNFINISHED_MS = 5_000;

/** When a process started, in a form that tells it from a later one with the same pid; undefined where the system does not say. */
function processStart(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // Field 22 of /proc/<pid>/stat; the second one is a name in parentheses that may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return `${boot} ${fields[19]}`;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, host, processStart: started }: Owner): boolean {
  // Another machine's processes cannot be seen from here.
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = processStart(pid);
  return started === undefined || now === undefined || started === now;
}

/** True where the file was made by this call. */
async function create(path: string, content: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Who holds the lock; `unfinished` where it is being written right now, undefined where nobody does. */
async function ownerOf(path: string): Promise<Owner | 'unfinished' | undefined> {
  try {
    const [text, { mtimeMs }] = [await readFile(path, 'utf8'), await stat(path)];
    const owner = ownerSchema.safeParse(parseOrUndefined(text));
    if (owner.success) return isAlive(owner.data) ? owner.data : undefined;
    return Date.now() - mtimeMs < UNFINISHED_MS ? 'unfinished' : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function acquire(directory: string): Promise<Lock> {
  const path = join(directory, LOCK);
  const owner: Owner = { pid: process.pid, host: hostname(), processStart: processStart(process.pid), time: new Date().toISOString() };
  const content = JSON.stringify(owner, null, 2);
  return withFileErrors(path, 'write', async () => {
    const deadline = Date.now() + 2 * UNFINISHED_MS;
    for (;;) {
      if (await create(path, content)) return { path, content };
      const holder = await ownerOf(path);
      if (holder !== undefined && holder !== 'unfinished') throw lockedError(directory, holder);
      if (holder === undefined) await removeStale(path);
      if (Date.now() > deadline) throw lockedError(directory, undefined);
      await sleep(20);
    }
  });
}

/** Removes a dead process's lock. A second file keeps two processes from doing so at once, and one from removing the other's new lock. */
async function removeStale(path: string): Promise<void> {
  const guard = `${path}.takeover`;
  if (!(await create(guard, ''))) {
    if ((await ownerOf(guard)) === undefined) await rm(guard, { force: true });
    return;
  }
  try {
    if ((await ownerOf(path)) === undefined) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

async function unlock({ path, content }: Lock): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) === content) await rm(path, { force: true });
}

function lockedError(directory: string, holder: Owner | undefined): RunError {
  const who = holder ? `process ${holder.pid} on ${holder.host} since ${holder.time}` : 'another process';
  const elsewhere = holder && holder.host !== hostname();
  return new RunError('E_RUN_LOCKED', `${directory}: expected a directory that no other run uses, found it in use by ${who}`, {
    help: elsewhere
      ? `stop that run or choose another directory; if that machine no longer runs it, delete ${join(directory, LOCK)}`
      : 'stop that run or choose another directory',
  });
}
