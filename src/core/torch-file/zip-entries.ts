/**
 * Where the stored entries of a zip archive lie in its file. Nothing is unpacked: an entry that is compressed, overlaps another, leaves the
 * archive's folder or is told differently in its two headers is refused.
 */
import { Readable } from 'node:stream';
import yauzl from 'yauzl';
import { FileError } from '../errors.js';
import { ByteCursor, printable, truncated, type ByteSource } from '../pickle/index.js';

export interface ZipEntry {
  name: string;
  /** Of its data, in the file. */
  begin: number;
  end: number;
}

/** A network of thousands of tensors has thousands of entries. */
const MAX_ENTRIES = 20_000;

const STORED = 0;
const ENCRYPTED = 1;
const SIZES_FOLLOW = 8;

const damaged = (source: ByteSource, problem: string) =>
  new FileError('E_FILE_FORMAT', `${source.name}: ${problem}`, { help: 'this is no whole PyTorch file; download or write it again' });

/** What yauzl reads through: a cache of one window, since it asks for a few bytes at a time. */
class SourceReader extends yauzl.RandomAccessReader {
  static readonly WINDOW_BYTES = 65_536;
  #window = new Uint8Array(0);
  #begin = 0;

  constructor(private readonly source: ByteSource) {
    super();
  }

  override read(buffer: Buffer, offset: number, length: number, position: number, callback: (error: Error | null) => void): void {
    try {
      if (position + length > this.source.size) throw truncated(this.source.name, position + length, this.source.size, 'the archive');
      if (position < this.#begin || position + length > this.#begin + this.#window.byteLength) {
        this.#window = new Uint8Array(Math.min(Math.max(length, SourceReader.WINDOW_BYTES), this.source.size - position));
        this.source.readSync(this.#window, position);
        this.#begin = position;
      }
      buffer.set(this.#window.subarray(position - this.#begin, position - this.#begin + length), offset);
    } catch (error) {
      return callback(error as Error);
    }
    callback(null);
  }

  override _readStreamForRange(): Readable {
    return Readable.from([]);
  }

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }
}

/** The entries of an archive by name; directories are left out. `inspect` sees the names before anything else of the entries is looked at. Throws {@link FileError} `E_FILE_FORMAT`, `E_FILE_TRUNCATED`, `E_FILE_UNSUPPORTED`. */
export async function listZip(source: ByteSource, inspect: (names: readonly string[]) => void): Promise<Map<string, ZipEntry>> {
  const found = await centralDirectory(source);
  inspect(found.entries.map(({ fileName }) => fileName));
  const entries = new Map<string, ZipEntry>();
  let last = { name: '', end: 0 };
  // In the order of the file each entry must end before the next one's header.
  for (const entry of found.entries.sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader)) {
    const name = entry.fileName;
    if (entries.has(name)) throw damaged(source, `entry ${printable(name)}: expected once, found twice`);
    const { begin, end } = locate(source, entry);
    if (entry.relativeOffsetOfLocalHeader < last.end)
      throw damaged(
        source,
        `entry ${printable(name)}: expected after byte ${last.end}, where ${printable(last.name)} ends, found at ${entry.relativeOffsetOfLocalHeader}`,
      );
    if (end > found.begin)
      throw damaged(source, `entry ${printable(name)}: expected before the directory at byte ${found.begin}, found to byte ${end}`);
    last = { name, end };
    if (!name.endsWith('/')) entries.set(name, { name, begin, end });
  }
  return entries;
}

async function centralDirectory(source: ByteSource): Promise<{ begin: number; entries: yauzl.Entry[] }> {
  try {
    const zip = await yauzl.fromRandomAccessReaderPromise(new SourceReader(source), source.size, { strictFileNames: true });
    // yauzl's cursor stands at the directory until the first entry is read.
    const begin = Number(zip.readEntryCursor);
    if (!(zip.entryCount <= MAX_ENTRIES)) throw damaged(source, `expected at most ${MAX_ENTRIES} entries, found ${zip.entryCount}`);
    const entries: yauzl.Entry[] = [];
    for await (const entry of zip.eachEntry()) entries.push(entry);
    return { begin, entries };
  } catch (error) {
    if (error instanceof FileError) throw error;
    const { message } = error as Error;
    const help = 'this is no whole PyTorch file; download or write it again';
    if (message.includes('End of central directory'))
      throw new FileError('E_FILE_TRUNCATED', `${source.name}: expected the directory of a zip archive at its end, found none`, {
        help,
        cause: error,
      });
    throw new FileError('E_FILE_FORMAT', `${source.name}: the zip archive is damaged: ${printable(message)}`, { help, cause: error });
  }
}

/** Where an entry's data lies, by its own header, which must agree with the directory's. */
function locate(source: ByteSource, entry: yauzl.Entry): { begin: number; end: number } {
  const where = `entry ${printable(entry.fileName)}`;
  if (entry.compressionMethod !== STORED)
    throw new FileError(
      'E_FILE_UNSUPPORTED',
      `${source.name}: ${where}: expected stored data, found compression method ${entry.compressionMethod}`,
      {
        help: 'PyTorch never compresses; unpack the archive and pack it again with `zip -0 -r`',
      },
    );
  if (entry.generalPurposeBitFlag & ENCRYPTED)
    throw new FileError('E_FILE_UNSUPPORTED', `${source.name}: ${where}: expected plain data, found it encrypted`, {
      help: 'decrypt the archive first',
    });
  const header = new ByteCursor(source, entry.relativeOffsetOfLocalHeader, 64);
  if (header.uint32() !== 0x04034b50)
    throw damaged(source, `${where}: expected its header at byte ${entry.relativeOffsetOfLocalHeader}, found none`);
  header.skip(2);
  const flags = header.uint16();
  const method = header.uint16();
  header.skip(8);
  const sizes = [header.uint32(), header.uint32()];
  const [nameLength, extraLength] = [header.uint16(), header.uint16()];
  const name = Buffer.from(header.bytes(nameLength));
  header.skip(extraLength);
  const begin = header.position;
  header.skip(entry.compressedSize);
  const sizeAgrees = (size: number) => size === entry.compressedSize || size === 0xffffffff || ((flags & SIZES_FOLLOW) !== 0 && size === 0);
  if (!name.equals(entry.fileNameRaw) || method !== entry.compressionMethod || !sizes.every(sizeAgrees))
    throw damaged(
      source,
      `${where}: expected the same in the directory and in its header, found ${printable(name.toString('latin1'))} there`,
    );
  return { begin, end: begin + entry.compressedSize };
}
