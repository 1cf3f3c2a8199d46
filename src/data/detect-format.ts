/**
 * What kind of data set a path holds, by its content.
 */
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError } from '../core/errors.js';
import { withFileErrors } from '../core/files.js';
import { isImageName } from './encoded/image-files.js';
import { openZip } from './encoded/zip-index.js';
import { looksLikeCifar10 } from './raw/cifar10.js';
import { tarEntries } from './raw/tar.js';

/** Formats of data sets. */
export const DATASET_FORMATS = ['edm-zip', 'edm-folder', 'image-folder', 'cifar10', 'npz', 'parquet'] as const;

/** One of {@link DATASET_FORMATS}. */
export type DatasetFormat = (typeof DATASET_FORMATS)[number];

const LOOKED_FOR =
  'a zip of images (EDM), a folder of images with dataset.json (EDM) or with a folder for each class, CIFAR-10’s archives packed or unpacked, a NumPy archive (.npz), Parquet files';

const unknown = (path: string, found: string, help = 'check the path; onestep dataset --help names the formats') =>
  new FileError('E_DATA_FORMAT', `${path}: expected ${LOOKED_FOR}; found ${found}`, { help });

/** A tar archive has its mark here. */
const USTAR_AT = 257;

/** The format of a file or folder. Throws {@link FileError} `E_FILE_ABSENT`, `E_FILE_…`, `E_DATA_FORMAT` with all that was looked for. */
export async function detectFormat(path: string): Promise<DatasetFormat> {
  const found = await withFileErrors(path, 'read', () => stat(path));
  if (found.isDirectory()) return folderFormat(path);
  if (!found.isFile()) throw unknown(path, 'a device or a pipe');
  const head = await withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  });
  const starts = (text: string, at = 0) => head.toString('latin1', at, at + text.length) === text;
  if (head.length === 0) throw unknown(path, 'an empty file', 'copy or download it again');
  if (starts('PK')) return zipFormat(path);
  if (starts('PAR1')) return 'parquet';
  if (starts('\x1f\x8b') || starts('ustar', USTAR_AT)) return archiveFormat(path);
  if (starts('\x93NUMPY')) throw unknown(path, 'a single NumPy array (.npy)', 'write it with numpy.savez(path, images=images)');
  if (starts('\x89PNG') || starts('\xff\xd8\xff')) throw unknown(path, 'a single image', 'give the folder that it lies in');
  if (/\.zip$/i.test(path)) return 'edm-zip'; // with data in front, or damaged: opening it says so
  throw unknown(path, 'a file of another kind');
}

async function zipFormat(path: string): Promise<DatasetFormat> {
  const zip = await openZip(path);
  const names = new Set<string>();
  // Names are sorted: of a million all begin alike.
  for (let k = 0; k < Math.min(zip.size, 64); k++) names.add(zip.name(k)).add(zip.name(zip.size - 1 - k));
  const all = [...names];
  if (all.some(isImageName)) return 'edm-zip';
  if (all.some((name) => name.endsWith('.npy'))) return 'npz';
  for (let k = 0; k < zip.size; k++) if (isImageName(zip.name(k))) return 'edm-zip';
  throw unknown(path, all.length === 0 ? 'an empty zip' : `a zip of ${all.slice(0, 3).join(', ')}${zip.size > 3 ? ', …' : ''}`);
}

async function archiveFormat(path: string): Promise<DatasetFormat> {
  const names: string[] = [];
  for await (const { name } of tarEntries(path)) {
    names.push(name);
    if (looksLikeCifar10([name])) return 'cifar10';
    if (names.length === 16) break;
  }
  throw unknown(path, `a tar archive of ${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`, 'unpack it and give the folder');
}

async function folderFormat(path: string): Promise<DatasetFormat> {
  const entries = (await withFileErrors(path, 'read', () => readdir(path, { withFileTypes: true }))).filter(
    ({ name }) => !name.startsWith('.'),
  );
  const names = entries.map(({ name }) => name);
  if (names.includes('dataset.json')) return 'edm-folder';
  if (looksLikeCifar10(names) || names.some((name) => /^cifar-10-batches-(bin|py)$/.test(name))) return 'cifar10';
  if (names.some((name) => name.endsWith('.parquet'))) return 'parquet';

  const folders: string[] = [];
  for (const { name } of entries) if ((await stat(join(path, name)).catch(() => undefined))?.isDirectory()) folders.push(name);
  if (folders.length === 0) {
    if (names.some(isImageName)) return 'edm-folder';
    throw unknown(
      path,
      names.length === 0 ? 'an empty folder' : `a folder of ${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`,
    );
  }
  // As EDM's tool writes a folder without labels: numbers, no classes.
  const edmFolders = folders.every((name) => /^\d{5}$/.test(name));
  for (const folder of folders) {
    const inside = await withFileErrors(path, 'read', () => readdir(join(path, folder), { recursive: true }));
    if (inside.some((name) => name.endsWith('.parquet'))) return 'parquet';
    if (!inside.some(isImageName)) continue;
    return edmFolders && inside.some((name) => /^img\d{8}\./.test(name)) ? 'edm-folder' : 'image-folder';
  }
  if (names.some(isImageName)) return 'edm-folder';
  throw unknown(path, `folders without images (${folders.slice(0, 3).join(', ')}${folders.length > 3 ? ', …' : ''})`);
}
