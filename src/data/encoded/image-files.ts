/**
 * Which files are images, and the files of a folder tree.
 */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import type { NameRecords } from './name-records.js';

/** Whether a file is an image of ours by its name, in any case; hidden files, as some systems put beside others, are none. */
export const isImageName = (name: string): boolean => /\.(png|jpe?g|webp)$/i.test(name) && !/(^|\/)\.[^/]*$/.test(name);

/** {@link isImageName} of the name of a record. */
export function isImageRecord(names: NameRecords, index: number): boolean {
  const { bytes } = names;
  const start = names.start(index);
  const end = start + names.length(index);
  // The usual name needs no text: lower case, nothing hidden. 0x2e is the dot.
  const dot = end - 4 >= start && bytes[end - 4] === 0x2e ? end - 4 : end - 5;
  if (dot < start || bytes[dot] !== 0x2e) return false;
  let base = dot;
  while (base > start && bytes[base - 1] !== SLASH && bytes[base - 1] !== BACKSLASH) base--;
  if (bytes[base] === 0x2e) return false;
  const isPng = bytes[dot + 1] === 0x70 && bytes[dot + 2] === 0x6e && bytes[dot + 3] === 0x67 && dot + 4 === end;
  return isPng || isImageName(names.name(index).replaceAll('\\', '/'));
}

const SLASH = 0x2f;
const BACKSLASH = 0x5c;

/** As Python sorts: by code points, so that indices are the same as in PyTorch's data sets. */
export function sortByCodePoint(names: string[]): string[] {
  names.sort();
  // JavaScript sorts by UTF-16 units, which is another order only where characters lie beyond 16 bits.
  return names.some((name) => /[\ud800-\udfff]/.test(name)) ? names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))) : names;
}

export interface Tree {
  /** Paths of the images below the folder, with `/`, sorted by code point. */
  images: string[];
  /** Names of the folders in the folder itself, sorted by code point; without hidden ones. */
  folders: string[];
}

/** The images of a folder and of the folders in it; links are followed, hidden files and folders are not. */
export async function listImages(root: string): Promise<Tree> {
  const images: string[] = [];
  const folders: string[] = [];
  const visit = async (below: string, above: readonly string[]): Promise<void> => {
    const path = join(root, below);
    const real = await realpath(path);
    // A link to a folder that it lies in.
    if (above.includes(real)) return;
    const inside: string[] = [];
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const name = below === '' ? entry.name : `${below}/${entry.name}`;
      const kind = entry.isSymbolicLink()
        ? await stat(join(root, name)).catch(() => undefined)
        : (entry as Pick<Dirent, 'isDirectory' | 'isFile'>);
      if (kind?.isDirectory()) inside.push(name);
      else if (kind?.isFile() && isImageName(entry.name)) images.push(name);
    }
    if (below === '') folders.push(...inside);
    for (const folder of inside) await visit(folder, [...above, real]);
  };
  await withFileErrors(root, 'read', async () => {
    if (!(await stat(root)).isDirectory())
      throw new FileError('E_FILE_NOT_READABLE', `${root}: expected a folder, found a file`, {
        help: `is ${basename(root)} another kind of data set?`,
      });
    await visit('', []);
  });
  return { images: sortByCodePoint(images), folders: sortByCodePoint(folders) };
}
