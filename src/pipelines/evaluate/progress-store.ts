/**
 * Where an evaluation stands, on disk: which passes are done how far, and the values of the seeds that are finished.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FileError, RunError } from '../../core/errors.js';
import { isTemporaryName, withFileErrors, writeFileAtomic } from '../../core/files.js';
import { RunDirectory } from '../../core/run-directory.js';
import type { FeatureCollector } from '../../metrics/feature-collector.js';

const FOLDER = 'evaluation-progress';
const FILE = 'progress.json';

const progressSchema = z.strictObject({
  seconds: z.number(),
  started: z.string(),
  passes: z.record(z.string(), z.strictObject({ done: z.number(), files: z.array(z.string()) })),
  /** By seed, then by extractor and by name. */
  values: z.record(z.string(), z.array(z.record(z.string(), z.number()))),
});

type Progress = z.infer<typeof progressSchema>;

/**
 * The progress of one evaluation in `outDir/evaluation-progress`, which no other process can open meanwhile.
 *
 * progress.json is written last: what it names is whole, what it does not name is rubbish.
 */
export class ProgressStore {
  readonly #begin = performance.now();

  private constructor(
    private readonly directory: RunDirectory,
    private readonly progress: Progress,
  ) {}

  /**
   * Opens what an interrupted evaluation left, or begins. `fingerprint` is what decides the result.
   *
   * Throws `E_RUN_CONFIG` where another evaluation was interrupted there, `E_RUN_LOCKED` where one is running, `FileError` where nothing can be written.
   */
  static async open(outDir: string, fingerprint: unknown): Promise<ProgressStore> {
    await withFileErrors(outDir, 'write', () => mkdir(outDir, { recursive: true }));
    const path = join(outDir, FOLDER);
    const directory = await RunDirectory.open(path, fingerprint);
    try {
      const progress = await readProgress(path);
      if (progress !== undefined && directory.differences.length > 0)
        throw new RunError(
          'E_RUN_CONFIG',
          `${outDir} holds an interrupted evaluation with other options:\n${directory.differences.map((line) => `  - ${line}`).join('\n')}`,
          { help: `go on with those, write to another directory, or remove ${path}` },
        );
      if (directory.differences.length > 0) await directory.writeConfig(fingerprint);
      const store = new ProgressStore(directory, progress ?? { seconds: 0, started: new Date().toISOString(), passes: {}, values: {} });
      await store.#sweep();
      return store;
    } catch (error) {
      await directory.release();
      throw error;
    }
  }

  get started(): string {
    return this.progress.started;
  }

  /** Seconds of work, those of earlier processes included. */
  get seconds(): number {
    return this.progress.seconds + (performance.now() - this.#begin) / 1000;
  }

  /** Values of a finished seed, one record an extractor. */
  values(seed: number): Record<string, number>[] | undefined {
    return this.progress.values[seed];
  }

  /** Puts collectors where a pass was left; returns the images done. */
  async restore(pass: string, collectors: readonly FeatureCollector[]): Promise<number> {
    const found = this.progress.passes[pass];
    if (found === undefined || found.files.length !== collectors.length) return 0;
    for (const [i, collector] of collectors.entries()) await collector.load(this.directory.file(found.files[i]!));
    return found.done;
  }

  /** Keeps the collectors of a pass. */
  async save(pass: string, done: number, collectors: readonly FeatureCollector[]): Promise<void> {
    const files = collectors.map((_, i) => `${pass}-${i}-${done}.safetensors`);
    for (const [i, collector] of collectors.entries()) await collector.save(this.directory.file(files[i]!));
    this.progress.passes[pass] = { done, files };
    await this.#write();
    await this.#sweep();
  }

  /** Keeps the values of a seed; its pass is no longer needed. */
  async finish(seed: number, pass: string, values: readonly Record<string, number>[]): Promise<void> {
    this.progress.values[seed] = [...values];
    await this.drop(pass);
  }

  /** Forgets a pass whose result lies elsewhere. */
  async drop(pass: string): Promise<void> {
    delete this.progress.passes[pass];
    await this.#write();
    await this.#sweep();
  }

  /** Gives the directory free; the progress stays. */
  release(): Promise<void> {
    return this.directory.release();
  }

  /** The evaluation is written: nothing of its progress is left. */
  async remove(): Promise<void> {
    await this.directory.release();
    await rm(this.directory.path, { recursive: true, force: true });
  }

  async #write(): Promise<void> {
    await writeFileAtomic(this.directory.file(FILE), JSON.stringify({ ...this.progress, seconds: this.seconds }));
  }

  async #sweep(): Promise<void> {
    const named = new Set(Object.values(this.progress.passes).flatMap(({ files }) => files));
    for (const name of await readdir(this.directory.path))
      if (isTemporaryName(name) || (name.endsWith('.safetensors') && !named.has(name)))
        await rm(this.directory.file(name), { force: true });
  }
}

async function readProgress(directory: string): Promise<Progress | undefined> {
  const path = join(directory, FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return withFileErrors(path, 'read', () => Promise.reject(error));
  }
  try {
    return progressSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${path}: expected the progress of an evaluation: ${(cause as Error).message}`, {
      cause,
      help: `remove ${directory}; the evaluation then starts anew`,
    });
  }
}
