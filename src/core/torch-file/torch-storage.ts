import { FileError } from '../errors.js';
import { type ByteSource } from '../pickle/index.js';
import { ITEM_SIZE, type TensorDtype } from '../tensor-file.js';

/** The classes that PyTorch names the type of a storage by. */
export const STORAGE_DTYPES: ReadonlyMap<string, TensorDtype> = new Map([
  ['DoubleStorage', 'F64'],
  ['FloatStorage', 'F32'],
  ['HalfStorage', 'F16'],
  ['BFloat16Storage', 'BF16'],
  ['LongStorage', 'I64'],
  ['IntStorage', 'I32'],
  ['ShortStorage', 'I16'],
  ['CharStorage', 'I8'],
  ['ByteStorage', 'U8'],
  ['BoolStorage', 'BOOL'],
  ['UntypedStorage', 'U8'],
  ['_UntypedStorage', 'U8'],
]);

/** PyTorch's names of dtypes. */
export const TORCH_DTYPES: ReadonlyMap<string, TensorDtype> = new Map([
  ['float64', 'F64'],
  ['double', 'F64'],
  ['float32', 'F32'],
  ['float', 'F32'],
  ['float16', 'F16'],
  ['half', 'F16'],
  ['bfloat16', 'BF16'],
  ['int64', 'I64'],
  ['long', 'I64'],
  ['uint64', 'U64'],
  ['int32', 'I32'],
  ['int', 'I32'],
  ['uint32', 'U32'],
  ['int16', 'I16'],
  ['short', 'I16'],
  ['uint16', 'U16'],
  ['int8', 'I8'],
  ['uint8', 'U8'],
  ['bool', 'BOOL'],
  ['float8_e4m3fn', 'F8_E4M3'],
  ['float8_e5m2', 'F8_E5M2'],
]);

/** The memory that tensors are views of: a range of the file. */
export class TorchStorage {
  /** Where its bytes begin; undefined until the container has been read to the end. */
  #place: { source: ByteSource; offset: number } | undefined;

  /** `length` counts values of `dtype`. A view begins at byte `viewOffset` of the storage `root`. */
  constructor(
    readonly key: string,
    readonly dtype: TensorDtype,
    readonly length: number,
    private readonly root?: TorchStorage,
    private readonly viewOffset = 0,
  ) {}

  get byteLength(): number {
    return this.length * ITEM_SIZE[this.dtype];
  }

  get located(): boolean {
    return (this.root ?? this).#place !== undefined;
  }

  /** Says where the bytes are; they must lie inside the source. */
  locate(source: ByteSource, offset: number): void {
    this.#place = { source, offset };
  }

  /** A copy of bytes `[begin, end)` of the storage. */
  async read(begin: number, end: number, what: string): Promise<Uint8Array> {
    const place = (this.root ?? this).#place;
    if (!place) throw new FileError('E_FILE_FORMAT', `${what}: its storage ${this.key} is not in the file`);
    const at = place.offset + this.viewOffset;
    return place.source.read(at + begin, at + end, what);
  }
}
