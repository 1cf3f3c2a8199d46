/**
 * EDM's data sets: a zip or a folder of images with their labels in `dataset.json`.
 */
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { FileError } from '../../core/errors.js';
import type { EncodedImages, FileRange, ImageLocation, OnInvalid } from '../encoded/encoded-images.js';
import { isImageRecord, listImages } from '../encoded/image-files.js';
import { ImageProblem } from '../encoded/image-problem.js';
import { NameRecords } from '../encoded/name-records.js';
import { readParts } from '../encoded/read-location.js';
import { openZip, type ZipIndex } from '../encoded/zip-index.js';
import { matchLabels, NO_LABEL } from './match-labels.js';

const LABELS = 'dataset.json';

/**
 * The images of an EDM zip, in the order of their names.
 *
 * Rejects with FileError: as `openZip`; `E_FILE_FORMAT` for a `dataset.json` that cannot be read and, with `stop`, for an entry that
 * is encrypted, compressed by an unknown method or outside the file; `E_IMAGE_LABEL` for an image without a label where others have one.
 * Without `labels` `dataset.json` is not read.
 */
export async function edmZipImages(path: string, onInvalid: OnInvalid, labels = true): Promise<EncodedImages> {
  const zip = await openZip(resolve(path));
  const { entries, unreadable } = imageEntries(zip);
  if (unreadable.length > 0 && onInvalid === 'stop') zip.location(unreadable.reduce((a, b) => Math.min(a, b))); // throws, saying why
  const labelsAt = labels ? labelFileOf(zip) : -1;
  return labelled(
    {
      name: basename(path),
      names: zip.names.subset(entries),
      entryName: (index) => zip.name(entries[index]!),
      location: (index) => zip.location(entries[index]!),
    },
    labelsAt === -1 ? undefined : zip.location(labelsAt),
    onInvalid,
    unreadable.length,
  );
}

/** The indices of a zip's images in the order of their names, and of those that cannot be located. */
function imageEntries(zip: ZipIndex): { entries: Uint32Array; unreadable: number[] } {
  const isImage = new Uint8Array(zip.size);
  const unreadable: number[] = [];
  let count = 0;
  for (const index of zip.names.byPlace()) {
    if (!isImageRecord(zip.names, index)) continue;
    if (!zip.isReadable(index)) unreadable.push(index);
    else count += isImage[index] = 1;
  }
  const entries = new Uint32Array(count);
  for (let index = 0, at = 0; index < zip.size; index++) if (isImage[index] === 1) entries[at++] = index;
  return { entries, unreadable };
}

/** The entry `dataset.json`, or -1; throws where the whole set lies in a folder, in which EDM does not look for it. */
function labelFileOf(zip: ZipIndex): number {
  const found = zip.find(LABELS);
  if (found !== -1 || zip.size === 0) return found;
  const folder = `${zip.name(0).split('/')[0]!}/`;
  // Names are sorted: what begins the first and the last begins all.
  if (zip.find(folder + LABELS) === -1 || !zip.name(zip.size - 1).startsWith(folder)) return -1;
  throw new FileError('E_FILE_FORMAT', `${zip.path}: expected ${LABELS} beside the folders of images, found ${folder}${LABELS}`, {
    help: `zip what is in ${folder} without the folder itself; labels: false (--no-labels) does without`,
  });
}

/**
 * The images of an EDM folder and of the folders in it, in the order of their paths.
 *
 * Rejects with FileError: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`; `E_FILE_FORMAT` and `E_IMAGE_LABEL` as {@link edmZipImages}.
 */
export async function edmFolderImages(path: string, onInvalid: OnInvalid, wantsLabels = true): Promise<EncodedImages> {
  const root = resolve(path);
  const { images } = await listImages(root);
  const labelPath = join(root, LABELS);
  const file = await stat(labelPath).catch(() => undefined);
  const labels: FileRange | undefined =
    wantsLabels && file?.isFile() ? { path: labelPath, offset: 0, length: file.size, size: file.size, compression: 'none' } : undefined;
  const set = {
    name: basename(root),
    names: NameRecords.of(images),
    entryName: (index: number) => images[index]!,
    location: (index: number) => ({ path: join(root, images[index]!) }),
  };
  return labelled(set, labels, onInvalid, 0);
}

interface NamedImages {
  name: string;
  names: NameRecords;
  entryName(index: number): string;
  location(index: number): ImageLocation;
}

/** Images with their labels; those that lack one are left out, or an error. */
function labelled(images: NamedImages, labelFile: FileRange | undefined, onInvalid: OnInvalid, skippedBefore: number): EncodedImages {
  const labels = labelFile && readAll(images, labelFile, onInvalid);
  const base = { name: images.name, close: () => Promise.resolve() };
  if (labels === undefined)
    return { ...base, size: images.names.size, classes: 0, skipped: skippedBefore, entryName: images.entryName, location: images.location };

  const missing = labels.reduce((count, label) => count + (label === NO_LABEL ? 1 : 0), 0);
  if (missing > 0 && onInvalid === 'stop') {
    const first = images.entryName(labels.indexOf(NO_LABEL));
    const others = missing > 1 ? `, as ${missing - 1} more` : '';
    throw new FileError('E_IMAGE_LABEL', `${images.name}: ${first}: expected a label in ${LABELS}, found none${others}`, {
      help: `add it to ${LABELS}, leave such images out with onInvalid: skip, or all labels with labels: false`,
    });
  }
  const kept = missing === 0 ? undefined : Uint32Array.from(labels.keys()).filter((index) => labels[index] !== NO_LABEL);
  const place = (index: number) => (kept === undefined ? index : kept[index]!);
  const keptLabels = kept === undefined ? labels : kept.map((index) => labels[index]!);
  return {
    ...base,
    size: keptLabels.length,
    classes: keptLabels.reduce((most, label) => Math.max(most, label + 1), 0),
    labels: keptLabels,
    skipped: skippedBefore + missing,
    entryName: (index) => images.entryName(place(index)),
    location: (index) => images.location(place(index)),
  };
}

function readAll(images: NamedImages, labelFile: FileRange, onInvalid: OnInvalid): Uint32Array | undefined {
  const where = `${images.name}: ${LABELS}`;
  try {
    return matchLabels(images.names, readParts(labelFile), where, onInvalid);
  } catch (error) {
    if (!(error instanceof ImageProblem)) throw error;
    throw new FileError('E_FILE_FORMAT', `${where}: ${error.problem}`, { help: 'the file is damaged; copy or download it again' });
  }
}
