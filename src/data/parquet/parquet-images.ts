/**
 * Parquet files with a column of images, as Hugging Face's `datasets` writes them.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { DataSource } from '../../core/contracts/data.js';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import { parseOptions } from '../../core/options.js';
import { workersOption } from '../encoded/decode-pool.js';
import type { EncodedImages, OnInvalid } from '../encoded/encoded-images.js';
import { describedSource } from '../encoded/encoded-source.js';
import { openParquetFile, type ParquetColumn, type ParquetFile } from './parquet-file.js';
import { RowGroupCache, type GroupImages } from './row-group-cache.js';

const parquetOptions = z.strictObject({
  /** The column of images; undefined: the only one there is. */
  image: z.string().min(1).optional(),
  /** The column of labels, `false` for none; undefined: the only one there is, if any. */
  label: z.union([z.string().min(1), z.literal(false)]).optional(),
  /** Which files of a folder that holds several splits; undefined: the only split, or `train`. */
  split: z.string().min(1).optional(),
  /** Encoded images that are held in memory, in bytes: row groups are read whole. */
  cacheBytes: z
    .int()
    .min(0)
    .default(512 * 1024 * 1024),
  /** Threads that decode. */
  workers: workersOption,
  /** What becomes of rows without an image or label, and of images that cannot be decoded. */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
});

/** Options of `parquetImages`. @interface */
export type ParquetImagesOptions = z.input<typeof parquetOptions>;

/**
 * Images of Parquet files: a column of structs `{ bytes, path }` or of bytes, and a column of labels where there is one.
 *
 * `path` is a file, a folder of `.parquet` files (also in folders below it; in the order of their names) or a list of files. Class
 * names come from the metadata of Hugging Face's `datasets`. A read brings in a whole row group; in random order a set that is larger
 * than `cacheBytes` reads groups again and again: make a zip of it once (`onestep dataset make`).
 *
 * Reads reject with FileError `E_IMAGE_…` that names file and row; `open()` with `E_FILE_ABSENT`, `E_FILE_FORMAT`, `E_IMAGE_NONE`,
 * `E_IMAGE_LABEL`, `E_DATA_COLUMN` where the columns cannot be told.
 */
export function parquetImages(path: string | readonly string[], options: ParquetImagesOptions = {}): DataSource {
  const { workers, onInvalid, ...columns } = parseOptions(parquetOptions, options, 'parquetImages');
  const described = { path, ...columns, workers, onInvalid };
  return describedSource('parquetImages', described, (how) => openParquetImages(path, { ...columns, onInvalid: how }), {
    workers,
    onInvalid,
  });
}

/** The split that a file belongs to, by the two ways in which `datasets` and the hub name files; undefined: its name does not say. */
function splitOf(path: string): string | undefined {
  const name = basename(path);
  const match = /^(.+)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet$/.exec(name);
  if (match) return match[1];
  if (/^\d{4}\.parquet$/.test(name)) return basename(dirname(path));
  return /^(train|test|validation|val|dev)\.parquet$/.exec(name)?.[1];
}

/** The files of a path, in order. */
async function parquetFiles(path: string, wanted: string | undefined): Promise<string[]> {
  const found = await withFileErrors(path, 'read', () => stat(path));
  if (!found.isDirectory()) return [path];
  const names = await withFileErrors(path, 'read', () => readdir(path, { recursive: true }));
  const files = names
    .filter((name) => name.endsWith('.parquet') && !basename(name).startsWith('.'))
    .sort()
    .map((name) => join(path, name));
  if (files.length === 0) throw new FileError('E_IMAGE_NONE', `${path}: expected .parquet files, found none`, { help: 'check the path' });
  const splits = [...new Set(files.map(splitOf))];
  const split = wanted ?? (splits.length > 1 ? 'train' : undefined);
  if (split === undefined) return files;
  const chosen = files.filter((file) => splitOf(file) === split);
  if (chosen.length === 0)
    throw new FileError(
      'E_IMAGE_NONE',
      `${path}: expected files of the split ${split}, found ${splits.map((name) => name ?? 'files of none').join(', ')}`,
      {
        help: 'name one of these as split, or give a list of files',
      },
    );
  return chosen;
}

/** The wanted column, or the only one of its kind. */
function chooseColumn(file: ParquetFile, kind: 'image' | 'label', wanted: string | undefined): ParquetColumn | undefined {
  const { columns, path } = file;
  const names = columns.map(({ name }) => name).join(', ');
  const wrong = (problem: string, help: string) => new FileError('E_DATA_COLUMN', `${path}: ${problem}`, { help });
  if (wanted !== undefined) {
    const column = columns.find(({ name }) => name === wanted);
    if (!column) throw wrong(`expected a column ${wanted}, found ${names}`, `name one of these as ${kind}`);
    return column;
  }
  const candidates = columns.filter((column) => column.kind === kind);
  if (candidates.length > 1)
    throw wrong(
      `expected one column of ${kind}s, found ${candidates.map(({ name }) => name).join(', ')}`,
      kind === 'label'
        ? 'name one of them as label (--labels NAME), or give label: false (--no-labels)'
        : 'name one of them as image (--images NAME)',
    );
  if (candidates.length === 0 && kind === 'image')
    throw wrong(
      `expected a column of images (a struct with bytes), found ${names}`,
      'name the column as image (--images NAME), if one of these holds encoded images',
    );
  return candidates[0];
}

