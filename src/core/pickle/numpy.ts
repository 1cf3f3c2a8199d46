/**
 * NumPy's scalars and arrays: a published snapshot counts its images in them.
 */
import { BufferSource } from './byte-source.js';
import {
  describeValue,
  isTuple,
  PickledBytes,
  PickledObject,
  type ConstructionContext,
  type DataConstructor,
  type PickledTuple,
} from './values.js';

/** Kind and bytes, as `f8`, `i4`, `b1`. */
const NUMBER = /^[<>|=]?([fiub])(1|2|4|8)$/;

/** The type of an array's values; `state` holds the byte order. */
export class NumpyDtype extends PickledObject {
  byteOrder: '<' | '>' = '<';

  constructor(args: PickledTuple) {
    super('numpy', 'dtype', args);
  }

  /** As `f8`; undefined: no type of numbers. */
  get code(): string | undefined {
    const [code] = this.args;
    const match = typeof code === 'string' ? NUMBER.exec(code) : null;
    return match ? `${match[1]}${match[2]}` : undefined;
  }

  get itemSize(): number | undefined {
    return this.code === undefined ? undefined : Number(this.code.slice(1));
  }

  override build(state: unknown, context: ConstructionContext): void {
    if (!isTuple(state) || typeof state[1] !== 'string')
      throw context.fail(`expected the state of a numpy.dtype, found ${describeValue(state)}`);
    if (state[1] === '>') this.byteOrder = '>';
    this.state = state;
  }
}

/** Python 2 writes an array's bytes as a text of characters below 256; other values are given back. */
function bytesOfPython2(data: unknown, context: ConstructionContext): unknown {
  if (typeof data !== 'string' || /[^\0-\xff]/.test(data)) return data;
  context.budget.spend('heldBytes', data.length);
  return new PickledBytes(new BufferSource(Buffer.from(data, 'latin1')), 0, data.length);
}

/** An array: its description and where its bytes are. */
export class NumpyArray extends PickledObject {
  shape: readonly number[] = [0];
  dtype: NumpyDtype | undefined;
  fortranOrder = false;
  data: PickledBytes | undefined;

  constructor() {
    super('numpy', 'ndarray');
  }

  override build(state: unknown, context: ConstructionContext): void {
    if (!isTuple(state) || state.length !== 5) throw context.fail(`expected the state of a numpy.ndarray, found ${describeValue(state)}`);
    const [, shape, dtype, fortranOrder, data] = state;
    this.describe(shape, dtype, bytesOfPython2(data, context), context);
    this.fortranOrder = fortranOrder === true || fortranOrder === 1;
  }

  describe(shape: unknown, dtype: unknown, data: unknown, context: ConstructionContext): void {
    if (!isTuple(shape) || shape.length > 64 || !shape.every((n) => Number.isSafeInteger(n) && (n as number) >= 0))
      throw context.fail(`expected a shape of whole numbers for a numpy.ndarray, found ${describeValue(shape)}`);
    if (!(dtype instanceof NumpyDtype)) throw context.fail(`expected a numpy.dtype, found ${describeValue(dtype)}`);
    if (dtype.itemSize === undefined) throw context.fail(`expected an array of numbers, found numpy.dtype ${describeValue(dtype.args[0])}`);
    const bytes = (shape as number[]).reduce((a, b) => a * b, dtype.itemSize);
    if (!(data instanceof PickledBytes) || data.length !== bytes)
      throw context.fail(`expected ${bytes} bytes for a numpy.ndarray of [${shape.join(', ')}], found ${describeValue(data)}`);
    this.shape = shape as number[];
    this.dtype = dtype;
    this.data = data;
  }

  /** The values of an array of one axis, at most `limit` of them; undefined for other arrays and for values that are no numbers. */
  async list(limit: number): Promise<(number | bigint | boolean)[] | undefined> {
    const { dtype, data, shape } = this;
    if (!dtype?.itemSize || !data || shape.length !== 1 || shape[0]! > limit) return undefined;
    const { itemSize } = dtype;
    const bytes = await data.read();
    const values = Array.from({ length: shape[0]! }, (_, i) => scalarOf(bytes.subarray(i * itemSize, (i + 1) * itemSize), dtype));
    return values.includes(undefined) ? undefined : (values as (number | bigint | boolean)[]);
  }
}

function scalarOf(bytes: Uint8Array, dtype: NumpyDtype): number | bigint | boolean | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = dtype.byteOrder === '<';
  const small = (value: bigint) => (BigInt.asIntN(53, value) === value ? Number(value) : value);
  switch (dtype.code) {
    case 'b1':
      return bytes[0] !== 0;
    case 'i1':
      return view.getInt8(0);
    case 'u1':
      return view.getUint8(0);
    case 'i2':
      return view.getInt16(0, little);
    case 'u2':
      return view.getUint16(0, little);
    case 'i4':
      return view.getInt32(0, little);
    case 'u4':
      return view.getUint32(0, little);
    case 'i8':
      return small(view.getBigInt64(0, little));
    case 'u8':
      return small(view.getBigUint64(0, little));
    case 'f4':
      return view.getFloat32(0, little);
    case 'f8':
      return view.getFloat64(0, little);
    default:
      return undefined;
  }
}

const scalar: DataConstructor = {
  call(args, context) {
    const dtype = args[0];
    const data = bytesOfPython2(args[1], context);
    if (args.length !== 2 || !(dtype instanceof NumpyDtype) || !(data instanceof PickledBytes))
      throw context.fail(`expected a numpy.dtype and bytes for a NumPy scalar, found ${args.map(describeValue).join(', ')}`);
    if (dtype.itemSize === undefined || data.length !== dtype.itemSize)
      throw context.fail(`expected a NumPy number, found ${data.length} bytes of numpy.dtype ${describeValue(dtype.args[0])}`);
    const bytes = new Uint8Array(data.length);
    data.source.readSync(bytes, data.offset);
    const value = scalarOf(bytes, dtype);
    if (value === undefined) throw context.fail(`expected a NumPy number, found numpy.dtype ${describeValue(dtype.args[0])}`);
    return value;
  },
};

const fromBuffer: DataConstructor = {
  call(args, context) {
    const [data, dtype, shape, order] = args;
    const made = new NumpyArray();
    made.describe(shape, dtype, data, context);
    made.fortranOrder = order === 'F';
    return made;
  },
};

const dtype: DataConstructor = { call: (args) => new NumpyDtype(args) };
const emptyArray: DataConstructor = { call: () => new NumpyArray() };

export const numpyConstructors: readonly (readonly [string, DataConstructor])[] = [
  ['numpy.dtype', dtype],
  ['numpy.ndarray', {}],
  // The module was renamed in NumPy 2.
  ...['numpy.core', 'numpy._core'].flatMap((core): [string, DataConstructor][] => [
    [`${core}.multiarray.scalar`, scalar],
    [`${core}.multiarray._reconstruct`, emptyArray],
    [`${core}.numeric._frombuffer`, fromBuffer],
  ]),
];
