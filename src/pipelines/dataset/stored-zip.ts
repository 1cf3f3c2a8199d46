/**
 * A zip of stored entries that can be continued: what lies before a known byte is found again by its local headers, so that nothing
 * but the file itself tells how far it is (APPNOTE 4.3 and 4.5.3; zip64 where 32 bits are too few).
 */
import { open, type FileHandle } from 'node:fs/promises';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import { crc32 } from '../../core/crc32.js';

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
/** Of an offset beyond 32 bits: the number of the field, its length, the offset. */
const FAR_BYTES = 12;
const MAX32 = 0xffffffff;

/** 1980-01-01, the first day that zip knows: the same entries give the same bytes. */
const DOS_DATE = 0x21;

/** Writes what both kinds of header say: version, flags (UTF-8 names), method, time, date, checksum, sizes, lengths. */
function writeShared(to: Buffer, at: number, entry: { checksum: number; size: number; nameLength: number }, extra: number): void {
  to.writeUInt16LE(extra > 0 ? 45 : 20, at);
  to.writeUInt16LE(0x800, at + 2);
  to.writeUInt32LE(0, at + 4);
  to.writeUInt16LE(DOS_DATE, at + 8);
  to.writeUInt32LE(entry.checksum, at + 10);
  to.writeUInt32LE(entry.size, at + 14);
  to.writeUInt32LE(entry.size, at + 18);
  to.writeUInt16LE(entry.nameLength, at + 22);
  to.writeUInt16LE(extra, at + 24);
}

/** Bytes that are gathered before they are written. */
const WRITE_BYTES = 1 << 20;

/** A zip that is being written, entry by entry. */
export class StoredZip {
  #handle: FileHandle;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #position = 0;
  /** The central directory: whole chunks, a buffer for each entry would take three times as much; and what is filled of the last one. */
  readonly #directory: Buffer[] = [];
  #filled = WRITE_BYTES;
  #entries = 0;

  private constructor(
    readonly path: string,
    handle: FileHandle,
    start: number,
  ) {
    this.#handle = handle;
    this.#position = start;
  }

