/**
 * What lies at a path, by its first bytes: endings are not believed.
 */
import { open, readdir, stat } from 'node:fs/promises';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';

/** The container that a path holds; `folder` for a directory. */
export type Container = 'safetensors' | 'safetensors index' | 'zip' | 'pickle' | 'folder';

/** A path that was looked at. */
export interface Probe {
  readonly path: string;
  readonly container: Container;
  /** Names in the folder; empty for a file. */
  readonly names: readonly string[];
}

const HEAD_BYTES = 512;

const foreign = (path: string, found: string, help: string) =>
  new FileError('E_FILE_FORMAT', `${path}: expected weights (safetensors, a pickle or PyTorch's container), found ${found}`, { help });

/** The last byte of a pickle. */
const STOP = 0x2e;

function containerOf(head: Uint8Array, last: number, path: string): Container {
  const text = Buffer.from(head).toString('latin1');
  if (text.startsWith('PK\x03\x04')) return 'zip';
  // A header of at most 100 MB: the upper half of its length is zero, and JSON follows.
  if (head.length > 8 && head.subarray(4, 8).every((byte) => byte === 0) && head[8] === 0x7b) return 'safetensors';
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) return 'pickle';
  if (/^version https:\/\/git-lfs\.github\.com\/spec\//.test(text))
    throw foreign(
      path,
      'a pointer of Git LFS, not the file it stands for',
      'fetch the file itself: git lfs pull, or download it from the page of the repository',
    );
  if (/^(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)/i.test(text))
    throw foreign(
      path,
      'a page of HTML',
      'the address gave a page instead of the file: download the file itself (its link often ends in /resolve/… or ?download=true)',
    );
  if (/^\s*\{/.test(text) && !head.includes(0)) return 'safetensors index';
  if (head.every((byte) => byte === 0)) throw foreign(path, 'zeros', 'the file was not written to its end; download or copy it again');
  // Before protocol 2 a pickle has no mark at its beginning.
  if (last === STOP) return 'pickle';
  const shown = [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  throw foreign(
    path,
    `the bytes ${shown}`,
    'what can be read: safetensors, EDM snapshots (.pkl), PyTorch state dicts (.pth, .pt, .bin) and diffusers folders; see docs/guides/teachers.md',
  );
}

/**
 * Looks at `path` without opening it as anything.
 *
 * Throws {@link FileError}: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`, `E_FILE_TRUNCATED` for an empty file, `E_FILE_FORMAT` for what holds no
 * weights: HTML pages, pointers of Git LFS and the rest.
 */
export async function probe(path: string): Promise<Probe> {
  return withFileErrors(path, 'read', async () => {
    const found = await stat(path);
    if (found.isDirectory()) return { path, container: 'folder', names: (await readdir(path)).sort() };
    if (!found.isFile())
      throw new FileError('E_FILE_NOT_READABLE', `${path}: expected a file or a folder, found a device or a pipe`, {
        help: 'save it as a file first',
      });
    if (found.size === 0)
      throw new FileError('E_FILE_TRUNCATED', `${path}: expected weights, found an empty file`, { help: 'download or copy it again' });
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
      const end = await handle.read(new Uint8Array(1), 0, 1, found.size - 1);
      return { path, container: containerOf(buffer.subarray(0, bytesRead), end.buffer[0]!, path), names: [] };
    } finally {
      await handle.close();
    }
  });
}

/** Refuses a container that a loader does not read; `help` names the loader that does. */
export function expectContainer(found: Probe, containers: readonly Container[], expected: string): void {
  if (containers.includes(found.container)) return;
  throw new FileError(
    'E_FILE_FORMAT',
    `${found.path}: expected ${expected}, found ${found.container === 'folder' ? 'a folder' : `the container ${found.container}`}`,
    {
      help: 'teacher(path) finds out what a path holds by itself',
    },
  );
}
