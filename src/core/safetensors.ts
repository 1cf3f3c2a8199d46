/**
 * The safetensors format: an 8-byte little-endian header length, a JSON header, raw little-endian data.
 *
 * Files are read lazily, tensor by tensor; nothing in a header is believed before it is checked against the size of the file.
 */
import { open } from 'node:fs/promises';
import { FileError, WeightsError } from './errors.js';
import { withFileErrors, writeFileAtomic } from './files.js';
import { printable } from './pickle/text.js';
import {
  asFloat32,
  float32ToBfloat16,
  float32ToHalf,
  ITEM_SIZE,
  tensorData,
  type TensorData,
  type TensorDtype,
  type TensorEntry,
  type TensorFile,
} from './tensor-file.js';

// ---------------------------------------------------------------------------------------------------------------------
// Header

/** The format's own limit is 100 MB, whose JSON would take seconds and gigabytes. */
const MAX_HEADER_BYTES = 2 ** 24;

/** Of one file; each is three objects of JSON. */
const MAX_TENSORS = 50_000;

/** Five a tensor, the rest for metadata: a header of a million keys would take seconds. */
const MAX_STRINGS = 6 * MAX_TENSORS;

/** The header, a tensor of it, its shape. */
const MAX_DEPTH = 3;

interface Located extends TensorEntry {
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

/** The first key that one object of valid JSON holds twice; `JSON.parse` would keep the last in silence. */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < json.length; at++) {
    const c = json[at];
    if (c === '{' || c === '[') open.push(c === '{' ? new Set() : undefined);
    else if (c === '}' || c === ']') open.pop();
    else if (c === '"') {
      const start = at++;
      while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
      let next = at + 1;
      while (next < json.length && /\s/.test(json[next]!)) next++;
      if (json[next] !== ':') continue;
      const key = JSON.parse(json.slice(start, at + 1)) as string;
      if (open.at(-1)!.has(key)) return key;
      open.at(-1)!.add(key);
    }
  }
  return undefined;
}

/** Says why JSON in UTF-8 is not worth parsing: it nests deeper than a header does, or holds more than one; undefined: it may be one. */
export function notAHeader(bytes: Uint8Array): string | undefined {
  const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = Buffer.from('"\\[]{}');
  let depth = 0;
  let count = 0;
  let strings = 0;
  for (let at = 0; at < bytes.length; at++) {
    const c = bytes[at];
    if (c === QUOTE) {
      if (++strings > MAX_STRINGS) return `at most ${MAX_STRINGS} names and texts`;
      for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) at += bytes[at] === BACKSLASH ? 1 : 0;
    } else if (c === CLOSE_LIST || c === CLOSE) depth--;
    else if (c === OPEN_LIST || c === OPEN) {
      if (++depth > MAX_DEPTH) return `a header of at most ${MAX_DEPTH} levels`;
      if (++count > 3 * MAX_TENSORS) return `at most ${MAX_TENSORS} tensors`;
    }
  }
  return undefined;
}

/** A value of the header for messages: short, whatever it is. */
function briefly(value: unknown): string {
  if (Array.isArray(value)) return value.length > 16 ? `a list of ${value.length}` : `[${value.map(briefly).join(',')}]`;
  if (isObject(value)) return 'an object';
  return typeof value === 'string' ? `"${printable(value)}"` : String(value);
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** One tensor's description; offsets are from the start of the data. */
function parseEntry(name: string, value: unknown, file: string): Located {
  const fail = (expected: string, found: unknown) =>
    damaged(file, `tensor ${printable(name)}: expected ${expected}, found ${briefly(found)}`);
  if (!isObject(value)) throw fail('an object', value);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(ITEM_SIZE, dtype)) throw fail(`a dtype of ${Object.keys(ITEM_SIZE).join(', ')}`, dtype);
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail('a shape of whole numbers', shape);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0]! > offsets[1]!)
    throw fail('data_offsets of two growing whole numbers', offsets);
  const bytes = shape.reduce((a, b) => a * b, ITEM_SIZE[dtype as TensorDtype]);
  if (bytes !== offsets[1]! - offsets[0]!)
    throw fail(
      `${bytes} bytes for ${dtype} ${shape.length > 16 ? `of ${shape.length} axes` : `[${shape.join(', ')}]`}`,
      (offsets[1] as number) - (offsets[0] as number),
    );
  return { dtype: dtype as TensorDtype, shape, begin: offsets[0]!, end: offsets[1]! };
}

