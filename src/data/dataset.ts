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
  /** Threads that decode; by default one for each core, 8 at most. */
  workers: workersOption,
  /** What becomes of images that cannot be used: an error that names the first, or they are left out and counted. */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
});

/** Options of `dataset`. @interface */
export type DatasetOptions = z.input<typeof datasetOptions>;

interface Choice {
  split?: string | undefined;
  workers: number;
  onInvalid: OnInvalid;
}

/** How each format is read: as a source of batches, and image by image. */
const FORMATS: Readonly<
  Record<
    DatasetFormat,
    { splits: boolean; source(path: string, choice: Choice): DataSource; images(path: string, choice: Choice): Promise<OpenedImages> }
  >
> = {
  'edm-zip': {
    splits: false,
    source: (path, { workers, onInvalid }) => edmZip(path, { workers, onInvalid }),
    images: async (path, { workers, onInvalid }) => decodedImages(await edmZipImages(path, onInvalid), 'EDM zip', workers),
  },
  'edm-folder': {
    splits: false,
    source: (path, { workers, onInvalid }) => edmFolder(path, { workers, onInvalid }),
    images: async (path, { workers, onInvalid }) => decodedImages(await edmFolderImages(path, onInvalid), 'folder of images', workers),
  },
  'image-folder': {
    splits: false,
    source: (path, { workers, onInvalid }) => imageFolder(path, { workers, onInvalid }),
    images: async (path, { workers, onInvalid }) =>
      decodedImages(await classFolderImages(path, onInvalid), 'folder for each class', workers),
  },
  cifar10: {
    splits: true,
    source: (path, { split, onInvalid }) => cifar10(path, { onInvalid, ...(split !== undefined && { split: split as 'train' }) }),
    images: (path, { split, onInvalid }) => openCifar10(path, { onInvalid, ...(split !== undefined && { split: split as 'train' }) }),
  },
  npz: {
    splits: false,
    source: (path, { onInvalid }) => npzImages(path, { onInvalid }),
    images: (path, { onInvalid }) => openNpzImages(path, { onInvalid }),
  },
  parquet: {
    splits: true,
    source: (path, { split, workers, onInvalid }) => parquetImages(path, { workers, onInvalid, ...(split !== undefined && { split }) }),
    images: async (path, { split, workers, onInvalid }) =>
      decodedImages(await openParquetImages(path, { onInvalid, ...(split !== undefined && { split }) }), 'Parquet', workers),
  },
};

async function choose(path: string, { format, split }: z.output<typeof datasetOptions>) {
  const found = format ?? (await detectFormat(path));
  if (
    split !== undefined &&
    (!FORMATS[found].splits || ((await stat(path).catch(() => undefined))?.isFile() === true && found === 'parquet'))
  )
    throw new ConfigError('dataset', [`split: ${basename(path)} (${found}) has no splits, got '${split}'`], {
      help: 'leave the option out',
    });
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
