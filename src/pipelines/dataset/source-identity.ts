/**
 * What tells whether a source is still what it was: a data set is not made of the beginning of one and the end of another.
 */
import type { Hash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Files that are looked at together. */
const TOGETHER = 64;

/**
 * Adds the name, the size and the time of the last change of a file, or of every file of a folder tree but hidden ones, to a hash.
 *
 * @param leaveOut a file whose path begins so is passed over: what is being written may lie in the folder itself.
 */
export async function hashSource(hash: Hash, source: string, leaveOut: string): Promise<void> {
  const found = await stat(source);
  if (!found.isDirectory()) {
    hash.update(`${found.size} ${found.mtimeMs}\n`);
    return;
  }
  const names = (await readdir(source)).filter((name) => !name.startsWith('.') && !join(source, name).startsWith(leaveOut)).sort();
  const folders: string[] = [];
  for (let from = 0; from < names.length; from += TOGETHER) {
    const part = names.slice(from, from + TOGETHER);
    const stats = await Promise.all(part.map((name) => stat(join(source, name)).catch(() => undefined)));
    stats.forEach((file, k) => {
      if (file?.isDirectory()) folders.push(part[k]!);
      else if (file) hash.update(`${part[k]} ${file.size} ${file.mtimeMs}\n`);
    });
  }
  for (const folder of folders) {
    hash.update(`${folder}/\n`);
    await hashSource(hash, join(source, folder), leaveOut);
  }
}
