/**
 * The safetensors format: an 8-byte little-endian header length, a JSON header, raw little-endian data.
 *
 * Files are read lazily, tensor by tensor; nothing in a header is believed before it is checked against the size of the file.
 */
import { open } from 'node:fs/promises';
import { FileError, WeightsError } from './errors.js';
import { withFileErrors, writeFileAtomic } from './files.js';

/** Bytes of one value, by dtype. */
const ITEM_SIZE = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
} as const;

/** `F64`, `F32`, `F16`, `BF16`, `I64` to `I8`, `U64` to `U8`, `BOOL`, `F8_E4M3`, `F8_E5M2`. */
export type SafetensorsDtype = keyof typeof ITEM_SIZE;

/** `F16` and `BF16` are given as their bits. */
export type SafetensorsData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** What the header says of a tensor. */
export interface SafetensorsEntry {
  dtype: SafetensorsDtype;
  shape: readonly number[];
}

/** An open safetensors file (or buffer); it holds no file handle, so there is nothing to close. */
export interface SafetensorsFile {
  /** The header's `__metadata__`. */
  metadata: Readonly<Record<string, string>>;
  /** By name, in the order of their data. */
  tensors: ReadonlyMap<string, SafetensorsEntry>;
  /**
   * Reads one tensor in its own dtype, row-major.
   * Throws {@link WeightsError} `E_WEIGHTS_MISSING` for an unknown name, {@link FileError} `E_FILE_CHANGED` where the file is no longer the one that was opened.
   */
  read(name: string): Promise<SafetensorsData>;
  /** Reads one tensor as float32, whatever its dtype. Throws as `read`, and `E_WEIGHTS_DTYPE` for 8-bit floats. */
  readAsFloat32(name: string): Promise<Float32Array>;
}

// ---------------------------------------------------------------------------------------------------------------------
// Header

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

interface Located extends SafetensorsEntry {
  /** From the start of the file. */
  begin: number;
  end: number;
}

interface Header {
  metadata: Record<string, string>;
  tensors: Map<string, Located>;
}

const damaged = (file: string, problem: string, code = 'E_FILE_FORMAT') =>
  new FileError(code, `${file}: ${problem}`, { help: 'this is no whole safetensors file; download or write it again' });

/** Checks the first eight bytes against the file's size; returns the header's length. */
function headerLength(prefix: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < 8) throw damaged(file, `expected at least 8 bytes, found ${fileSize}`, 'E_FILE_TRUNCATED');
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) throw damaged(file, `expected a header of at most ${MAX_HEADER_BYTES} bytes, its length says ${length}`);
  if (Number(length) > fileSize - 8)
    throw damaged(file, `the header's length says ${length} bytes, only ${fileSize - 8} follow it`, 'E_FILE_TRUNCATED');
  return Number(length);
}

/** The first key that the top-level object of valid JSON holds twice; `JSON.parse` would keep the last in silence. */
function duplicateKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const c = json[at];
    if (c === '{' || c === '[') depth++;
    else if (c === '}' || c === ']') depth--;
    else if (c === '"') {
      const start = at++;
      while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
      if (depth !== 1) continue;
      let next = at + 1;
      while (/\s/.test(json[next]!)) next++;
      if (json[next] !== ':') continue;
      const key = JSON.parse(json.slice(start, at + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** One tensor's description; offsets are from the start of the data. */
function parseEntry(name: string, value: unknown, file: string): Located {
  const fail = (expected: string, found: unknown) => damaged(file, `tensor ${name}: expected ${expected}, found ${JSON.stringify(found)}`);
  if (!isObject(value)) throw fail('an object', value);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(ITEM_SIZE, dtype)) throw fail(`a dtype of ${Object.keys(ITEM_SIZE).join(', ')}`, dtype);
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail('a shape of whole numbers', shape);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0]! > offsets[1]!)
    throw fail('data_offsets of two growing whole numbers', offsets);
  const bytes = shape.reduce((a, b) => a * b, ITEM_SIZE[dtype as SafetensorsDtype]);
  if (bytes !== offsets[1]! - offsets[0]!)
    throw fail(`${bytes} bytes for ${dtype} [${shape.join(', ')}]`, (offsets[1] as number) - (offsets[0] as number));
  return { dtype: dtype as SafetensorsDtype, shape, begin: offsets[0]!, end: offsets[1]! };
}

