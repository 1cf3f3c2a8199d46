/**
 * Which files are images, and the files of a folder tree.
 */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';

/** Whether a file is an image of ours by its name, in any case; hidden files, as some systems put beside others, are none. */
export const isImageName = (name: string): boolean => /\.(png|jpe?g|webp)$/i.test(name) && !/(^|\/)\.[^/]*$/.test(name);

/** {@link isImageName} of a name in UTF-8, which most often need not be decoded. */
export function isImageNameBytes(name: Uint8Array): boolean {
  const last = name[name.length - 1]! | 32;
  // g of png, jpg and jpeg; p of webp.
  if (last !== 0x67 && last !== 0x70) return false;
  return isImageName(Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1').replaceAll('\\', '/'));
}

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
