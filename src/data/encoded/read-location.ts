/**
 * Reading the bytes of encoded images in a worker: files stay open, one read an image.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { toFileError } from '../../core/files.js';
import { crc32 } from '../../core/crc32.js';
import type { FileRange, ImageLocation } from './encoded-images.js';
import { damagedImage, ImageProblem } from './image-problem.js';

const LOCAL_HEADER = 0x04034b50;
/** Room for the extra field of a local header, which only the header itself tells; a longer one costs a second read. */
const EXTRA_ROOM = 64;

/** Open files by path, for reads of parts of them. */
export class LocationReader {
  readonly #descriptors = new Map<string, number>();
  #scratch: Buffer | undefined;

  /** @param reuse what is read is valid until the next read only: no new buffer for each image. */
  constructor(reuse = false) {
    if (reuse) this.#scratch = Buffer.allocUnsafeSlow(1 << 16);
  }

  /** The encoded bytes. Throws {@link ImageProblem} for what cannot be read or inflated. */
  read(location: ImageLocation): Uint8Array {
    if ('bytes' in location) return location.bytes;
    try {
      return 'length' in location ? this.#part(location) : readWhole(location.path);
    } catch (error) {
      const { code, message, help } = toFileError(error, location.path, 'read') as { code?: string; message: string; help?: string };
      if (error instanceof ImageProblem || code === undefined) throw error;
      throw new ImageProblem(code, message.split('\n')[0]!, help ?? 'check the disk and the path');
    }
  }

  /** Where the data of a range begins, after the local header of a zip where it has one. */
  dataStart({ path, offset, zipHeader }: FileRange): number {
    if (zipHeader === undefined) return offset;
    return offset + localHeaderLength(readAt(this.#open(path), offset, 30), offset);
  }

  #part(range: FileRange): Uint8Array {
    const { path, offset, length, compression, size } = range;
    const descriptor = this.#open(path);
    let data: Uint8Array;
    if (range.zipHeader === undefined) data = readAt(descriptor, offset, length, 0, this.#scratch);
    else {
      const found = readAt(descriptor, offset, 30 + range.zipHeader + length, EXTRA_ROOM, this.#scratch);
      const start = localHeaderLength(found, offset);
      data = start + length <= found.length ? found.subarray(start, start + length) : readAt(descriptor, offset + start, length);
    }
    if (compression === 'deflate') data = inflateEntry(data, size);
    else if (length !== size) throw damagedImage(`expected ${size} stored bytes, found ${length}`);
    if (range.crc32 !== undefined && crc32(data) !== range.crc32) throw damagedImage('its checksum in the zip does not match');
    return data;
  }

  #open(path: string): number {
    let descriptor = this.#descriptors.get(path);
    if (descriptor === undefined) this.#descriptors.set(path, (descriptor = openSync(path, 'r')));
    return descriptor;
  }

  close(): void {
    for (const descriptor of this.#descriptors.values()) closeSync(descriptor);
    this.#descriptors.clear();
  }
}

function localHeaderLength(header: Buffer, offset: number): number {
  if (header.readUInt32LE(0) !== LOCAL_HEADER) throw damagedImage(`expected the local header of a zip entry at byte ${offset}, found none`);
  return 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

/** Bytes at an offset: `length` of them, and up to `more` where the file has them; in `scratch` where that has room. */
function readAt(descriptor: number, offset: number, length: number, more = 0, scratch?: Buffer): Buffer {
  const room = length + more;
  const buffer = scratch !== undefined && room <= scratch.length ? scratch : Buffer.allocUnsafe(room);
  let filled = 0;
  while (filled < length) {
    const count = readSync(descriptor, buffer, filled, room - filled, offset + filled);
    if (count === 0) throw damagedImage(`expected ${length} bytes at byte ${offset}, found ${filled}: the file ends early`);
    filled += count;
  }
  return buffer.subarray(0, filled);
}

/** A whole file; opened and closed, since a tree has more files than a process may hold open. */
function readWhole(path: string): Buffer {
  const descriptor = openSync(path, 'r');
  try {
    return readAt(descriptor, 0, fstatSync(descriptor).size);
  } finally {
    closeSync(descriptor);
  }
}

/** No more than the directory promises is ever inflated. */
export function inflateEntry(data: Uint8Array, size: number): Buffer {
  try {
    const bytes = inflateRawSync(data, { maxOutputLength: Math.max(1, size), chunkSize: Math.max(64, Math.min(size, 1 << 20)) });
    if (bytes.length === size) return bytes;
    throw damagedImage(`expected ${size} bytes after decompression, found ${bytes.length}`);
  } catch (error) {
    if (error instanceof ImageProblem) throw error;
    throw damagedImage(`its compressed data is damaged: ${(error as Error).message}`);
  }
}

/** The bytes of a part of a file, a megabyte at a time where they are stored; the checksum is checked at their end. */
export function* readParts(range: FileRange): Generator<Uint8Array> {
  const reader = new LocationReader();
  try {
    if (range.compression === 'deflate' || range.crc32 === undefined) {
      yield reader.read(range);
      return;
    }
    let crc = 0;
    const start = reader.dataStart(range);
    for (let at = 0; at < range.length;) {
      const length = Math.min(1 << 20, range.length - at);
      const part = reader.read({ path: range.path, offset: start + at, length, size: length, compression: 'none' });
      crc = crc32(part, crc);
      yield part;
      at += length;
    }
    if (crc !== range.crc32) throw damagedImage('its checksum in the zip does not match');
  } finally {
    reader.close();
  }
}
