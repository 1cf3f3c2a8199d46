/**
 * Bytes at random access: read at once while a file is being opened, and later, piece by piece, when a tensor is asked for.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { FileError } from '../errors.js';
import { toFileError, withFileErrors } from '../files.js';

/** A file, a buffer, or a part of one. Offsets are from its own start. */
export interface ByteSource {
  /** For messages: the path of the file, or what stands for it. */
  readonly name: string;
  readonly size: number;
  /** Fills `into` from `position`, only while the source is being opened. The range must lie inside the source. */
  readSync(into: Uint8Array, position: number): void;
  /**
   * A copy of `[begin, end)`, at any time; it begins at a multiple of eight bytes in memory. `what` is named in errors.
   * Throws {@link FileError} `E_FILE_CHANGED` where the file is no longer the one that was opened.
   */
  read(begin: number, end: number, what: string): Promise<Uint8Array>;
  /** Where `position` lies in the file itself. */
  locate(position: number): number;
}

/** One system call reads at most 2^31 - 1 bytes. */
const READ_BYTES = 2 ** 30;

export const truncated = (file: string, end: number, size: number, what = 'it') =>
  new FileError('E_FILE_TRUNCATED', `${file}: expected ${end} bytes or more for ${what}, found ${size}`, {
    help: 'the file ends early; download or write it again',
  });

/** Bytes in memory. */
export class BufferSource implements ByteSource {
  constructor(
    private readonly bytes: Uint8Array,
    readonly name = 'buffer',
  ) {}

  get size(): number {
    return this.bytes.byteLength;
  }

  readSync(into: Uint8Array, position: number): void {
    into.set(this.bytes.subarray(position, position + into.byteLength));
  }

  async read(begin: number, end: number): Promise<Uint8Array> {
    return new Uint8Array(this.bytes.subarray(begin, end));
  }

  locate(position: number): number {
    return position;
  }
}

interface FileIdentity {
  dev: number;
  ino: number;
  size: number;
  mtimeMs: number;
}

const identityOf = ({ dev, ino, size, mtimeMs }: FileIdentity) => `${dev} ${ino} ${size} ${mtimeMs}`;

/** A regular file; {@link FileSource.close} when it has been opened, `read` goes on and makes sure that it is still the same. */
export class FileSource implements ByteSource {
  readonly size: number;
  readonly #identity: string;
  #descriptor: number | undefined;

  /** Throws {@link FileError} `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`. */
  constructor(readonly name: string) {
    try {
      // Asked before it is opened: opening a pipe waits for whoever writes to it.
      const kind = statSync(name);
      if (!kind.isFile())
        throw new FileError(
          'E_FILE_NOT_READABLE',
          `cannot read ${name}: expected a file, found a ${kind.isDirectory() ? 'directory' : 'device'}`,
          {
            help: 'give the path of a file',
          },
        );
      this.#descriptor = openSync(name, 'r');
      const stat = fstatSync(this.#descriptor);
      this.size = stat.size;
      this.#identity = identityOf(stat);
    } catch (error) {
      this.close();
      throw toFileError(error, name, 'read');
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  readSync(into: Uint8Array, position: number): void {
    if (this.#descriptor === undefined) throw new FileError('E_FILE_IO', `${this.name}: is closed`);
    for (let at = 0; at < into.byteLength;) {
      let count: number;
      try {
        count = readSync(this.#descriptor, into, at, Math.min(READ_BYTES, into.byteLength - at), position + at);
      } catch (error) {
        throw toFileError(error, this.name, 'read');
      }
      if (count === 0) throw truncated(this.name, position + into.byteLength, position + at);
      at += count;
    }
  }

  read(begin: number, end: number, what: string): Promise<Uint8Array> {
    return withFileErrors(this.name, 'read', async () => {
      const handle = await open(this.name, 'r');
      try {
        if (identityOf(await handle.stat()) !== this.#identity)
          throw new FileError('E_FILE_CHANGED', `${this.name}: was written to between opening it and reading ${what}`, {
            help: 'open the file again',
          });
        const bytes = new Uint8Array(end - begin);
        for (let at = 0; at < bytes.byteLength;) {
          const { bytesRead } = await handle.read(bytes, at, Math.min(READ_BYTES, bytes.byteLength - at), begin + at);
          if (bytesRead === 0) throw truncated(this.name, end, begin + at, what);
          at += bytesRead;
        }
        return bytes;
      } finally {
        await handle.close();
      }
    });
  }

  locate(position: number): number {
    return position;
  }
}

/** The part `[begin, end)` of a source, as a source of its own. */
export class SourceSlice implements ByteSource {
  readonly size: number;

  constructor(
    private readonly whole: ByteSource,
    private readonly begin: number,
    end: number,
    readonly name = whole.name,
  ) {
    if (!(begin >= 0 && begin <= end && end <= whole.size)) throw truncated(whole.name, end, whole.size);
    this.size = end - begin;
  }

  readSync(into: Uint8Array, position: number): void {
    this.whole.readSync(into, this.begin + position);
  }

  read(begin: number, end: number, what: string): Promise<Uint8Array> {
    return this.whole.read(this.begin + begin, this.begin + end, what);
  }

  locate(position: number): number {
    return this.whole.locate(this.begin + position);
  }
}