function parseHeader(bytes: Uint8Array, fileSize: number, file: string): Header {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${file}: the header is not JSON: ${(cause as Error).message}`, {
      cause,
      help: 'this is no safetensors file, or a damaged one',
    });
  }
  if (!isObject(json)) throw damaged(file, 'expected the header to be an object');
  const twice = duplicateKey(text);
  if (twice !== undefined) throw damaged(file, `tensor ${twice}: expected once, found twice in the header`);

  const { __metadata__: metadata = {}, ...entries } = json;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string'))
    throw damaged(file, 'expected __metadata__ to hold strings');

  const dataStart = 8 + bytes.byteLength;
  const located = Object.entries(entries).map(([name, value]) => [name, parseEntry(name, value, file)] as const);
  located.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of located) {
    if (begin !== at)
      throw damaged(file, `tensor ${name}: expected its data at offset ${at}, found ${begin} (a ${begin < at ? 'overlap' : 'gap'})`);
    at = end;
    if (dataStart + at > fileSize)
      throw damaged(file, `tensor ${name}: expected ${dataStart + at} bytes of file or more, found ${fileSize}`, 'E_FILE_TRUNCATED');
  }
  if (dataStart + at !== fileSize) throw damaged(file, `expected ${dataStart + at} bytes of file, found ${fileSize}`);
  for (const [, entry] of located) {
    entry.begin += dataStart;
    entry.end += dataStart;
  }
  return { metadata: metadata as Record<string, string>, tensors: new Map(located) };
}

// ---------------------------------------------------------------------------------------------------------------------
// Values

let halfValues: Float32Array | undefined;

/** The 65,536 values of IEEE half precision, by their bits. */
function halfTable(): Float32Array {
  if (halfValues) return halfValues;
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    const magnitude =
      exponent === 0 ? fraction * 2 ** -24 : exponent < 31 ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction === 0 ? Infinity : NaN;
    table[bits] = bits & 0x8000 ? -magnitude : magnitude;
  }
  return (halfValues = table);
}

/** Half precision bits to float32. */
export function halfToFloat32(half: Uint16Array): Float32Array {
  const table = halfTable();
  const out = new Float32Array(half.length);
  for (let i = 0; i < half.length; i++) out[i] = table[half[i]!]!;
  return out;
}

/** Float32 to half precision bits: to nearest, ties to even; beyond 65,504 by half a step becomes infinity. */
export function float32ToHalf(values: Float32Array): Uint16Array {
  const bitsOf = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const bits = bitsOf[i]!;
    const sign = (bits >>> 16) & 0x8000;
    const magnitude = bits & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000) half = 0x7e00;
    else if (magnitude >= 0x477ff000) half = 0x7c00;
    // Below 2^-14 half numbers are multiples of 2^-24; adding 2^52 rounds a double to a whole number, ties to even.
    else if (magnitude < 0x38800000) half = Math.abs(values[i]!) * 2 ** 24 + 2 ** 52 - 2 ** 52;
    else half = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    out[i] = sign | half;
  }
  return out;
}

/** A typed array over `bytes`, which must be aligned to eight bytes. */
function view(bytes: Uint8Array, dtype: SafetensorsDtype): SafetensorsData {
  const { buffer, byteOffset, byteLength } = bytes;
  const count = byteLength / ITEM_SIZE[dtype];
  switch (dtype) {
    case 'F64':
      return new Float64Array(buffer, byteOffset, count);
    case 'F32':
      return new Float32Array(buffer, byteOffset, count);
    case 'I64':
      return new BigInt64Array(buffer, byteOffset, count);
    case 'U64':
      return new BigUint64Array(buffer, byteOffset, count);
    case 'I32':
      return new Int32Array(buffer, byteOffset, count);
    case 'U32':
      return new Uint32Array(buffer, byteOffset, count);
    case 'I16':
      return new Int16Array(buffer, byteOffset, count);
    case 'F16':
    case 'BF16':
    case 'U16':
      return new Uint16Array(buffer, byteOffset, count);
    case 'I8':
      return new Int8Array(buffer, byteOffset, count);
    default:
      return bytes;
  }
}

function asFloat32(data: SafetensorsData, dtype: SafetensorsDtype): Float32Array | undefined {
  if (data instanceof Float32Array) return data;
  if (dtype === 'F8_E4M3' || dtype === 'F8_E5M2') return undefined;
  if (dtype === 'F16') return halfToFloat32(data as Uint16Array);
  const out = new Float32Array(data.length);
  if (dtype === 'BF16') {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < out.length; i++) bits[i] = (data as Uint16Array)[i]! << 16;
  } else for (let i = 0; i < out.length; i++) out[i] = Number(data[i]);
  return out;
}

// ---------------------------------------------------------------------------------------------------------------------
// Reading

/** `readBytes` gives a fresh buffer, or one aligned to eight bytes. */
function openWith(
  header: Header,
  file: string,
  readBytes: (begin: number, end: number, name: string) => Promise<Uint8Array>,
): SafetensorsFile {
  const find = (name: string): Located => {
    const entry = header.tensors.get(name);
    if (!entry)
      throw new WeightsError('E_WEIGHTS_MISSING', `${file}: expected a tensor ${name}, found ${header.tensors.size} others`, {
        help: `the file begins with ${[...header.tensors.keys()].slice(0, 3).join(', ') || 'nothing'}; does it belong to this network?`,
      });
    return entry;
  };
  const read = async (name: string) => {
    const { begin, end, dtype } = find(name);
    return view(await readBytes(begin, end, name), dtype);
  };
  return {
    metadata: header.metadata,
    tensors: new Map([...header.tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape }])),
    read,
    async readAsFloat32(name) {
      const { dtype } = find(name);
      const values = asFloat32(await read(name), dtype);
      if (!values)
        throw new WeightsError('E_WEIGHTS_DTYPE', `${file}: tensor ${name}: expected a dtype that converts to float32, found ${dtype}`, {
          help: 'convert the file to F32, F16 or BF16 first',
        });
      return values;
    },
  };
}

/** One system call reads at most 2^31 - 1 bytes. */
const READ_BYTES = 2 ** 30;

/**
 * Opens a safetensors file: reads and checks its header; data is read when asked for.
 *
 * Throws {@link FileError}: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`, `E_FILE_TRUNCATED`, `E_FILE_FORMAT`.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const withFile = <T>(use: (read: (begin: number, end: number) => Promise<Uint8Array>, size: number, identity: string) => Promise<T>) =>
    withFileErrors(path, 'read', async () => {
      const handle = await open(path, 'r');
      try {
        const { size, ino, mtimeMs } = await handle.stat();
        const read = async (begin: number, end: number) => {
          const bytes = new Uint8Array(end - begin);
          for (let at = 0; at < bytes.length;) {
            const { bytesRead } = await handle.read(bytes, at, Math.min(READ_BYTES, bytes.length - at), begin + at);
            if (bytesRead === 0) throw damaged(path, `expected ${end} bytes or more, found ${begin + at}`, 'E_FILE_TRUNCATED');
            at += bytesRead;
          }
          return bytes;
        };
        return await use(read, size, `${ino} ${size} ${mtimeMs}`);
      } finally {
        await handle.close();
      }
    });

  const [header, opened] = await withFile(async (read, size, identity) => {
    const length = headerLength(await read(0, Math.min(8, size)), size, path);
    return [parseHeader(await read(8, 8 + length), size, path), identity] as const;
  });
  return openWith(header, path, (begin, end, name) =>
    withFile(async (read, _size, identity) => {
      if (identity !== opened)
        throw new FileError('E_FILE_CHANGED', `${path}: was written to between opening it and reading tensor ${name}`, {
          help: 'open the file again',
        });
      return read(begin, end);
    }),
  );
}

