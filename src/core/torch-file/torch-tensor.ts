import { WeightsError } from '../errors.js';
import { describeValue, isTuple, type ConstructionContext } from '../pickle/index.js';
import { asFloat32, ITEM_SIZE, tensorData, type TensorData, type TensorDtype } from '../tensor-file.js';
import { gather } from './gather.js';
import { TorchStorage } from './torch-storage.js';

/** As PyTorch's own. */
const MAX_DIMENSIONS = 64;

/** A product may pass every number on its way to zero. */
const sizeOf = (shape: readonly number[]): number => (shape.includes(0) ? 0 : shape.reduce((a, b) => a * b, 1));

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** A tensor of a PyTorch file: a view of a storage that is read when asked for. */
export class TorchTensor {
  readonly className = 'torch.Tensor';

  /** Of the storage's values, the first is at `storageOffset` and neighbours along an axis are `stride` apart. All checked when the file is opened. */
  constructor(
    readonly storage: TorchStorage,
    readonly dtype: TensorDtype,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
    readonly storageOffset: number,
    /** True for a `torch.nn.Parameter`, false for a buffer or any other tensor. */
    readonly isParameter = false,
  ) {}

  /** Number of values. */
  get size(): number {
    return sizeOf(this.shape);
  }

  asParameter(): TorchTensor {
    return new TorchTensor(this.storage, this.dtype, this.shape, this.stride, this.storageOffset, true);
  }

  /** The values, row-major, in their own dtype. `name` is named in errors. Throws {@link FileError} `E_FILE_CHANGED`, `E_FILE_TRUNCATED`. */
  async read(name = 'a tensor'): Promise<TensorData> {
    const { dtype, shape, stride, storageOffset, size } = this;
    if (size === 0) return tensorData(new Uint8Array(0), dtype);
    const last = shape.reduce((at, n, axis) => at + (n - 1) * stride[axis]!, storageOffset);
    const bytes = await this.storage.read(storageOffset * ITEM_SIZE[dtype], (last + 1) * ITEM_SIZE[dtype], `tensor ${name}`);
    return tensorData(gather(bytes, ITEM_SIZE[dtype], shape, stride), dtype);
  }

  /** The values as float32, whatever their dtype. Throws as `read`, and {@link WeightsError} `E_WEIGHTS_DTYPE` for 8-bit floats. */
  async readAsFloat32(name = 'a tensor'): Promise<Float32Array> {
    const values = asFloat32(await this.read(name), this.dtype);
    if (!values)
      throw new WeightsError('E_WEIGHTS_DTYPE', `tensor ${name}: expected a dtype that converts to float32, found ${this.dtype}`, {
        help: 'convert the file to float32, float16 or bfloat16 first',
      });
    return values;
  }
}

/** A {@link TorchTensor} of what a pickle says, checked against its storage. */
export function torchTensor(
  [storage, storageOffset, shape, stride]: readonly unknown[],
  context: ConstructionContext,
  dtype?: TensorDtype,
): TorchTensor {
  if (!(storage instanceof TorchStorage)) throw context.fail(`expected a storage for a tensor, found ${describeValue(storage)}`);
  const type = dtype ?? storage.dtype;
  if (!isTuple(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isCount))
    throw context.fail(`expected the shape of a tensor as at most ${MAX_DIMENSIONS} whole numbers, found ${describeValue(shape)}`);
  if (!isTuple(stride) || stride.length !== shape.length || !stride.every(isCount))
    throw context.fail(`expected ${shape.length} strides of whole numbers for a tensor, found ${describeValue(stride)}`);
  if (!isCount(storageOffset))
    throw context.fail(`expected the offset of a tensor as a whole number, found ${describeValue(storageOffset)}`);

  const sizes = shape as number[];
  const size = sizeOf(sizes);
  const tensor = new TorchTensor(storage, type, sizes, stride as number[], storageOffset);
  if (size === 0) return tensor;
  const span = sizes.reduce((at, n, axis) => at + (n - 1) * (stride[axis] as number), 1);
  const available = Math.floor(storage.byteLength / ITEM_SIZE[type]);
  if (!(storageOffset + span <= available))
    throw context.fail(
      `expected a tensor [${sizes.join(', ')}] with strides [${stride.join(', ')}] inside its storage of ${available} values, found its last value at ${storageOffset + span - 1}`,
    );
  if (size > span) context.budget.spend('repeatedValues', size);
  return tensor;
}
