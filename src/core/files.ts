/**
 * Files that are either whole or absent: everything is written under a temporary name in the same directory,
 * flushed to the disk and renamed, so a crash never leaves half a file that looks whole.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError } from './errors.js';

/** What a file is written from; an iterable is written chunk by chunk, for data larger than memory. */
export type FileContent = Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

const WRITE_FAILURES: Record<string, [code: string, help: string]> = {
  ENOSPC: ['E_FILE_NO_SPACE', 'free some space on that disk, or write to another one'],
  EDQUOT: ['E_FILE_NO_SPACE', 'your disk quota is used up: free some space, or write to another disk'],
  EFBIG: ['E_FILE_TOO_LARGE', 'that file system does not hold files of this size; write to another one'],
  EACCES: ['E_FILE_NOT_WRITABLE', 'give this user the right to write there, or choose another directory'],
  EPERM: ['E_FILE_NOT_WRITABLE', 'give this user the right to write there, or choose another directory'],
  EROFS: ['E_FILE_NOT_WRITABLE', 'that file system is mounted read-only; choose another directory'],
  ENOTDIR: ['E_FILE_NOT_WRITABLE', 'a part of that path is a file, not a directory; choose another path'],
  EEXIST: ['E_FILE_NOT_WRITABLE', 'a file of that name is in the way; choose another path'],
  EISDIR: ['E_FILE_NOT_WRITABLE', 'a directory of that name is in the way; choose another path'],
  ENOTEMPTY: ['E_FILE_NOT_WRITABLE', 'a directory of that name is in the way; choose another path'],
  ENOENT: ['E_FILE_NO_DIRECTORY', 'create the directory first, or choose another path'],
  ENAMETOOLONG: ['E_FILE_NOT_WRITABLE', 'choose a shorter path'],
};

const READ_FAILURES: Record<string, [code: string, help: string]> = {
  ENOENT: ['E_FILE_ABSENT', 'check the path; a relative one starts at the current directory'],
  ENOTDIR: ['E_FILE_ABSENT', 'a part of that path is a file, not a directory; check the path'],
  EACCES: ['E_FILE_NOT_READABLE', 'give this user the right to read it'],
  EPERM: ['E_FILE_NOT_READABLE', 'give this user the right to read it'],
  EISDIR: ['E_FILE_NOT_READABLE', 'that is a directory; give the path of a file'],
};

/**
 * Turns an error of the operating system into a {@link FileError} that names the path; gives other errors back unchanged.
 */
export function toFileError(error: unknown, path: string, action: 'read' | 'write'): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (!(error instanceof Error) || code === undefined || syscall === undefined) return error;
  const [ourCode, help] = (action === 'read' ? READ_FAILURES : WRITE_FAILURES)[code] ?? [
    'E_FILE_IO',
    'the operating system refused; check the disk and the path',
  ];
  return new FileError(ourCode, `cannot ${action} ${path}: ${message}`, { help, cause: error });
}

/** Runs `io`; an error of the operating system becomes a {@link FileError} about `path`. */
export async function withFileErrors<T>(path: string, action: 'read' | 'write', io: () => Promise<T>): Promise<T> {
  try {
    return await io();
  } catch (error) {
    throw toFileError(error, path, action);
  }
}

/**
 * A text file in UTF-8 of at most `maxBytes`.
 *
 * Throws {@link FileError}: `E_FILE_ABSENT`; `E_FILE_NOT_READABLE` for pipes and devices, which may never end; `E_FILE_FORMAT` for a larger one.
 */
export function readTextFile(path: string, maxBytes: number): Promise<string> {
  return withFileErrors(path, 'read', async () => {
    const found = await stat(path);
    if (!found.isFile())
      throw new FileError(
        'E_FILE_NOT_READABLE',
        `${path}: expected a file, found a ${found.isDirectory() ? 'folder' : 'device or a pipe'}`,
        {
          help: 'give the path of a file',
        },
      );
    if (found.size > maxBytes)
      throw new FileError('E_FILE_FORMAT', `${path}: expected a text of at most ${maxBytes} bytes, found ${found.size}`, {
        help: 'this is another file than its name says; download it again',
      });
    return readFile(path, 'utf8');
  });
}

const TEMPORARY = /^\..+\.tmp-[0-9a-f]{16}$/;

/** True for the name of a file or directory that was being written; one that outlives its process is rubbish. */
export const isTemporaryName = (name: string): boolean => TEMPORARY.test(name);

const temporaryBeside = (path: string) => join(dirname(path), `.${basename(path)}.tmp-${randomBytes(8).toString('hex')}`);

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.byteLength;) at += (await handle.write(chunk, at, chunk.byteLength - at)).bytesWritten;
}

/** Flushes a directory's entries; file systems that cannot are left alone. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!['EINVAL', 'EISDIR', 'EPERM', 'EBADF', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await handle.close();
  }
}

async function syncTree(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) {
      const handle = await open(path, 'r');
      await handle.sync().finally(() => handle.close());
    }
  }
  await syncDirectory(directory);
}

/**
 * Writes a file so that at every moment `path` holds the former content or all of the new one.
 *
 * The directory must exist. Throws {@link FileError}: `E_FILE_NO_SPACE`, `E_FILE_NOT_WRITABLE`, `E_FILE_NO_DIRECTORY`,
 * `E_FILE_TOO_LARGE`, `E_FILE_IO`; an error of the iterable passes through. After an error nothing is left behind.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const target = resolve(path);
  const temporary = temporaryBeside(target);
  const io = <T>(action: () => Promise<T>) => withFileErrors(path, 'write', action);

  const handle = await io(() => open(temporary, 'wx'));
  try {
    try {
      if (typeof content === 'string') await io(() => writeAll(handle, Buffer.from(content)));
      else if (content instanceof Uint8Array) await io(() => writeAll(handle, content));
      else for await (const chunk of content) await io(() => writeAll(handle, chunk));
      await io(() => handle.sync());
    } finally {
      await io(() => handle.close());
    }
    await io(() => rename(temporary, target));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await io(() => syncDirectory(dirname(target)));
}

/**
 * Fills a directory under a temporary name, flushes every file of it and renames it to `path`.
 *
 * A former directory of that name is moved aside first and removed last; if the rename fails it comes back.
 * Throws as {@link writeFileAtomic}; an error of `fill` passes through, except that errors of the operating system become {@link FileError}.
 */
export async function writeDirectoryAtomic(path: string, fill: (temporaryDirectory: string) => Promise<void>): Promise<void> {
  const target = resolve(path);
  const temporary = temporaryBeside(target);
  await withFileErrors(path, 'write', async () => {
    await mkdir(temporary);
    try {
      await fill(temporary);
      await syncTree(temporary);
      const exists = await stat(target).then(
        () => true,
        () => false,
      );
      if (!exists) await rename(temporary, target);
      else await replaceDirectory(temporary, target);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      throw error;
    }
    await syncDirectory(dirname(target));
  });
}

async function replaceDirectory(temporary: string, target: string): Promise<void> {
  const aside = temporaryBeside(target);
  await rename(target, aside);
  try {
    await rename(temporary, target);
  } catch (error) {
    await rename(aside, target);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

/** Removes a directory so that at no moment a part of it is left under its name. An absent one is no error. */
export async function removeDirectoryAtomic(path: string): Promise<void> {
  const target = resolve(path);
  const aside = temporaryBeside(target);
  await withFileErrors(path, 'write', async () => {
    try {
      await rename(target, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(aside, { recursive: true, force: true });
  });
}
