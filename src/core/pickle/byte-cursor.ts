import { truncated, type ByteSource } from './byte-source.js';

const WINDOW_BYTES = 16_384;

/** Reads a source forwards through a small window, so that what is skipped is never read. */
export class ByteCursor {
  #window = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  /** Where the window begins in the source. */
  #begin = 0;
  #at: number;

  /** `windowBytes` is a matter of speed alone. */
  constructor(
    readonly source: ByteSource,
    at = 0,
    private readonly windowBytes = WINDOW_BYTES,
  ) {
    this.#at = at;
  }

  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.source.size - this.#at;
  }

  /** Makes `count` bytes from the current position (few: less than a window) readable and steps over them; returns where they begin in the window. */
  #take(count: number): number {
    const from = this.#at - this.#begin;
    this.#at += count;
    if (from + count <= this.#window.byteLength) return from;
    this.#at -= count;
    this.require(count);
    this.#window = new Uint8Array(Math.min(Math.max(count, this.windowBytes), this.remaining));
    this.#view = new DataView(this.#window.buffer);
    this.source.readSync(this.#window, this.#at);
    this.#begin = this.#at;
    this.#at += count;
    return 0;
  }

  /** Throws `E_FILE_TRUNCATED` unless `count` more bytes are there. */
  require(count: number): void {
    if (count > this.remaining)
      throw truncated(this.source.name, this.source.locate(0) + this.#at + count, this.source.locate(0) + this.source.size);
  }

  uint8(): number {
    const at = this.#take(1);
    return this.#window[at]!;
  }

  uint16(): number {
    const at = this.#take(2);
    return this.#view.getUint16(at, true);
  }

  uint32(): number {
    const at = this.#take(4);
    return this.#view.getUint32(at, true);
  }

  int32(): number {
    const at = this.#take(4);
    return this.#view.getInt32(at, true);
  }

  /** Eight bytes as a signed whole number. */
  int64(): bigint {
    const at = this.#take(8);
    return this.#view.getBigInt64(at, true);
  }

  /** Eight bytes as a length; one that is no exact number is beyond every file. */
  length64(): number {
    const at = this.#take(8);
    return Number(this.#view.getBigUint64(at, true));
  }

  float64BigEndian(): number {
    const at = this.#take(8);
    return this.#view.getFloat64(at, false);
  }

  /** The next `count` bytes, copied. */
  bytes(count: number): Uint8Array {
    this.require(count);
    if (count <= this.windowBytes) {
      const at = this.#take(count);
      return this.#window.slice(at, at + count);
    }
    const bytes = new Uint8Array(count);
    this.source.readSync(bytes, this.#at);
    this.#at += count;
    return bytes;
  }

  /** Bytes up to the next line feed, which is stepped over; `undefined` where there is none within `limit` bytes. */
  line(limit: number): Uint8Array | undefined {
    const parts: Uint8Array[] = [];
    for (let length = 0; length <= limit;) {
      const from = this.#take(1);
      const end = this.#window.indexOf(10, from);
      const part = this.#window.slice(from, end === -1 ? undefined : end);
      parts.push(part);
      length += part.byteLength;
      this.#at = this.#begin + from + part.byteLength + (end === -1 ? 0 : 1);
      if (end !== -1) return length <= limit ? Buffer.concat(parts) : undefined;
    }
    return undefined;
  }

  skip(count: number): void {
    this.require(count);
    this.#at += count;
  }
}