  /**
   * Opens `path` and keeps its first `bytes` bytes, `entries` whole entries, which are checked; undefined where they are not there.
   *
   * @param start where the first entry of a new file begins; zeros lie before it.
   */
  static async open(path: string, bytes: number, entries: number, start = 0): Promise<StoredZip | undefined> {
    return withFileErrors(path, 'write', async () => {
      const handle = await open(path, bytes > 0 ? 'r+' : 'w+').catch((error: NodeJS.ErrnoException) => {
        if (bytes > 0 && error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (!handle) return undefined;
      const zip = new StoredZip(path, handle, start);
      try {
        if ((await handle.stat()).size < bytes || !(await zip.#adopt(bytes, entries))) {
          await handle.close();
          return undefined;
        }
        await handle.truncate(Math.max(bytes, start));
        return zip;
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  }

  /** Entries that are in the zip. */
  get entries(): number {
    return this.#entries;
  }

  /** Bytes up to the end of the last entry, written or not. */
  get bytes(): number {
    return this.#position;
  }

  /** Walks over the entries of an unfinished zip; false: they are not what this class writes. */
  async #adopt(bytes: number, entries: number): Promise<boolean> {
    const window = Buffer.alloc(1 << 22);
    let [start, held] = [0, 0];
    const take = async (length: number): Promise<Buffer | undefined> => {
      if (this.#position + length > bytes) return undefined;
      if (length > window.length) {
        const large = Buffer.alloc(length);
        for (let filled = 0; filled < length;) {
          const { bytesRead } = await this.#handle.read(large, filled, length - filled, this.#position + filled);
          if (bytesRead === 0) return undefined;
          filled += bytesRead;
        }
        return large;
      }
      if (this.#position < start || this.#position + length > start + held) {
        start = this.#position;
        held = (await this.#handle.read(window, 0, window.length, start)).bytesRead;
        if (held < length) return undefined;
      }
      return window.subarray(this.#position - start, this.#position - start + length);
    };
    while (this.#position < bytes) {
      const header = await take(LOCAL_BYTES);
      if (header?.readUInt32LE(0) !== LOCAL) return false;
      const [checksum, size, nameLength] = [header.readUInt32LE(14), header.readUInt32LE(18), header.readUInt16LE(26)];
      const whole = await take(LOCAL_BYTES + nameLength + size);
      if (whole === undefined || crc32(whole.subarray(LOCAL_BYTES + nameLength)) !== checksum) return false;
      this.#record(Buffer.from(whole.subarray(LOCAL_BYTES, LOCAL_BYTES + nameLength)), checksum, size);
      this.#position += whole.length;
    }
    return this.entries === entries;
  }

  /** Adds the entry at the current position to the directory. */
  #record(name: Buffer, checksum: number, size: number): void {
    const extra = this.#position >= MAX32 ? FAR_BYTES : 0;
    const length = CENTRAL_BYTES + name.length + extra;
    if (this.#filled + length > WRITE_BYTES) {
      if (this.#directory.length > 0) this.#directory.push(this.#directory.pop()!.subarray(0, this.#filled));
      this.#directory.push(Buffer.alloc(WRITE_BYTES));
      this.#filled = 0;
    }
    const chunk = this.#directory.at(-1)!;
    const at = this.#filled;
    chunk.writeUInt32LE(CENTRAL, at);
    chunk.writeUInt16LE(extra > 0 ? 45 : 20, at + 4);
    writeShared(chunk, at + 6, { checksum, size, nameLength: name.length }, extra);
    chunk.writeUInt32LE(extra > 0 ? MAX32 : this.#position, at + 42);
    name.copy(chunk, at + CENTRAL_BYTES);
    if (extra > 0) {
      const field = at + CENTRAL_BYTES + name.length;
      chunk.writeUInt16LE(1, field);
      chunk.writeUInt16LE(8, field + 2);
      chunk.writeBigUInt64LE(BigInt(this.#position), field + 4);
    }
    this.#filled += length;
    this.#entries++;
  }

  /** Adds an entry of less than 4 GiB. Throws as {@link flush}. */
  async add(name: string, content: Uint8Array): Promise<void> {
    if (content.length >= MAX32)
      throw new FileError('E_FILE_TOO_LARGE', `${this.path}: ${name}: expected less than 4 GiB, got ${content.length} bytes`);
    // Before the entry counts: one that fails to be written is not there, and may be added again.
    if (this.#pendingBytes >= WRITE_BYTES) await this.#write();
    const bytes = Buffer.from(name);
    const checksum = crc32(content);
    this.#record(bytes, checksum, content.length);
    const header = Buffer.alloc(LOCAL_BYTES);
    header.writeUInt32LE(LOCAL);
    writeShared(header, 4, { checksum, size: content.length, nameLength: bytes.length }, 0);
    this.#pend(header, bytes, content);
  }

  #pend(...parts: Uint8Array[]): void {
    this.#pending.push(...parts);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#pendingBytes += length;
    this.#position += length;
  }

  async #write(): Promise<void> {
    const chunk = Buffer.concat(this.#pending);
    const from = this.#position - this.#pendingBytes;
    await withFileErrors(this.path, 'write', async () => {
      for (let at = 0; at < chunk.length;) at += (await this.#handle.write(chunk, at, chunk.length - at, from + at)).bytesWritten;
    });
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /** Brings every entry to the disk. Throws {@link FileError} `E_FILE_NO_SPACE` and what else writing may end with. */
  async flush(): Promise<void> {
    if (this.#pendingBytes > 0) await this.#write();
    await withFileErrors(this.path, 'write', () => this.#handle.sync());
  }

  /** Writes the directory: from here on it is a whole zip. */
  async finish(): Promise<void> {
    const start = this.#position;
    const count = this.entries;
    for (const [k, chunk] of this.#directory.entries()) {
      this.#pend(k === this.#directory.length - 1 ? chunk.subarray(0, this.#filled) : chunk);
      await this.#write();
    }
    const size = this.#position - start;
    if (count >= 0xffff || start + size >= MAX32) {
      const end64 = Buffer.alloc(56 + 20);
      end64.writeUInt32LE(0x06064b50, 0);
      end64.writeBigUInt64LE(44n, 4);
      end64.writeUInt16LE(45, 12);
      end64.writeUInt16LE(45, 14);
      end64.writeBigUInt64LE(BigInt(count), 24);
      end64.writeBigUInt64LE(BigInt(count), 32);
      end64.writeBigUInt64LE(BigInt(size), 40);
      end64.writeBigUInt64LE(BigInt(start), 48);
      end64.writeUInt32LE(0x07064b50, 56);
      end64.writeBigUInt64LE(BigInt(start + size), 64);
      end64.writeUInt32LE(1, 72);
      this.#pend(end64);
    }
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50);
    end.writeUInt16LE(Math.min(count, 0xffff), 8);
    end.writeUInt16LE(Math.min(count, 0xffff), 10);
    end.writeUInt32LE(Math.min(size, MAX32), 12);
    end.writeUInt32LE(Math.min(start, MAX32), 16);
    this.#pend(end);
    await this.flush();
  }

  async close(): Promise<void> {
    this.#pending = [];
    this.#pendingBytes = 0;
    await this.#handle.close();
  }
}
