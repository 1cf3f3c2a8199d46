/**
 * Zip archives of any size (PKWARE's APPNOTE 6.3, sections 4.3 and 4.5.3): the central directory is kept as it is in the file, with one
 * number an entry beside it, so that a million entries take a hundred megabytes and a fraction of a second.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import type { FileRange } from './encoded-images.js';
import { LocationReader } from './read-location.js';
import { ImageProblem } from './image-problem.js';
import { NameRecords } from './name-records.js';
import { sortNames } from './sort-names.js';

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;

/** The fixed part of an entry in the directory; its name follows. */
const HEADER = 46;
/** One buffer holds the directory. */
const MAX_DIRECTORY = 2 ** 32 - 1;

const damaged = (path: string, problem: string) =>
  new FileError('E_FILE_FORMAT', `${path}: ${problem}`, { help: 'this is no whole zip archive; copy or download it again' });

/** An opened zip: its entries sorted by the bytes of their names, without folders; of equal names the last one. */
export interface ZipIndex {
  readonly path: string;
  /** Number of entries. */
  readonly size: number;
  /** The name of an entry, with `/` between folders. */
  name(index: number): string;
  /** The names as bytes; `\` stands where the archive has it. */
  readonly names: NameRecords;
  /** The entry of that name, or -1. */
  find(name: string): number;
  /** Whether an entry can be located: `location` does not throw. */
  isReadable(index: number): boolean;
  /** Where an entry's data lies. Throws FileError `E_FILE_FORMAT` for one that is encrypted or compressed otherwise than by deflate. */
  location(index: number): FileRange;
  /** Bytes of an entry after decompression, as the directory says. */
  entrySize(index: number): number;
  /** The whole of an entry, checked by its checksum; rejects with FileError, naming it. */
  read(index: number): Promise<Uint8Array>;
}

/**
 * Opens a zip: stored and deflated entries, zip64, data in front of the archive.
 *
 * The file is not kept open. Rejects with FileError: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`, `E_FILE_FORMAT` for what is damaged, cut
 * short or no zip.
 */
export async function openZip(path: string): Promise<ZipIndex> {
  return withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const found = await handle.stat();
      if (!found.isFile())
        throw new FileError('E_FILE_NOT_READABLE', `${path}: expected a zip file, found none`, { help: 'give the path of a file' });
      const place = await findDirectory(handle, path, found.size);
      const directory = await readExactly(handle, path, place.start, place.size);
      return new Index(path, directory, entriesOf(directory, path, place.count), place.shift, found.size);
    } finally {
      await handle.close();
    }
  });
}

async function readExactly(handle: FileHandle, path: string, start: number, length: number): Promise<Buffer> {
  // Of its own: a part of Node's pool would keep the pool.
  const buffer = Buffer.allocUnsafeSlow(length);
  for (let filled = 0; filled < length;) {
    const { bytesRead } = await handle.read(buffer, filled, Math.min(length - filled, 1 << 26), start + filled);
    if (bytesRead === 0) throw damaged(path, `expected ${length} bytes at byte ${start}, found ${filled}`);
    filled += bytesRead;
  }
  return buffer;
}

interface DirectoryPlace {
  /** Where it begins in the file. */
  start: number;
  size: number;
  /** Entries as the end record says; modulo 65,536 where it has only 16 bits for more. */
  count: number;
  /** Bytes in front of the archive: offsets do not count them. */
  shift: number;
}

/** Reads the end records, which tell where the directory is. */
async function findDirectory(handle: FileHandle, path: string, fileSize: number): Promise<DirectoryPlace> {
  // The end record is 22 bytes and a comment of at most 65,535; before it the locator and the end record of zip64.
  const length = Math.min(fileSize, 22 + 0xffff + 20 + 56);
  const tail = await readExactly(handle, path, fileSize - length, length);
  for (let at = length - 22; at >= Math.max(0, length - 22 - 0xffff); at--) {
    if (tail.readUInt32LE(at) !== END || at + 22 + tail.readUInt16LE(at + 20) > length) continue;
    let [count, size, offset] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
    let end = fileSize - length + at;
    if (at >= 20 && tail.readUInt32LE(at - 20) === LOCATOR64) {
      const end64 = await findEnd64(handle, path, end - 20, tail.subarray(at - 20, at));
      [count, size, offset, end] = [end64.count, end64.size, end64.offset, end64.at];
    } else if (tail.readUInt16LE(at + 4) !== 0 || tail.readUInt16LE(at + 6) !== 0) {
      throw damaged(path, 'expected a zip in one part, found one of several');
    }
    const shift = end - size - offset;
    if (shift < 0) throw damaged(path, `expected a directory of ${size} bytes at byte ${offset}, found its end at byte ${end}`);
    if (size > MAX_DIRECTORY) throw damaged(path, `expected a directory of at most ${MAX_DIRECTORY} bytes, found ${size}`);
    return { start: offset + shift, size, count, shift };
  }
  throw damaged(path, 'expected a zip archive, found no end record');
}

async function findEnd64(handle: FileHandle, path: string, locatorAt: number, locator: Buffer) {
  // Where data lies in front of the archive, the record is found right before its locator.
  const places = [Number(locator.readBigUInt64LE(8)), locatorAt - 56].filter((at) => at >= 0 && at + 56 <= locatorAt);
  for (const at of places) {
    const record = await readExactly(handle, path, at, 56);
    if (record.readUInt32LE(0) !== END64) continue;
    return {
      at,
      count: Number(record.readBigUInt64LE(32)),
      size: Number(record.readBigUInt64LE(40)),
      offset: Number(record.readBigUInt64LE(48)),
    };
  }
  throw damaged(path, 'expected the end record of zip64, found none');
}

