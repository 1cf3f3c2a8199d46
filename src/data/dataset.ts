/**
 * One door to every kind of data set: which it is is decided by what is in it.
 */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import type { DataDescription, DataSource, ImageBatch } from '../core/contracts/data.js';
import { ConfigError } from '../core/errors.js';
import { parseOptions } from '../core/options.js';
import { classFolderImages } from './class-folders.js';
import { DATASET_FORMATS, detectFormat, type DatasetFormat } from './detect-format.js';
import { edmFolderImages, edmZipImages } from './edm/edm-images.js';
import { workersOption } from './encoded/decode-pool.js';
import type { OnInvalid } from './encoded/encoded-images.js';
import { edmFolder, edmZip, imageFolder } from './image-sources.js';
import { decodedImages, type OpenedImages } from './opened-images.js';
import { openParquetImages, parquetImages } from './parquet/parquet-images.js';
import { cifar10, openCifar10 } from './raw/cifar10.js';
import { npzImages, openNpzImages } from './raw/npz-images.js';

const datasetOptions = z.strictObject({
  /** Undefined: decided by content. */
  format: z.enum(DATASET_FORMATS).optional(),
  /** Of CIFAR-10 (`train`, `test`, `all`) and folders of Parquet files; undefined: `train`, or the only one. */
  split: z.string().min(1).optional(),
  /** The column of Parquet files, or the array of a `.npz`, that holds the images; undefined: found by its kind or name. */
  images: z.string().min(1).optional(),
  /** Whether the set's labels are read, or the column or array that holds them; false: `classes` is 0. */
  labels: z.union([z.boolean(), z.string().min(1)]).default(true),
  /** Threads that decode; by default one for each core, 8 at most. */
  workers: workersOption,
  /** What becomes of images that cannot be used: an error that names the first, or they are left out and counted. */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
});

/** Options of `dataset`. @interface */
export type DatasetOptions = z.input<typeof datasetOptions>;

interface Choice {
  split?: string | undefined;
  images?: string | undefined;
  labels: boolean | string;
  workers: number;
  onInvalid: OnInvalid;
}

interface Format {
  /** Which of the options that not every format has it takes. */
  takes: readonly ('split' | 'columns')[];
  source(path: string, choice: Choice): DataSource;
  images(path: string, choice: Choice): Promise<OpenedImages>;
}

const edm = ({ workers, onInvalid, labels }: Choice) => ({ workers, onInvalid, labels: labels !== false });
const cifar = ({ split, onInvalid, labels }: Choice) =>
  defined({ split: split as 'train' | undefined, onInvalid, labels: labels !== false });
const npz = ({ images, labels, onInvalid }: Choice) => defined({ images, labels: labels === true ? undefined : labels, onInvalid });
const parquet = ({ split, images, labels, onInvalid }: Choice) =>
  defined({ split, image: images, label: labels === true ? undefined : labels, onInvalid });

/** Without what is undefined. */
const defined = <T extends object>(values: T) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };

/** How each format is read: as a source of batches, and image by image. */
const FORMATS: Readonly<Record<DatasetFormat, Format>> = {
  'edm-zip': {
    takes: [],
    source: (path, choice) => edmZip(path, edm(choice)),
    images: async (path, { workers, onInvalid, labels }) =>
      decodedImages(await edmZipImages(path, onInvalid, labels !== false), 'EDM zip', workers),
  },
  'edm-folder': {
    takes: [],
    source: (path, choice) => edmFolder(path, edm(choice)),
    images: async (path, { workers, onInvalid, labels }) =>
      decodedImages(await edmFolderImages(path, onInvalid, labels !== false), 'folder of images', workers),
  },
  'image-folder': {
    takes: [],
    // Without labels its folders are no classes.
    source: (path, choice) =>
      choice.labels === false ? edmFolder(path, edm(choice)) : imageFolder(path, { workers: choice.workers, onInvalid: choice.onInvalid }),
    images: async (path, { workers, onInvalid, labels }) =>
      labels === false
        ? decodedImages(await edmFolderImages(path, onInvalid, false), 'folder of images', workers)
        : decodedImages(await classFolderImages(path, onInvalid), 'folder for each class', workers),
  },
  cifar10: {
    takes: ['split'],
    source: (path, choice) => cifar10(path, cifar(choice)),
    images: (path, choice) => openCifar10(path, cifar(choice)),
  },
  npz: {
    takes: ['columns'],
    source: (path, choice) => npzImages(path, npz(choice)),
    images: (path, choice) => openNpzImages(path, npz(choice)),
  },
  parquet: {
    takes: ['split', 'columns'],
    source: (path, choice) => parquetImages(path, { ...parquet(choice), workers: choice.workers }),
    images: async (path, choice) => decodedImages(await openParquetImages(path, parquet(choice)), 'Parquet', choice.workers),
  },
};

async function choose(path: string, { format, split, images, labels }: z.output<typeof datasetOptions>): Promise<Format> {
  const found = format ?? (await detectFormat(path));
  const { takes } = FORMATS[found];
  const oneFile = found === 'parquet' && (await stat(path).catch(() => undefined))?.isFile() === true;
  const where = `${basename(path)} (${found})`;
  const problems: string[] = [];
  if (split !== undefined && (!takes.includes('split') || oneFile)) problems.push(`split: ${where} has no splits, got '${split}'`);
  for (const [option, name] of Object.entries({ images, labels }))
    if (typeof name === 'string' && !takes.includes('columns'))
      problems.push(`${option}: ${where} has no names to choose from, got '${name}'`);
  if (problems.length > 0) throw new ConfigError('dataset', problems, { help: `leave the option${problems.length > 1 ? 's' : ''} out` });
  return FORMATS[found];
}

/** Decides when it is opened. */
class DetectedSource implements DataSource {
  #source: Promise<DataSource> | undefined;
  readonly description: { part: string; options: unknown };

  constructor(
    private readonly path: string,
    private readonly options: z.output<typeof datasetOptions>,
  ) {
    this.description = { part: 'dataset', options: { path, ...options } };
  }

  #choose(): Promise<DataSource> {
    return (this.#source ??= choose(this.path, this.options).then((format) => format.source(this.path, this.options)));
  }

  async open(): Promise<DataDescription> {
    return (await this.#choose()).open();
  }

  async read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    return (await this.#choose()).read(indices, signal);
  }

  async close(): Promise<void> {
    const source = await this.#source?.catch(() => undefined);
    await source?.close();
  }
}

/**
 * The data set at `path`, whatever its kind: an EDM zip or folder, a folder for each class, CIFAR-10's archives, `.npz`, Parquet.
 *
 * What it is is found out by its content when it is opened. `open()` rejects with FileError: `E_FILE_ABSENT`; `E_DATA_FORMAT`, which
 * lists what was looked for; and as the source of that kind.
 *
 * ```ts
 * const data = dataset('cifar-10-python.tar.gz', { split: 'test' });
 * ```
 *
 * @throws ConfigError for wrong or unknown options.
 */
export function dataset(path: string, options: DatasetOptions = {}): DataSource {
  return new DetectedSource(path, parseOptions(datasetOptions, options, 'dataset'));
}

/** The images of the data set at `path` one by one, their sizes as they are; throws as {@link dataset}. */
export async function openImages(path: string, options: DatasetOptions = {}): Promise<OpenedImages> {
  const parsed = parseOptions(datasetOptions, options, 'dataset');
  return (await choose(path, parsed)).images(path, parsed);
}
