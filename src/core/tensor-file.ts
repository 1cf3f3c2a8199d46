/**
 * What an opened file of weights presents, whatever its format: named tensors, read one at a time.
 */

/** Bytes of one value, by dtype. */
export const ITEM_SIZE = {
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
export type TensorDtype = keyof typeof ITEM_SIZE;

/** Values of one tensor, row-major; `F16` and `BF16` are given as their bits, `BOOL` and 8-bit floats as bytes. */
export type TensorData =
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

/** What a file says of a tensor. */
export interface TensorEntry {
  dtype: TensorDtype;
  shape: readonly number[];
}

/** An open file of weights; it holds no file handle, so there is nothing to close. */
export interface TensorFile {
  /** What the file says of itself; empty where its format has no place for that. */
  readonly metadata: Readonly<Record<string, string>>;
  /** By name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /**
   * Reads one tensor in its own dtype, row-major.
   * Throws `E_WEIGHTS_MISSING` for an unknown name, `E_FILE_CHANGED` where the file is no longer the one that was opened.
   */
  read(name: string): Promise<TensorData>;
  /** Reads one tensor as float32, whatever its dtype. Throws as `read`, and `E_WEIGHTS_DTYPE` for 8-bit floats. */
  readAsFloat32(name: string): Promise<Float32Array>;
}

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

/** Float32 to bfloat16 bits: to nearest, ties to even. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const bitsOf = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const bits = bitsOf[i]!;
    // Rounding could turn a NaN into an infinity.
    out[i] = (bits & 0x7fffffff) > 0x7f800000 ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** A typed array over little-endian `bytes`, whose offset in their buffer must be a multiple of the item size. */
export function tensorData(bytes: Uint8Array, dtype: TensorDtype): TensorData {
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

/** Values of any dtype as float32; the same array where they are; undefined for 8-bit floats, which no network of the field is stored in. */
export function asFloat32(data: TensorData, dtype: TensorDtype): Float32Array | undefined {
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
