/**
 * NumPy's `.npz`: a zip of `.npy` arrays. Reads and writes float32 and float64.
 */
import { constants } from 'node:buffer';
import { open, type FileHandle } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';
import { crc32 } from './crc32.js';
import { ArgumentError, FileError } from './errors.js';
import { withFileErrors, writeFileAtomic } from './files.js';

/** An array in C order (the last axis runs fastest), whatever the order in the file. */
export interface NpyArray {
  shape: readonly number[];
  data: Float32Array | Float64Array;
}

const damaged = (file: string, problem: string) =>
  new FileError('E_FILE_FORMAT', `${file}: ${problem}`, { help: 'write it again with numpy.savez, or download it again' });

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

// ---------------------------------------------------------------------------------------------------------------------
// Zip (PKWARE's APPNOTE, sections 4.3 and 4.5.3)

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/** An array that no buffer of this Node.js holds. */
class TooLarge extends Error {}

interface ZipEntry {
  name: string;
  method: number;
  crc: number;
  compressed: number;
  size: number;
  offset: number;
}

/** A part of a file; of one that ends before it what there is. */
async function readRange(file: FileHandle, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    // One call reads less than 2 GiB.
    const { bytesRead } = await file.read(bytes, filled, Math.min(length - filled, 2 ** 30), start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** Where the central directory begins and how many entries it has. */
async function findDirectory(file: FileHandle, size: number): Promise<{ offset: number; count: number }> {
  // The end record is 22 bytes and a comment of at most 65,535; the locator of zip64 takes 20 before it.
  const start = Math.max(0, size - 22 - 0xffff - 20);
  const tail = await readRange(file, start, size - start);
  for (let at = tail.length - 22; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END) continue;
    const count = tail.readUInt16LE(at + 10);
    const offset = tail.readUInt32LE(at + 16);
    if (count !== 0xffff && offset !== 0xffffffff) return { offset, count };
    if (at < 20 || tail.readUInt32LE(at - 20) !== LOCATOR64) break;
    const end64 = await readRange(file, Number(tail.readBigUInt64LE(at - 20 + 8)), 56);
    if (end64.readUInt32LE(0) !== END64) break;
    return { offset: Number(end64.readBigUInt64LE(48)), count: Number(end64.readBigUInt64LE(32)) };
  }
  throw new RangeError('expected a zip file, found no end record');
}

/** Sizes and offsets of 32 bits that are all ones stand in the zip64 field, in this order. */
function zip64(extra: Buffer, values: number[]): number[] {
  if (!values.includes(0xffffffff)) return values;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let field = at + 4;
    return values.map((value) => (value === 0xffffffff ? Number(extra.readBigUInt64LE((field += 8) - 8)) : value));
  }
  return values;
}

async function zipEntries(file: FileHandle, fileSize: number): Promise<ZipEntry[]> {
  const { offset: start, count } = await findDirectory(file, fileSize);
  if (start > fileSize) throw new RangeError(`expected the directory at byte ${start}, found the end of the file`);
  const zip = await readRange(file, start, fileSize - start);
  const entries: ZipEntry[] = [];
  for (let at = 0; entries.length < count;) {
    if (zip.readUInt32LE(at) !== CENTRAL) throw new RangeError(`expected an entry of the directory at byte ${start + at}`);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => zip.readUInt16LE(at + field)) as [number, number, number];
    const extra = zip.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [size, compressed, offset] = zip64(extra, [zip.readUInt32LE(at + 24), zip.readUInt32LE(at + 20), zip.readUInt32LE(at + 42)]);
    entries.push({
      name: zip.toString('utf8', at + 46, at + 46 + nameLength),
      method: zip.readUInt16LE(at + 10),
      crc: zip.readUInt32LE(at + 16),
      compressed: compressed!,
      size: size!,
      offset: offset!,
    });
    at += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

async function unzip(file: FileHandle, { name, method, crc, compressed, size, offset }: ZipEntry): Promise<Buffer> {
  const header = await readRange(file, offset, 30);
  if (header.readUInt32LE(0) !== LOCAL) throw new RangeError(`${name}: expected its data at byte ${offset}`);
  const start = offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const left = (await file.stat()).size - start;
  if (compressed > left) throw new RangeError(`${name}: expected ${compressed} bytes, found ${Math.max(0, left)}`);
  const most = Math.max(size, compressed);
  if (most > constants.MAX_LENGTH) throw new TooLarge(`${name}: expected at most ${constants.MAX_LENGTH} bytes, found ${most}`);
  const raw = await readRange(file, start, compressed);
  if (method !== 0 && method !== 8) throw new RangeError(`${name}: expected it stored or deflated, found compression method ${method}`);
  // No more than the directory promises is ever inflated.
  const bytes = method === 0 ? raw : inflateRawSync(raw, { maxOutputLength: Math.max(size, 1) });
  if (bytes.length !== size) throw new RangeError(`${name}: expected ${size} bytes, found ${bytes.length}`);
  if (crc32(bytes) !== crc) throw new RangeError(`${name}: its checksum does not match`);
  return bytes;
}

// ---------------------------------------------------------------------------------------------------------------------
// Npy (NEP 1)

const MAGIC = Buffer.from('\x93NUMPY', 'latin1');

/** What stands before the values of a `.npy` array. */
export interface NpyHeader {
  /** As NumPy spells it: `<f4`, `|u1`. */
  descr: string;
  fortran: boolean;
  shape: readonly number[];
  /** Where the values begin, in bytes. */
  start: number;
}

/** Reads the header of a `.npy` array from its first bytes. Throws RangeError, naming the array, where they hold none that is whole. */
export function parseNpyHeader(name: string, bytes: Buffer): NpyHeader {
  if (!bytes.subarray(0, 6).equals(MAGIC)) throw new RangeError(`${name}: expected a .npy array`);
  const wide = bytes[6]! >= 2;
  const begin = wide ? 12 : 10;
  const length = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  if (begin + length > bytes.length) throw new RangeError(`${name}: expected a header of ${length} bytes, found ${bytes.length - begin}`);
  const header = bytes.toString('latin1', begin, begin + length);
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1];
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1] === 'True';
  const shapeText = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || shapeText === undefined)
    throw new RangeError(`${name}: expected a header with descr and shape, found ${header.trim()}`);
  const shape = shapeText
    .split(',')
    .filter((axis) => axis.trim() !== '')
    .map(Number);
  return { descr, fortran, shape, start: begin + length };
}