/** The encoded image in a value of the column; undefined: there is none. */
function imageBytes(value: unknown): Uint8Array | undefined {
  const bytes = value instanceof Uint8Array ? value : (value as { bytes?: unknown } | null | undefined)?.bytes;
  return bytes instanceof Uint8Array ? bytes : undefined;
}

/** Opens {@link parquetImages}: footers and labels are read. */
export async function openParquetImages(path: string | readonly string[], options: ParquetImagesOptions = {}): Promise<EncodedImages> {
  const { image, label, split, cacheBytes, onInvalid } = parseOptions(parquetOptions, options, 'parquetImages');
  const paths = typeof path === 'string' ? await parquetFiles(path, split) : path;
  const name = typeof path === 'string' ? basename(path) : basename(paths[0] ?? 'no files');
  if (paths.length === 0) throw new FileError('E_IMAGE_NONE', 'parquetImages: expected files, got none', { help: 'give at least one' });
  const files: ParquetFile[] = [];
  for (const file of paths) files.push(await openParquetFile(file));
  const imageColumns = files.map((file) => chooseColumn(file, 'image', image)!.name);
  const labelColumns = files.map((file) => (label === false ? undefined : chooseColumn(file, 'label', label)));

  const total = files.reduce((sum, { rows }) => sum + rows, 0);
  const read = await readLabels(files, labelColumns, total, onInvalid);
  const { kept } = read;
  const labels = kept && read.labels ? kept.map((row) => read.labels![row]!) : read.labels;

  const starts = files.map((_, k) => files.slice(0, k).reduce((sum, { rows }) => sum + rows, 0));
  const place = (index: number) => {
    const row = kept?.[index] ?? index;
    let at = starts.length - 1;
    while (starts[at]! > row) at--;
    return { at, row: row - starts[at]! };
  };
  const cache = new RowGroupCache(cacheBytes);
  return {
    name,
    size: kept?.length ?? total,
    classes: read.classes,
    labels,
    classNames: read.classNames,
    ...(onInvalid === 'skip' && { skipped: total - (kept?.length ?? total) }),
    entryName(index) {
      const { at, row } = place(index);
      return files.length === 1 && typeof path === 'string' && path === files[0]!.path
        ? `row ${row}`
        : `${basename(files[at]!.path)} row ${row}`;
    },
    async location(index) {
      const { at, row } = place(index);
      const { groups } = files[at]!;
      const group = findGroup(groups, row);
      const images = await cache.get(`${at} ${group}`, async (): Promise<GroupImages> => {
        const { first, rows } = groups[group]!;
        return (await files[at]!.read(imageColumns[at]!, first, rows)).map(imageBytes);
      });
      // No bytes at all are refused by the decoder, with the name of the row.
      return { bytes: images[row - groups[group]!.first] ?? new Uint8Array(0) };
    },
    async close() {
      cache.clear();
    },
  };
}

function findGroup(groups: readonly { first: number }[], row: number): number {
  let [low, high] = [0, groups.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (groups[middle]!.first <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

interface Labels {
  labels: Uint32Array | undefined;
  classes: number;
  classNames: readonly string[] | undefined;
  /** Rows with a label, where some have none. */
  kept: Uint32Array | undefined;
}

/** All labels. A set whose every label is absent or -1 has none. */
async function readLabels(
  files: readonly ParquetFile[],
  columns: readonly (ParquetColumn | undefined)[],
  total: number,
  onInvalid: OnInvalid,
): Promise<Labels> {
  const none: Labels = { labels: undefined, classes: 0, classNames: undefined, kept: undefined };
  if (columns.every((column) => column === undefined)) return none;
  const values: unknown[] = new Array<unknown>(total);
  let filled = 0;
  for (const [k, file] of files.entries())
    for (const { first, rows } of file.groups) {
      const column = columns[k];
      const part = column ? await file.read(column.name, first, rows) : new Array<unknown>(rows).fill(null);
      for (const value of part) values[filled++] = typeof value === 'bigint' ? Number(value) : value;
    }
  const absent = (value: unknown) => value === null || value === undefined || value === -1;
  if (values.every(absent)) return none;

  // Texts are classes by themselves, in the order of the alphabet.
  const texts = values.some((value) => typeof value === 'string');
  const classNames = texts
    ? [...new Set(values.filter((value): value is string => typeof value === 'string'))].sort()
    : columns.find((column) => column?.classNames)?.classNames;
  const byText = new Map(classNames?.map((text, index) => [text, index]));
  const labels = new Uint32Array(total);
  const valid: number[] = [];
  const limit = classNames?.length ?? 2 ** 31;
  let largest = -1;
  for (let row = 0; row < total; row++) {
    const value = values[row];
    const found = typeof value === 'string' ? byText.get(value) : value;
    if (typeof found === 'number' && Number.isInteger(found) && found >= 0 && found < limit) {
      labels[row] = found;
      largest = Math.max(largest, found);
      valid.push(row);
    } else if (onInvalid === 'stop') {
      let [at, within] = [0, row];
      while (within >= files[at]!.rows) within -= files[at++]!.rows;
      throw new FileError(
        'E_IMAGE_LABEL',
        `${files[at]!.path}: row ${within}: expected a label${classNames ? ` below ${limit}` : ''}, found ${absent(value) && value !== -1 ? 'none' : String(value)}`,
        { help: 'leave such rows out with onInvalid: skip, or all labels with label: false (--no-labels)' },
      );
    }
  }
  return {
    labels,
    classes: classNames?.length ?? largest + 1,
    classNames,
    kept: valid.length === total ? undefined : Uint32Array.from(valid),
  };
}