function parseHeader(bytes: Uint8Array, fileSize: number, file: string): Header {
  const expected = notAHeader(bytes);
  if (expected !== undefined) throw damaged(file, `expected ${expected}, found more`);
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${file}: the header is not JSON: ${printable((cause as Error).message)}`, {
      cause,
      help: 'this is no safetensors file, or a damaged one',
    });
  }
  if (!isObject(json)) throw damaged(file, 'expected the header to be an object');
  const twice = duplicateKey(text);
  if (twice !== undefined) throw damaged(file, `tensor or key ${printable(twice)}: expected once, found twice in the header`);

  const { __metadata__: metadata = {}, ...entries } = json;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string'))
    throw damaged(file, 'expected __metadata__ to hold strings');

  const dataStart = 8 + bytes.byteLength;
  const located = Object.entries(entries).map(([name, value]) => [name, parseEntry(name, value, file)] as const);
  located.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of located) {
    if (begin !== at)
      throw damaged(
        file,
        `tensor ${printable(name)}: expected its data at offset ${at}, found ${begin} (a ${begin < at ? 'overlap' : 'gap'})`,
      );
    at = end;
    if (dataStart + at > fileSize)
      throw damaged(
        file,
        `tensor ${printable(name)}: expected ${dataStart + at} bytes of file or more, found ${fileSize}`,
        'E_FILE_TRUNCATED',
      );
  }
  if (dataStart + at !== fileSize) throw damaged(file, `expected ${dataStart + at} bytes of file, found ${fileSize}`);
  for (const [, entry] of located) {
    entry.begin += dataStart;
    entry.end += dataStart;
  }
  return { metadata: metadata as Record<string, string>, tensors: new Map(located) };
}

// ---------------------------------------------------------------------------------------------------------------------
// Reading

/** `readBytes` gives a fresh buffer, or one aligned to eight bytes. */
function openWith(header: Header, file: string, readBytes: (begin: number, end: number, name: string) => Promise<Uint8Array>): TensorFile {
  const find = (name: string): Located => {
    const entry = header.tensors.get(name);
    if (!entry)
      throw new WeightsError('E_WEIGHTS_MISSING', `${file}: expected a tensor ${printable(name)}, found ${header.tensors.size} others`, {
        help: `the file begins with ${[...header.tensors.keys()].slice(0, 3).map(printable).join(', ') || 'nothing'}; does it belong to this network?`,
      });
    return entry;
  };
  const read = async (name: string) => {
    const { begin, end, dtype } = find(name);
    return tensorData(await readBytes(begin, end, name), dtype);
  };
  return {
    metadata: header.metadata,
    tensors: new Map([...header.tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape }])),
    read,
    async readAsFloat32(name) {
      const { dtype } = find(name);
      const values = asFloat32(await read(name), dtype);
      if (!values)
        throw new WeightsError(
          'E_WEIGHTS_DTYPE',
          `${file}: tensor ${printable(name)}: expected a dtype that converts to float32, found ${dtype}`,
          {
            help: 'convert the file to F32, F16 or BF16 first',
          },
        );
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
export async function readSafetensors(path: string): Promise<TensorFile> {
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
export function parseSafetensors(bytes: Uint8Array, name = 'safetensors buffer'): TensorFile {
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
  /**
   * Row-major: values of `dtype` as a {@link TensorFile} gives them, written as they are; or a Float32Array, rounded where `dtype` is `F16` or `BF16`.
   * A function is called when the tensor's turn to be written comes, so that not all need to be in memory.
   */
  data: TensorData | (() => TensorData | Promise<TensorData>);
  /** Default `F32`. */
  dtype?: TensorDtype;
}

/** The bytes of `data` as `dtype`; undefined where they are of another dtype. */
function bytesOf(data: TensorData, dtype: TensorDtype): Uint8Array | undefined {
  const rounded =
    data instanceof Float32Array && dtype === 'F16'
      ? float32ToHalf(data)
      : data instanceof Float32Array && dtype === 'BF16'
        ? float32ToBfloat16(data)
        : data;
  if (rounded.constructor !== tensorData(new Uint8Array(0), dtype).constructor) return undefined;
  return new Uint8Array(rounded.buffer, rounded.byteOffset, rounded.byteLength);
}

/**
 * Writes a safetensors file, whole or not at all (as `writeFileAtomic`); the data begins at a multiple of eight bytes.
 *
 * Throws {@link WeightsError} `E_WEIGHTS_DUPLICATE`, `E_WEIGHTS_SHAPE` or `E_WEIGHTS_DTYPE` for tensors that cannot be written.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Record<string, string> = {},
): Promise<void> {
  // Wide values first: each tensor then begins at a multiple of its item size.
  const ordered = [...tensors].sort((a, b) => ITEM_SIZE[b.dtype ?? 'F32'] - ITEM_SIZE[a.dtype ?? 'F32']);
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : [];
  const names = new Set(['__metadata__']);
  let at = 0;
  for (const { name, shape, dtype = 'F32' } of ordered) {
    if (names.has(name))
      throw new WeightsError('E_WEIGHTS_DUPLICATE', `${path}: tensor ${printable(name)}: expected a name of its own, found it taken`, {
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
    for (const { name, shape, data, dtype = 'F32' } of ordered) {
      const values = typeof data === 'function' ? await data() : data;
      const expected = shape.reduce((a, b) => a * b, 1);
      if (values.length !== expected)
        throw new WeightsError(
          'E_WEIGHTS_SHAPE',
          `${path}: tensor ${printable(name)}: expected ${expected} values for [${shape.join(', ')}], found ${values.length}`,
          {
            help: 'give the shape of the data',
          },
        );
      const bytes = bytesOf(values, dtype);
      if (!bytes)
        throw new WeightsError(
          'E_WEIGHTS_DTYPE',
          `${path}: tensor ${printable(name)}: expected values of ${dtype}, found a ${values.constructor.name}`,
          {
            help: 'give the values as a file of that dtype holds them, or as Float32Array for F32, F16 and BF16',
          },
        );
      yield bytes;
    }
  }
  await writeFileAtomic(path, chunks());
}
