/**
 * A file on its way: `NAME.part` holds the bytes, `NAME.part.json` what is needed to ask for the rest.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { withFileErrors, writeFileAtomic } from '../files.js';

const stateSchema = z.strictObject({
  /** Without credentials and query; for people. */
  url: z.string(),
  /** Tells which address it was, exactly. */
  key: z.string(),
  /** A strong entity tag, or else the date of the last change; the rest of a file is asked for only with one of them, or where a checksum is known. */
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  /** Bytes of the whole file. */
  length: z.number().int().min(0).optional(),
});

/** What is known of the file whose part is kept. */
export type PartState = z.output<typeof stateSchema>;

/** The part of one file; only the holder of the file's lock touches it. */
export class PartFile {
  readonly path: string;
  #state: PartState | undefined;
  #size = 0;
  #handle: FileHandle | undefined;

  private constructor(readonly target: string) {
    this.path = `${target}.part`;
  }

  /** Takes up what is left of `target`, if it is of the same address. */
  static async open(target: string, key: string): Promise<PartFile> {
    const part = new PartFile(target);
    const state = await readState(part.#statePath);
    const size = await stat(part.path).then(
      (found) => (found.isFile() ? found.size : 0),
      () => 0,
    );
    if (state?.key !== key || size === 0 || (state.length !== undefined && size > state.length)) await part.restart();
    else {
      part.#state = state;
      part.#size = size;
    }
    return part;
  }

  get #statePath(): string {
    return `${this.path}.json`;
  }

  /** Bytes that are there. */
  get size(): number {
    return this.#size;
  }

  /** Undefined where nothing is there. */
  get state(): PartState | undefined {
    return this.#state;
  }

  /** Forgets everything. */
  async restart(): Promise<void> {
    await this.close();
    this.#state = undefined;
    this.#size = 0;
    await withFileErrors(this.path, 'write', async () => {
      await rm(this.#statePath, { force: true });
      await rm(this.path, { force: true });
    });
  }

  /** Opens the part for more bytes, after its present ones; `state` is on the disk before the first of them. */
  async begin(state: PartState): Promise<void> {
    if (JSON.stringify(state) !== JSON.stringify(this.#state))
      await writeFileAtomic(this.#statePath, `${JSON.stringify(state, null, 2)}\n`);
    this.#state = state;
    this.#handle = await withFileErrors(this.path, 'write', () => open(this.path, 'a'));
  }

  /** Appends; on an error what was written whole before stays. Throws `E_FILE_NO_SPACE`. */
  async append(chunk: Uint8Array): Promise<void> {
    await withFileErrors(this.path, 'write', async () => {
      for (let at = 0; at < chunk.byteLength;) {
        const { bytesWritten } = await this.#handle!.write(chunk, at, chunk.byteLength - at);
        at += bytesWritten;
        this.#size += bytesWritten;
      }
    });
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  /** SHA-256 of the bytes on the disk, in hexadecimal. */
  async sha256(signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256');
    await withFileErrors(this.path, 'read', async () => {
      for await (const chunk of createReadStream(this.path, { highWaterMark: 1 << 20, ...(signal !== undefined && { signal }) }))
        hash.update(chunk as Buffer);
    });
    return hash.digest('hex');
  }

  /** Flushes the part and gives it its name: from here on the file is there, whole. */
  async commit(): Promise<void> {
    await this.close();
    await withFileErrors(this.target, 'write', async () => {
      await sync(this.path, 'r+');
      await rename(this.path, this.target);
      await rm(this.#statePath, { force: true });
      await sync(dirname(this.target), 'r').catch(() => {}); // not every file system can
    });
  }
}

async function sync(path: string, flags: string): Promise<void> {
  const handle = await open(path, flags);
  await handle.sync().finally(() => handle.close());
}

async function readState(path: string): Promise<PartState | undefined> {
  try {
    return stateSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined; // absent or damaged: the download starts anew
  }
}
