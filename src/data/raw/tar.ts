/**
 * Tar archives, plain or gzipped, read once from front to back (POSIX.1-1988 ustar, with GNU's and pax's long names).
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { FileError } from '../../core/errors.js';
import { toFileError, withFileErrors } from '../../core/files.js';
import { printable } from '../../core/pickle/index.js';

/** A file of an archive. */
export interface TarEntry {
  name: string;
  size: number;
  /** Its content; once, before the next entry is asked for. What is not read is skipped. */
  read(): Promise<Buffer>;
}

const BLOCK = 512;

/** Of names and attributes that entries of their own hold. */
const MAX_TEXT_BYTES = 1 << 20;

const damaged = (path: string, problem: string) =>
  new FileError('E_FILE_FORMAT', `${path}: ${problem}`, { help: 'this is no whole tar archive; download it again' });

const ended = (path: string, cause?: unknown) =>
  new FileError('E_FILE_TRUNCATED', `${path}: expected more of the archive, found its end`, {
    help: 'the file ends early; download it again',
    cause,
  });

/** Takes given numbers of bytes from a stream; whoever waits for bytes of a damaged one gets its FileError. */
class StreamReader {
  #chunks: Buffer[] = [];
  #held = 0;

  constructor(
    private readonly path: string,
    private readonly stream: AsyncIterator<Buffer>,
  ) {}

  async #next(): Promise<IteratorResult<Buffer, undefined>> {
    try {
      return (await this.stream.next()) as IteratorResult<Buffer, undefined>;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'Z_BUF_ERROR') throw ended(this.path, error);
      if (code?.startsWith('Z_') === true) throw damaged(this.path, `the compressed data is damaged: ${message}`);
      throw toFileError(error, this.path, 'read');
    }
  }

  async #fill(count: number): Promise<boolean> {
    while (this.#held < count) {
      const { value, done } = await this.#next();
      if (done === true) return false;
      this.#chunks.push(value);
      this.#held += value.length;
    }
    return true;
  }

  /** Undefined where the stream ends before. */
  async take(count: number): Promise<Buffer | undefined> {
    if (!(await this.#fill(Math.min(count, 1)))) return undefined;
    const out = Buffer.allocUnsafe(count);
    for (let at = 0; at < count;) {
      if (!(await this.#fill(1))) return undefined;
      const chunk = this.#chunks.shift()!;
      const part = chunk.subarray(0, count - at);
      out.set(part, at);
      at += part.length;
      this.#held -= part.length;
      if (part.length < chunk.length) this.#chunks.unshift(chunk.subarray(part.length));
    }
    return out;
  }

  /** Passes over bytes; false where the stream ends before. */
  async advance(count: number): Promise<boolean> {
    for (let left = count; left > 0;) {
      if (!(await this.#fill(1))) return false;
      const chunk = this.#chunks.shift()!;
      const rest = chunk.subarray(Math.min(left, chunk.length));
      left -= chunk.length - rest.length;
      this.#held -= chunk.length - rest.length;
      if (rest.length > 0) this.#chunks.unshift(rest);
    }
    return true;
  }
}

const textOf = (bytes: Uint8Array) => {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end === -1 ? undefined : end)).toString('utf8');
};

/** Octal digits, or GNU's base 256 where the first bit is set; NaN: neither. */
function numberOf(field: Uint8Array): number {
  if (field[0]! & 0x80) return field.subarray(1).reduce((sum, byte) => sum * 256 + byte, field[0]! & 0x7f);
  const text = textOf(field).trim();
  return /^[0-7]*$/.test(text) ? parseInt(text || '0', 8) : NaN;
}

/** Sum of all bytes, those of the sum itself as spaces. */
const checksum = (header: Uint8Array) => header.reduce((sum, byte, k) => sum + (k >= 148 && k < 156 ? 32 : byte), 0);

/** Attributes of a pax header: lines of `LENGTH KEY=VALUE`. */
function paxAttributes(text: Buffer): Map<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at < text.length;) {
    const length = parseInt(text.toString('latin1', at, at + 16), 10);
    if (!(length > 0)) break;
    const line = text.toString('utf8', text.indexOf(0x20, at) + 1, at + length - 1);
    found.set(line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1));
    at += length;
  }
  return found;
}

/**
 * The regular files of an archive, in its order; gzipped where it begins as gzip does.
 *
 * Throws {@link FileError}: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`, `E_FILE_TRUNCATED`, `E_FILE_FORMAT`.
 */
export async function* tarEntries(path: string): AsyncGenerator<TarEntry> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  const stream = (await isGzip(path)) ? file.pipe(createGunzip({ chunkSize: 1 << 18 })) : file;
  file.on('error', (error) => stream.destroy(error));
  try {
    yield* entriesOf(path, new StreamReader(path, stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>));
  } finally {
    stream.destroy();
    file.destroy();
  }
}

async function isGzip(path: string): Promise<boolean> {
  return withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
      return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
    } finally {
      await handle.close();
    }
  });
}

async function* entriesOf(path: string, reader: StreamReader): AsyncGenerator<TarEntry> {
  let longName: string | undefined;
  let pax = new Map<string, string>();
  for (let first = true; ; first = false) {
    const header = await reader.take(BLOCK);
    if (header === undefined) {
      if (first) throw damaged(path, 'expected a tar archive, found too few bytes');
      throw ended(path);
    }
    if (header.every((byte) => byte === 0)) {
      if (first) throw damaged(path, 'expected a tar archive, found zeros');
      return; // the first of the two blocks at the end
    }
    if (numberOf(header.subarray(148, 156)) !== checksum(header))
      throw damaged(path, first ? 'expected a tar archive, found something else' : 'the checksum of an entry’s header does not match');
    const kind = String.fromCharCode(header[156]!);
    const size = pax.has('size') ? Number(pax.get('size')) : numberOf(header.subarray(124, 136));
    if (!Number.isSafeInteger(size) || size < 0) throw damaged(path, `expected the size of an entry, found ${size}`);
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;

    if (kind === 'L' || kind === 'K' || kind === 'x' || kind === 'g') {
      if (size > MAX_TEXT_BYTES) throw damaged(path, `expected at most ${MAX_TEXT_BYTES} bytes for a name, found ${size}`);
      const text = await reader.take(size);
      if (text === undefined || !(await reader.advance(padding))) throw ended(path);
      if (kind === 'L') longName = textOf(text);
      if (kind === 'x') pax = paxAttributes(text);
      continue;
    }
    const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? textOf(header.subarray(345, 500)) : '';
    const short = textOf(header.subarray(0, 100));
    const name = pax.get('path') ?? longName ?? (prefix === '' ? short : `${prefix}/${short}`);
    longName = undefined;
    pax = new Map();
    let left = size;
    if (kind === '0' || kind === '\0')
      yield {
        name,
        size,
        async read() {
          const content = left === size ? await reader.take(size) : undefined;
          if (content === undefined) throw ended(path);
          left = 0;
          return content;
        },
      };
    if (!(await reader.advance(left + padding))) throw ended(path, `in ${printable(name)}`);
  }
}
