/**
 * Sources of image files: EDM's zips and folders, and trees with a folder for each class.
 */
import { z } from 'zod';
import type { DataSource } from '../core/contracts/data.js';
import { parseOptions } from '../core/options.js';
import { classFolderImages } from './class-folders.js';
import { edmFolderImages, edmZipImages } from './edm/edm-images.js';
import type { EncodedImages, OnInvalid } from './encoded/encoded-images.js';
import { describedSource, encodedSourceOptions, type EncodedSourceOptions } from './encoded/encoded-source.js';

const edmOptions = encodedSourceOptions.extend({
  /** Whether `dataset.json` is read; false: `classes` is 0. */
  labels: z.boolean().default(true),
});

/**
 * Options of `edmZip` and `edmFolder`.
 *
 * @interface
 */
export type EdmOptions = z.input<typeof edmOptions>;

/**
 * A data set in EDM's format: a zip, stored or deflated, of PNG images (JPEG and WebP with the package sharp) and their labels in
 * `dataset.json`, `{"labels": [["00000/img00000000.png", 6], …]}`, null or none.
 *
 * Images are in the order of their names, whatever the order in the zip, as in EDM. Over a million entries open in a second: names stay
 * bytes until one is asked for. Nothing is extracted.
 *
 * ```ts
 * const data = edmZip('cifar10-32x32.zip');
 * ```
 *
 * @returns a source that rejects with FileError as `encodedSource`, and `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`, `E_FILE_FORMAT` for a
 * zip or a `dataset.json` that is damaged.
 * @throws ConfigError for wrong or unknown options.
 */
export function edmZip(path: string, options: EdmOptions = {}): DataSource {
  return edmSource('edmZip', path, edmZipImages, options);
}

/** A data set in EDM's format that is not zipped: as {@link edmZip}, with the images in a folder and in folders in it. */
export function edmFolder(path: string, options: EdmOptions = {}): DataSource {
  return edmSource('edmFolder', path, edmFolderImages, options);
}

/**
 * A tree of PNG, JPEG and WebP files with a folder for each class: `cats/1.png`, `dogs/old/7.jpg`.
 *
 * The folders, sorted by name, are the classes; images are in the order of their paths, as in torchvision's `ImageFolder`.
 *
 * @returns a source that rejects with FileError as `encodedSource`; `E_IMAGE_LABEL` for an image outside of the class folders.
 * @throws ConfigError for wrong or unknown options.
 */
export function imageFolder(path: string, options: EncodedSourceOptions = {}): DataSource {
  const parsed = parseOptions(encodedSourceOptions, options, 'imageFolder');
  return describedSource('imageFolder', { path, ...parsed }, (onInvalid) => classFolderImages(path, onInvalid), parsed);
}

type OpenImages = (path: string, onInvalid: OnInvalid, labels: boolean) => Promise<EncodedImages>;

function edmSource(part: string, path: string, open: OpenImages, options: EdmOptions): DataSource {
  const { labels, ...parsed } = parseOptions(edmOptions, options, part);
  return describedSource(part, { path, labels, ...parsed }, (onInvalid) => open(path, onInvalid, labels), parsed);
}