/** {@link readSafetensors} of a file in memory; `name` stands for the path in messages. Values are copies. */
export function parseSafetensors(bytes: Uint8Array, name = 'safetensors buffer'): SafetensorsFile {
  const length = headerLength(bytes, bytes.byteLength, name);
  const header = parseHeader(bytes.subarray(8, 8 + length), bytes.byteLength, name);
  return openWith(header, name, async (begin, end) => new Uint8Array(bytes.subarray(begin, end)));
}

// ---------------------------------------------------------------------------------------------------------------------
// Writing

/** A tensor for `writeSafetensors`. */
export interface TensorToWrite {
  name: string;
  shape: readonly number[];
  /** Row-major. A function is called when the tensor's turn to be written comes, so that not all need to be in memory. */
  data: Float32Array | (() => Float32Array | Promise<Float32Array>);
  /** Default `F32`. */
  dtype?: 'F32' | 'F16';
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array) => new Uint8Array(buffer, byteOffset, byteLength);

/**
 * Writes a safetensors file, whole or not at all (as `writeFileAtomic`); the data begins at a multiple of eight bytes.
 *
 * Throws {@link WeightsError} `E_WEIGHTS_DUPLICATE` or `E_WEIGHTS_SHAPE` for tensors that cannot be written.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Record<string, string> = {},
): Promise<void> {
  // F32 first: each tensor then begins at a multiple of its item size.
  const list = [...tensors];
  const ordered = [...list.filter(({ dtype }) => dtype !== 'F16'), ...list.filter(({ dtype }) => dtype === 'F16')];
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : [];
  const names = new Set(['__metadata__']);
  let at = 0;
  for (const { name, shape, dtype = 'F32' } of ordered) {
    if (names.has(name))
      throw new WeightsError('E_WEIGHTS_DUPLICATE', `${path}: tensor ${name}: expected a name of its own, found it taken`, {
        help: 'give every tensor its own name',
      });
    names.add(name);
    const end = at + shape.reduce((a, b) => a * b, ITEM_SIZE[dtype]);
    entries.push([name, { dtype, shape, data_offsets: [at, end] }]);
    at = end;
  }
  // Joined by hand: an object would move a name such as `0` to the front and lose `__proto__`.
  const json = Buffer.from(`{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`);
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);

  async function* chunks() {
    yield header;
    for (const { name, shape, data, dtype } of ordered) {
      const values = typeof data === 'function' ? await data() : data;
      const expected = shape.reduce((a, b) => a * b, 1);
      if (values.length !== expected)
        throw new WeightsError(
          'E_WEIGHTS_SHAPE',
          `${path}: tensor ${name}: expected ${expected} values for [${shape.join(', ')}], found ${values.length}`,
          {
            help: 'give the shape of the data',
          },
        );
      yield bytesOf(dtype === 'F16' ? float32ToHalf(values) : values);
    }
  }
  await writeFileAtomic(path, chunks());
}