function parseNpy(name: string, bytes: Buffer): NpyArray {
  const { descr, fortran, shape, start } = parseNpyHeader(name, bytes);
  if (descr !== '<f4' && descr !== '<f8') throw new RangeError(`${name}: expected little-endian float32 or float64, found ${descr}`);
  const raw = bytes.subarray(start);
  const expected = product(shape) * (descr === '<f4' ? 4 : 8);
  if (raw.length !== expected)
    throw new RangeError(`${name}: expected ${expected} bytes for ${descr} [${shape.join(', ')}], found ${raw.length}`);
  const aligned = new Uint8Array(raw).buffer;
  const data = descr === '<f4' ? new Float32Array(aligned) : new Float64Array(aligned);
  return { shape, data: fortran ? toCOrder(data, shape) : data };
}

/** From the first axis running fastest to the last. */
function toCOrder<T extends Float32Array | Float64Array>(data: T, shape: readonly number[]): T {
  const out = data.slice() as T;
  const index = new Array<number>(shape.length).fill(0);
  for (let to = 0; to < data.length; to++) {
    let from = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) from = from * shape[axis]! + index[axis]!;
    out[to] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
  return out;
}

function formatNpy({ shape, data }: NpyArray): Buffer {
  const dtype = data instanceof Float32Array ? '<f4' : '<f8';
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': (${axes}), }`;
  // Magic, version and header together fill a multiple of 64 bytes.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = Buffer.alloc(10);
  MAGIC.copy(head);
  head[6] = 1;
  head.writeUInt16LE(length, 8);
  const values = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([head, Buffer.from(`${text.padEnd(length - 1)}\n`), values]);
}

// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reads the arrays of a `.npz` file, by name without `.npy`: those of `names` that it has, or all; the others may be of any dtype.
 *
 * Only these are read, whatever the size of the file. Throws {@link FileError}: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`,
 * `E_FILE_FORMAT` for what is damaged or of another dtype, `E_FILE_TOO_LARGE` for an array that no buffer holds (4 GiB and more).
 */
export async function readNpz(path: string, names?: readonly string[]): Promise<Map<string, NpyArray>> {
  return withFileErrors(path, 'read', async () => {
    const file = await open(path, 'r');
    try {
      const arrays = new Map<string, NpyArray>();
      for (const entry of await zipEntries(file, (await file.stat()).size)) {
        const name = entry.name.slice(0, -4);
        if (!entry.name.endsWith('.npy') || !(names?.includes(name) ?? true)) continue;
        arrays.set(name, parseNpy(entry.name, await unzip(file, entry)));
      }
      return arrays;
    } catch (error) {
      if (error instanceof TooLarge)
        throw new FileError('E_FILE_TOO_LARGE', `${path}: ${error.message}`, { help: 'save it in several arrays, or of fewer rows' });
      const { syscall, message } = error as NodeJS.ErrnoException;
      throw syscall === undefined ? damaged(path, message) : error; // the disk's own errors keep their codes
    } finally {
      await file.close();
    }
  });
}

/** Writes arrays as `numpy.savez` does (stored, C order), whole or not at all. Throws as `writeFileAtomic`. */
export async function writeNpz(path: string, arrays: Readonly<Record<string, NpyArray>>): Promise<void> {
  const chunks: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, array] of Object.entries(arrays)) {
    if (product(array.shape) !== array.data.length)
      throw new ArgumentError('E_SHAPE', `${path}: ${name}: expected ${product(array.shape)} values, got ${array.data.length}`, {
        help: 'give the shape of the data',
      });
    const file = Buffer.from(`${name}.npy`);
    const bytes = formatNpy(array);
    if (offset + bytes.length > 0xfffffffe)
      throw new ArgumentError('E_VALUE', `${path}: expected less than 4 GiB, got more`, { help: 'write several files' });
    // What local and central headers share: version, flags (UTF-8 names), method, time, date (1980-01-01), crc, sizes, lengths.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(0x800, 2);
    shared.writeUInt16LE(0x21, 8);
    shared.writeUInt32LE(crc32(bytes), 10);
    shared.writeUInt32LE(bytes.length, 14);
    shared.writeUInt32LE(bytes.length, 18);
    shared.writeUInt16LE(file.length, 22);
    const local = Buffer.alloc(4);
    local.writeUInt32LE(LOCAL);
    const central = Buffer.alloc(6);
    central.writeUInt32LE(CENTRAL);
    central.writeUInt16LE(20, 4);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(central, shared, rest, file);
    chunks.push(local, shared, file, bytes);
    offset += 4 + shared.length + file.length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END);
  end.writeUInt16LE(Object.keys(arrays).length, 8);
  end.writeUInt16LE(Object.keys(arrays).length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  await writeFileAtomic(path, [...chunks, ...directory, end]);
}
