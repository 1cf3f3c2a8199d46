/**
 * CIFAR-10 as it is published: the binary or the Python archive, packed or unpacked (Krizhevsky 2009).
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import type { DataSource } from '../../core/contracts/data.js';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import { parseOptions } from '../../core/options.js';
import { binaryBatch, classNames, pythonBatch, type BatchContent, type CifarBatch } from './cifar-batch.js';
import { RawImages, RawSource, type RawRun } from './raw-images.js';
import { tarEntries } from './tar.js';

const CLASSES = 10;

const TRAIN = ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5'];
const SPLITS = { train: TRAIN, test: ['test_batch'], all: [...TRAIN, 'test_batch'] } as const;

const cifar10Options = z.strictObject({
  /** `train`: 50,000 images, `data_batch_1` to `5`; `test`: 10,000; `all`: both, in this order. */
  split: z.enum(['train', 'test', 'all']).default('train'),
  /** Whether labels are read; false: `classes` is 0. */
  labels: z.boolean().default(true),
  /** What is done with an image whose label is none: an error that names it, or it is left out and counted. */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
});

/** Options of `cifar10`. @interface */
export type Cifar10Options = z.input<typeof cifar10Options>;

/**
 * CIFAR-10 in its published order: 32 px, RGB, ten classes.
 *
 * `path` is `cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz` or the folder that either unpacks to; of an archive the images are held
 * in memory (154 MB for `train`), of a folder they are read by range. Pickles are read as data: nothing of them is run.
 *
 * `open()` throws FileError: `E_FILE_ABSENT`, `E_FILE_TRUNCATED`, `E_FILE_FORMAT`, `E_PICKLE_…`, `E_IMAGE_LABEL`.
 *
 * ```ts
 * const { size, classes } = await cifar10('cifar-10-python.tar.gz').open(); // 50,000 and 10
 * ```
 */
export function cifar10(path: string, options: Cifar10Options = {}): DataSource {
  const parsed = parseOptions(cifar10Options, options, 'cifar10');
  return new RawSource({ part: 'cifar10', options: { path, ...parsed } }, () => openCifar10(path, parsed));
}

/** A batch or a list of classes by its file's name; undefined: neither. */
function roleOf(name: string): { role: string; binary: boolean } | undefined {
  const match = /^(data_batch_[1-5]|test_batch|batches\.meta)(\.bin|\.txt)?$/.exec(basename(name));
  if (!match) return undefined;
  const [, role, extension] = match;
  return role === 'batches.meta' && extension === '.bin' ? undefined : { role: role!, binary: extension !== undefined };
}

/** True where the names of files are those of CIFAR-10, packed or unpacked. */
export const looksLikeCifar10 = (names: readonly string[]): boolean =>
  names.some((name) => /^(data_batch_1|test_batch)(\.bin)?$/.test(basename(name)));

interface Found {
  name: string;
  role: string;
  binary: boolean;
  content: BatchContent;
}

async function filesOfArchive(path: string, wanted: ReadonlySet<string>): Promise<Found[]> {
  const found: Found[] = [];
  for await (const entry of tarEntries(path)) {
    const known = roleOf(entry.name);
    if (!known || !wanted.has(known.role)) continue;
    found.push({ name: `${path}: ${entry.name}`, ...known, content: { bytes: await entry.read() } });
    if (found.length === wanted.size) break;
  }
  return found;
}

async function filesOfFolder(path: string, wanted: ReadonlySet<string>): Promise<Found[]> {
  const list = async (folder: string) =>
    (await withFileErrors(folder, 'read', () => readdir(folder))).flatMap((file): Found[] => {
      const known = roleOf(file);
      const inside = join(folder, file);
      return known && wanted.has(known.role) ? [{ name: inside, ...known, content: { path: inside } }] : [];
    });
  const found = await list(path);
  if (found.length > 0) return found;
  // The folder that the archive was unpacked in.
  for (const inner of ['cifar-10-batches-bin', 'cifar-10-batches-py']) {
    const folder = join(path, inner);
    if ((await stat(folder).catch(() => undefined))?.isDirectory()) return list(folder);
  }
  return [];
}

/** Opens {@link cifar10}. */
export async function openCifar10(path: string, options: Cifar10Options = {}): Promise<RawImages> {
  const { split, labels: wantsLabels, onInvalid } = parseOptions(cifar10Options, options, 'cifar10');
  const wanted = new Set([...SPLITS[split], 'batches.meta']);
  const folder = (await withFileErrors(path, 'read', () => stat(path))).isDirectory();
  const found = await (folder ? filesOfFolder(path, wanted) : filesOfArchive(path, wanted));

  const batches: CifarBatch[] = [];
  const missing: string[] = [];
  for (const role of SPLITS[split]) {
    const file = found.find((candidate) => candidate.role === role);
    if (file) batches.push(await (file.binary ? binaryBatch : pythonBatch)(file.name, file.content));
    else missing.push(role);
  }
  if (missing.length > 0)
    throw new FileError('E_FILE_FORMAT', `${path}: expected CIFAR-10 with ${SPLITS[split].join(', ')}, found no ${missing.join(', ')}`, {
      help: 'give cifar-10-binary.tar.gz, cifar-10-python.tar.gz or the folder that one of them unpacks to',
    });
  const meta = found.find(({ role }) => role === 'batches.meta');
  const names = meta && (await classNames(meta.name, meta.content));

  const { labels, kept, skipped } = validate(batches, onInvalid, wantsLabels);
  return new RawImages({
    name: basename(resolve(path)),
    format: `CIFAR-10 (${found[0]!.binary ? 'binary' : 'Python'} ${folder ? 'folder' : 'archive'}, ${split})`,
    runs: batches.map(({ run }): RawRun => run),
    height: 32,
    width: 32,
    channels: 3,
    order: 'planes',
    classes: wantsLabels ? CLASSES : 0,
    labels: wantsLabels ? labels : undefined,
    classNames: wantsLabels && names?.length === CLASSES ? names : undefined,
    kept,
    ...(onInvalid === 'skip' && { skipped }),
  });
}

/** Labels of the images that can be used, any where they are not wanted; `kept` is undefined where that is all of them. */
function validate(
  batches: readonly CifarBatch[],
  onInvalid: 'stop' | 'skip',
  wantsLabels: boolean,
): { labels: Uint32Array; kept: Uint32Array | undefined; skipped: number } {
  const labels: number[] = [];
  const kept: number[] = [];
  let position = 0;
  let cut = 0;
  for (const { run, labels: given, rest } of batches) {
    if (rest > 0 && onInvalid === 'stop')
      throw new FileError('E_FILE_TRUNCATED', `${run.name}[${run.count}]: expected whole images of 3073 bytes, found ${rest} bytes`, {
        help: 'download the archive again, or leave the image out with onInvalid: skip',
      });
    cut += rest > 0 ? 1 : 0;
    for (let k = 0; k < run.count; k++, position++) {
      const label = given[k]!;
      if (!wantsLabels || (Number.isInteger(label) && label >= 0 && label < CLASSES)) {
        labels.push(label);
        kept.push(position);
      } else if (onInvalid === 'stop')
        throw new FileError('E_IMAGE_LABEL', `${run.name}[${k}]: expected a label below ${CLASSES}, found ${label}`, {
          help: 'this is another data set or damaged; leave such images out with onInvalid: skip',
        });
    }
  }
  return {
    labels: Uint32Array.from(labels),
    kept: kept.length === position ? undefined : Uint32Array.from(kept),
    skipped: position - kept.length + cut,
  };
}
