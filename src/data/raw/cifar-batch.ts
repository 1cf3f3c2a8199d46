/**
 * One batch of CIFAR-10, in the binary and in the Python layout of its publisher (https://www.cs.toronto.edu/~kriz/cifar.html).
 */
import { readFile } from 'node:fs/promises';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import {
  BufferSource,
  describeValue,
  FileSource,
  NumpyArray,
  PICKLE_LIMITS,
  PickleBudget,
  PickledBytes,
  unpickle,
  type ByteSource,
} from '../../core/pickle/index.js';
import type { RawRun } from './raw-images.js';

/** 32 x 32 pixels in three planes. */
export const CIFAR_IMAGE_BYTES = 3072;

/** Where a batch is: a file, or bytes out of an archive. */
export type BatchContent = { path: string } | { bytes: Uint8Array };

/** Images and labels of a batch. */
export interface CifarBatch {
  run: RawRun;
  labels: ArrayLike<number>;
  /** Bytes after the last whole image. */
  rest: number;
}

/** Binary: one byte of label, then the image, again and again. */
export async function binaryBatch(name: string, content: BatchContent): Promise<CifarBatch> {
  const bytes = 'bytes' in content ? content.bytes : await withFileErrors(content.path, 'read', () => readFile(content.path));
  const stride = 1 + CIFAR_IMAGE_BYTES;
  const count = Math.floor(bytes.length / stride);
  return {
    run: { name, from: content, offset: 1, stride, count },
    labels: Uint8Array.from({ length: count }, (_, k) => bytes[k * stride]!),
    rest: bytes.length % stride,
  };
}

/** Batches come from Python 2 and, pickled anew, from any Python: as one text of protocol 2 their 30 MB are more than weights may have. */
const LIMITS = { ...PICKLE_LIMITS, textBytes: 2 ** 26, heldBytes: 2 ** 28 };

const notABatch = (name: string, problem: string) =>
  new FileError('E_FILE_FORMAT', `${name}: ${problem}`, { help: 'download and unpack cifar-10-python.tar.gz again' });

/** A dict whose keys are texts, or bytes as Python 3 makes them of Python 2's. */
async function pickledDict(name: string, content: BatchContent): Promise<Map<string, unknown>> {
  const source: ByteSource = 'bytes' in content ? new BufferSource(content.bytes, name) : new FileSource(content.path);
  try {
    const { value } = unpickle(source, { budget: new PickleBudget(name, LIMITS) });
    if (!(value instanceof Map)) throw notABatch(name, `expected a dict, found ${describeValue(value)}`);
    const named = new Map<string, unknown>();
    for (const [key, item] of value) named.set(await textOf(key), item);
    return named;
  } catch (error) {
    if (!(error instanceof FileError) || error.code !== 'E_PICKLE_GLOBAL') throw error;
    throw new FileError(error.code, error.message.split('\n')[0]!, {
      help: 'no published batch has that name in it: download cifar-10-python.tar.gz again',
      cause: error,
    });
  } finally {
    if (source instanceof FileSource) source.close();
  }
}

const textOf = async (value: unknown) =>
  value instanceof PickledBytes && value.length <= 1024 ? Buffer.from(await value.read()).toString('latin1') : String(value);

/** Python: a dict of `data`, an array [N, 3072] of uint8, and `labels`. Throws {@link FileError} `E_FILE_FORMAT`, `E_PICKLE_…`. */
export async function pythonBatch(name: string, content: BatchContent): Promise<CifarBatch> {
  const dict = await pickledDict(name, content);
  const data = dict.get('data');
  if (!(data instanceof NumpyArray) || data.dtype?.code !== 'u1' || data.shape.length !== 2 || data.shape[1] !== CIFAR_IMAGE_BYTES)
    throw notABatch(
      name,
      `expected data of uint8 [N, ${CIFAR_IMAGE_BYTES}], found ${
        data instanceof NumpyArray ? `${data.dtype?.code} [${data.shape.join(', ')}]` : describeValue(data)
      }`,
    );
  const count = data.shape[0]!;
  const labels = await labelList(dict.get('labels'));
  if (labels?.length !== count)
    throw notABatch(
      name,
      labels
        ? `expected ${count} labels, one an image, found ${labels.length}`
        : `expected a list of labels, found ${dict.has('fine_labels') ? 'those of CIFAR-100' : describeValue(dict.get('labels'))}`,
    );
  return { run: { name, count, ...(await whereIs(data)) }, labels, rest: 0 };
}

async function labelList(labels: unknown): Promise<number[] | undefined> {
  const list = labels instanceof NumpyArray ? await labels.list(10_000_000) : labels;
  return Array.isArray(list) ? list.map((label) => (typeof label === 'number' ? label : NaN)) : undefined;
}

/** The place of an array of bytes; one in Fortran's order is turned round in memory. */
async function whereIs({ data, shape, fortranOrder }: NumpyArray): Promise<Pick<RawRun, 'from' | 'offset'>> {
  const { source, offset, length } = data!;
  if (source instanceof FileSource && !fortranOrder) return { from: { path: source.name }, offset };
  const bytes = await source.read(offset, offset + length, 'its images');
  if (!fortranOrder) return { from: { bytes }, offset: 0 };
  const [rows, columns] = shape as [number, number];
  const turned = new Uint8Array(length);
  for (let c = 0, at = 0; c < columns; c++) for (let r = 0; r < rows; r++) turned[r * columns + c] = bytes[at++]!;
  return { from: { bytes: turned }, offset: 0 };
}

/** Names of the classes from `batches.meta` (a pickle) or `batches.meta.txt` (a line each); undefined: it has none. */
export async function classNames(name: string, content: BatchContent): Promise<string[] | undefined> {
  if (name.endsWith('.txt')) {
    const bytes = 'bytes' in content ? content.bytes : await withFileErrors(content.path, 'read', () => readFile(content.path));
    const lines = Buffer.from(bytes).toString('utf8').split('\n');
    return lines.map((line) => line.trim()).filter((line) => line !== '');
  }
  const names = (await pickledDict(name, content)).get('label_names');
  return Array.isArray(names) ? Promise.all(names.map(textOf)) : undefined;
}