/** The entries of the directory but folders, sorted by name. */
function entriesOf(directory: Buffer, path: string, expected: number): NameRecords {
  const most = Math.floor(directory.length / HEADER);
  // The end record may lie: what it says is no more than a guess.
  let entries = new Uint32Array(Math.min(expected, most));
  let count = 0;
  let all = 0;
  let at = 0;
  while (at < directory.length) {
    if (at + HEADER > directory.length || directory.readUInt32LE(at) !== CENTRAL)
      throw damaged(path, `entry ${all}: expected its header at byte ${at} of the directory, found something else`);
    const nameLength = directory.readUInt16LE(at + 28);
    const next = at + HEADER + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    if (next > directory.length) throw damaged(path, `entry ${all}: the directory ends in its header`);
    all++;
    if (nameLength > 0 && directory[at + HEADER + nameLength - 1] !== 0x2f) {
      if (count === entries.length) {
        const grown = new Uint32Array(Math.min(most, Math.max(1024, 2 * count)));
        grown.set(entries);
        entries = grown;
      }
      entries[count++] = at;
    }
    at = next;
  }
  if (all !== expected && all % 65_536 !== expected) throw damaged(path, `expected ${expected} entries in the directory, found ${all}`);
  return sortNames(new NameRecords(directory, entries.subarray(0, count), HEADER, 28));
}

class Index implements ZipIndex {
  constructor(
    readonly path: string,
    private readonly directory: Buffer,
    readonly names: NameRecords,
    private readonly shift: number,
    private readonly fileSize: number,
  ) {}

  get size(): number {
    return this.names.size;
  }

  name(index: number): string {
    // Bit 11 of the flags says UTF-8; without it a name is in code page 437 or in whatever the system had: ASCII in all of them.
    return this.names.name(index).replaceAll('\\', '/');
  }

  find(name: string): number {
    const wanted = Buffer.from(name);
    const compare = (index: number) => {
      const start = this.names.start(index);
      return this.directory.compare(wanted, 0, wanted.length, start, start + this.names.length(index));
    };
    let [low, high] = [0, this.size];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare(middle) < 0) low = middle + 1;
      else high = middle;
    }
    return low < this.size && compare(low) === 0 ? low : -1;
  }

  entrySize(index: number): number {
    return this.#sizes(index).size;
  }

  /** Numbers of 32 bits that are all ones stand in the zip64 field, in this order. */
  #sizes(index: number): { size: number; length: number; offset: number } {
    const { directory } = this;
    const at = this.names.records[index]!;
    let size = directory.readUInt32LE(at + 24);
    let length = directory.readUInt32LE(at + 20);
    let offset = directory.readUInt32LE(at + 42);
    if (size !== 0xffffffff && length !== 0xffffffff && offset !== 0xffffffff) return { size, length, offset };
    const start = at + HEADER + directory.readUInt16LE(at + 28);
    const end = start + directory.readUInt16LE(at + 30);
    for (let field = start; field + 4 <= end; field += 4 + directory.readUInt16LE(field + 2)) {
      if (directory.readUInt16LE(field) !== 1) continue;
      let value = field + 4;
      const next = (): number => {
        if (value + 8 > Math.min(end, field + 4 + directory.readUInt16LE(field + 2)))
          throw this.#wrong(index, 'its zip64 field is too short');
        return Number(directory.readBigUInt64LE((value += 8) - 8));
      };
      if (size === 0xffffffff) size = next();
      if (length === 0xffffffff) length = next();
      if (offset === 0xffffffff) offset = next();
      break;
    }
    return { size, length, offset };
  }

  isReadable(index: number): boolean {
    const { directory } = this;
    const at = this.names.records[index]!;
    const method = directory.readUInt16LE(at + 10);
    const length = directory.readUInt32LE(at + 20);
    const offset = directory.readUInt32LE(at + 42);
    // All ones: what lies beyond 32 bits is told elsewhere.
    if (length !== 0xffffffff && offset !== 0xffffffff)
      return (directory[at + 8]! & 1) === 0 && (method === 0 || method === 8) && offset + this.shift + 30 + length <= this.fileSize;
    try {
      this.location(index);
      return true;
    } catch {
      return false;
    }
  }

  location(index: number): FileRange {
    const at = this.names.records[index]!;
    const { directory, path, shift } = this;
    if (directory.readUInt16LE(at + 8) & 1)
      throw this.#wrong(index, 'expected an entry without a password, found an encrypted one', 'make the archive without a password');
    const method = directory.readUInt16LE(at + 10);
    if (method !== 0 && method !== 8)
      throw this.#wrong(
        index,
        `expected an entry stored or deflated, found compression method ${method}`,
        'make the archive with plain zip compression',
      );
    const { size, length, offset } = this.#sizes(index);
    if (offset + shift + 30 + length > this.fileSize)
      throw this.#wrong(index, `expected ${length} bytes at byte ${offset + shift}, found the end of the file at byte ${this.fileSize}`);
    return {
      path,
      offset: offset + shift,
      length,
      compression: method === 8 ? 'deflate' : 'none',
      size,
      crc32: directory.readUInt32LE(at + 16),
      zipHeader: directory.readUInt16LE(at + 28),
    };
  }

  async read(index: number): Promise<Uint8Array> {
    const reader = new LocationReader();
    try {
      return reader.read(this.location(index));
    } catch (error) {
      throw error instanceof ImageProblem ? this.#wrong(index, error.problem) : error;
    } finally {
      reader.close();
    }
  }

  #wrong(index: number, problem: string, help = 'the archive is damaged; copy or download it again'): FileError {
    return new FileError('E_FILE_FORMAT', `${this.path}: ${this.name(index)}: ${problem}`, { help });
  }
}
