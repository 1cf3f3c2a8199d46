/**
 * A data set on its way: `OUT.part` holds the images, `OUT.part.json` how far it is; both are gone when it is whole.
 */
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { FileError } from '../../core/errors.js';
import { withFileErrors, writeFileAtomic } from '../../core/files.js';
import { StoredZip } from './stored-zip.js';

const stateSchema = z.strictObject({
  /** Tells which images it is made of, and how. */
  key: z.string(),
  /** The next image of the source. */
  next: z.int().min(0),
  /** Whole entries in the part, and the bytes they take. */
  entries: z.int().min(0),
  bytes: z.int().min(0),
  /** Images of the source that were left out. */
  skipped: z.array(z.int().min(0)),
  /** What the first image decided. */
  side: z.int().min(1).optional(),
  channels: z.union([z.literal(1), z.literal(3)]).optional(),
});

/** How far a data set is. */
export type MakingState = z.output<typeof stateSchema>;

const fresh = (key: string): MakingState => ({ key, next: 0, entries: 0, bytes: 0, skipped: [] });

/** The unfinished zip of one data set; only the holder of its lock touches it. */
export class UnfinishedZip {
  private constructor(
    readonly target: string,
    readonly zip: StoredZip,
    /** How far it was when it was opened. */
    readonly found: MakingState,
  ) {}

  /** Goes on with what is left of `target`; of other images or options only with `force`, which begins anew. */
  static async open(target: string, key: string, force: boolean): Promise<UnfinishedZip> {
    const path = `${target}.part`;
    const state = await readState(`${path}.json`);
    if (state && state.key !== key && !force)
      throw new FileError('E_FILE_EXISTS', `${path}: expected the beginning of this data set, found that of other images or options`, {
        help: 'go on with the same source and options, write to another name, or say --force (force: true) to begin anew',
      });
    if (state?.key === key && state.bytes > 0) {
      const zip = await StoredZip.open(path, state.bytes, state.entries);
      if (zip) return new UnfinishedZip(target, zip, state);
    }
    await withFileErrors(path, 'write', () => rm(`${path}.json`, { force: true }));
    return new UnfinishedZip(target, (await StoredZip.open(path, 0, 0))!, fresh(key));
  }

  /** Brings everything to the disk, and then how far it is. */
  async save(state: Omit<MakingState, 'entries' | 'bytes'>): Promise<void> {
    await this.zip.flush();
    await writeFileAtomic(
      `${this.target}.part.json`,
      `${JSON.stringify({ ...state, entries: this.zip.entries, bytes: this.zip.bytes } satisfies MakingState)}\n`,
    );
  }

  /** Makes the zip whole and gives it its name. */
  async commit(): Promise<void> {
    await this.zip.finish();
    await this.zip.close();
    await withFileErrors(this.target, 'write', async () => {
      await rename(`${this.target}.part`, this.target);
      await rm(`${this.target}.part.json`, { force: true });
      const folder = await open(dirname(this.target), 'r').catch(() => undefined);
      await folder?.sync().catch(() => undefined); // not every file system can
      await folder?.close();
    });
  }

  /** Removes every trace. */
  async discard(): Promise<void> {
    await this.zip.close();
    await rm(`${this.target}.part`, { force: true });
    await rm(`${this.target}.part.json`, { force: true });
  }
}

async function readState(path: string): Promise<MakingState | undefined> {
  try {
    return stateSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined; // absent or damaged: it begins anew
  }
}
