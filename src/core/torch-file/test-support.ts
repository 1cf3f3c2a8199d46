/** Pickles and PyTorch files written byte by byte, for tests of what is refused. */
import { OPCODE } from '../pickle/opcodes.js';

export const bytes = (...parts: (number | string | Uint8Array)[]): Uint8Array =>
  Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : typeof part === 'string' ? Buffer.from(part, 'latin1') : part)),
  );

export const u16 = (value: number) => {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value);
  return out;
};
export const u32 = (value: number) => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
};
export const u64 = (value: bigint | number) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return out;
};

/** A value of data as instructions of protocol 4; a tuple is `{ tuple }`, a global `{ global }`, raw instructions a Uint8Array. */
export type Written =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Written[]
  | { tuple: Written[] }
  | { global: string }
  | { dict: [Written, Written][] };

export function write(value: Written): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (value === null) return bytes(OPCODE.NONE);
  if (typeof value === 'boolean') return bytes(value ? OPCODE.NEWTRUE : OPCODE.NEWFALSE);
  if (typeof value === 'string') {
    const text = Buffer.from(value);
    return bytes(OPCODE.BINUNICODE, u32(text.length), text);
  }
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 31) return bytes(OPCODE.BININT, u32(value));
  if (typeof value === 'number' || typeof value === 'bigint') return bytes(OPCODE.LONG1, 16, u64(BigInt(value)), u64(BigInt(value) >> 64n));
  if (Array.isArray(value)) return bytes(OPCODE.MARK, ...value.map(write), OPCODE.LIST);
  if ('tuple' in value) return bytes(OPCODE.MARK, ...value.tuple.map(write), OPCODE.TUPLE);
  if ('dict' in value) return bytes(OPCODE.MARK, ...value.dict.flat().map(write), OPCODE.DICT);
  const dot = value.global.lastIndexOf('.');
  return bytes(OPCODE.GLOBAL, `${value.global.slice(0, dot)}\n${value.global.slice(dot + 1)}\n`);
}

/** `callable(*args)`. */
export const call = (name: string, ...args: Written[]) => bytes(write({ global: name }), write({ tuple: args }), OPCODE.REDUCE);

export const pickle = (...instructions: (number | string | Uint8Array)[]) => bytes(OPCODE.PROTO, 4, ...instructions, OPCODE.STOP);

/** A reference to a storage of a container. */
export const storage = (key: string, length: Written, type = 'torch.FloatStorage', view?: Written) =>
  bytes(write({ tuple: ['storage', { global: type }, key, 'cpu', length, ...(view === undefined ? [] : [view])] }), OPCODE.BINPERSID);

/** A tensor over a storage. */
export const tensor = (of: Uint8Array, offset: Written, shape: Written[], stride: Written[]) =>
  call('torch._utils._rebuild_tensor_v2', of, offset, { tuple: shape }, { tuple: stride }, false, null);

export interface LegacyParts {
  protocol?: Written;
  facts?: Written;
  object?: Uint8Array;
  keys?: Written;
  data?: Uint8Array;
}

export const MAGIC = 0x1950a86a20f9469cfc6cn;

/** The legacy container of one tensor [2], unless told otherwise. */
export const legacy = ({
  protocol = 1001,
  facts = { dict: [['little_endian', true]] },
  object = tensor(storage('a', 2, undefined, null), 0, [2], [1]),
  keys = ['a'],
  data = bytes(u64(2), new Uint8Array(Float32Array.of(1, 2).buffer)),
}: LegacyParts = {}) => bytes(...[MAGIC, protocol, facts, object, keys].map((part) => pickle(write(part))), data);

export interface ZipPart {
  name: string;
  data: Uint8Array;
  method?: number;
  flags?: number;
  /** What its own header says instead. */
  local?: { name?: string; size?: number; method?: number };
  /** What the directory says instead. */
  central?: { size?: number; uncompressedSize?: number; offset?: number };
}

/** A zip archive, whose headers may lie. */
export function zip(
  parts: readonly ZipPart[],
  options: { entryCount?: number; directoryOffset?: number; trailer?: string } = {},
): Uint8Array {
  const files: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, data, method = 0, flags = 0, local = {}, central = {} } of parts) {
    const localName = Buffer.from(local.name ?? name);
    const size = local.size ?? data.length;
    const header = bytes(
      'PK\x03\x04',
      u16(20),
      u16(flags),
      u16(local.method ?? method),
      u32(0),
      u32(0),
      u32(size),
      u32(size),
      u16(localName.length),
      u16(0),
      localName,
    );
    const centralSize = central.size ?? data.length;
    directory.push(
      bytes(
        'PK\x01\x02',
        u16(20),
        u16(20),
        u16(flags),
        u16(method),
        u32(0),
        u32(0),
        u32(centralSize),
        u32(central.uncompressedSize ?? centralSize),
      ),
      bytes(u16(Buffer.byteLength(name)), u16(0), u16(0), u16(0), u16(0), u32(0), u32(central.offset ?? at), Buffer.from(name)),
    );
    files.push(header, data);
    at += header.length + data.length;
  }
  const listing = bytes(...directory);
  const count = options.entryCount ?? parts.length;
  const end = bytes('PK\x05\x06', u16(0), u16(0), u16(count), u16(count), u32(listing.length), u32(options.directoryOffset ?? at), u16(0));
  return bytes(...files, listing, end, options.trailer ?? '');
}

/** The zip container of one tensor [2]. */
export const torchZip = (
  object: Uint8Array = tensor(storage('0', 2), 0, [2], [1]),
  others: readonly ZipPart[] = [],
  data = new Uint8Array(8),
) => zip([{ name: 'archive/data.pkl', data: pickle(object) }, { name: 'archive/data/0', data }, ...others]);
