/**
 * Reference statistics on disk, in the format of EDM's FID references: an `.npz` with `mu` `[D]` and `sigma` `[D, D]`.
 */
import { open } from 'node:fs/promises';
import type { FeatureRows, GaussianStatistics } from '../core/contracts/metric.js';
import { FileError } from '../core/errors.js';
import { withFileErrors } from '../core/files.js';
import { readNpz, writeNpz, type NpyArray } from '../core/npz.js';
import { FileSource, NumpyArray, unpickle, type ByteSource } from '../core/pickle/index.js';
import { featureRows } from './feature-rows.js';

/** Statistics, and where the file has them the rows they are of: under names of their own, which readers of `mu` and `sigma` pass over. */
export interface ReferenceArrays extends GaussianStatistics {
  /** `features` in the file, `[N, D]` float32. */
  features?: FeatureRows;
  /** `probabilities` in the file, `[N, classes]` float32. */
  probabilities?: FeatureRows;
}

/** Options of `readReference`. */
export interface ReadReferenceOptions {
  /** Which statistics of a pickle that holds several, as EDM2's with `fid` and `fd_dinov2`. Default `fid`. */
  statistics?: string;
}

const ROWS = ['features', 'probabilities'] as const;

/**
 * Reads an `.npz`, or a pickled dictionary: `{mu, sigma}`, or `{fid: {mu, sigma}, …}` as EDM2's references; nothing in a pickle is run.
 *
 * Throws {@link FileError} as `readNpz` and `unpickle`, and `E_FILE_FORMAT` where `mu` or `sigma` is missing, of another shape or not finite.
 */
export async function readReference(path: string, { statistics = 'fid' }: ReadReferenceOptions = {}): Promise<ReferenceArrays> {
  const arrays = (await isPickle(path)) ? await pickledArrays(path, statistics) : await readNpz(path, ['mu', 'sigma', ...ROWS]);
  const size = arrays.get('mu')?.data.length ?? 0;
  const refuse = (name: string, expected: string, found: string) =>
    new FileError('E_FILE_FORMAT', `${path}: ${name}: expected ${expected}, found ${found}`, {
      help: 'give an .npz with mu [D] and sigma [D, D], as the FID references of EDM',
    });
  const described = (name: string) => (arrays.has(name) ? `[${arrays.get(name)!.shape.join(', ')}]` : 'nothing');
  for (const [name, shape] of [
    ['mu', [size]],
    ['sigma', [size, size]],
  ] as const) {
    if (arrays.get(name)?.shape.join() !== shape.join()) throw refuse(name, `[${shape.join(', ')}]`, described(name));
    const wrong = arrays.get(name)!.data.find((value) => !Number.isFinite(value));
    if (wrong !== undefined) throw refuse(name, 'finite values', String(wrong));
  }
  const reference: ReferenceArrays = {
    mean: Float64Array.from(arrays.get('mu')!.data),
    covariance: Float64Array.from(arrays.get('sigma')!.data),
  };
  for (const name of ROWS) {
    const rows = arrays.get(name);
    if (!rows) continue;
    const width = rows.shape[1] ?? 0;
    if (rows.shape.length !== 2 || width === 0 || (name === 'features' && width !== size))
      throw refuse(name, name === 'features' ? `[N, ${size}]` : '[N, classes]', described(name));
    reference[name] = featureRows(rows.data instanceof Float32Array ? rows.data : Float32Array.from(rows.data), width);
  }
  return reference;
}

/** Writes mean and covariance, and rows where they are given, whole or not at all; NumPy and EDM's tools read it. Throws as `writeNpz`. */
export async function writeReference(path: string, { mean, covariance, ...rows }: ReferenceArrays): Promise<void> {
  const size = mean.length;
  const arrays: Record<string, NpyArray> = { mu: { shape: [size], data: mean }, sigma: { shape: [size, size], data: covariance } };
  for (const name of ROWS) {
    if (!rows[name]) continue;
    const { count, dimensions, chunks } = rows[name];
    const data = new Float32Array(count * dimensions);
    let at = 0;
    for (const chunk of chunks) {
      data.set(chunk, at);
      at += chunk.length;
    }
    arrays[name] = { shape: [count, dimensions], data };
  }
  await writeNpz(path, arrays);
}

/** A pickle of protocol 2 or later begins with the byte 0x80 and its protocol; a zip with PK. */
const isPickle = (path: string): Promise<boolean> =>
  withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
      return bytesRead === 2 && buffer[0] === 0x80 && buffer[1]! >= 2;
    } finally {
      await handle.close();
    }
  });

async function pickledArrays(path: string, statistics: string): Promise<Map<string, NpyArray>> {
  const source = new FileSource(path);
  try {
    return await arraysIn(source, statistics);
  } finally {
    source.close();
  }
}

async function arraysIn(source: ByteSource, statistics: string): Promise<Map<string, NpyArray>> {
  const { value: root } = unpickle(source);
  const refuse = (expected: string, found: string) =>
    new FileError('E_FILE_FORMAT', `${source.name}: expected ${expected}, found ${found}`, {
      help: 'give an .npz with mu and sigma, or a pickle of EDM2 that holds these statistics',
    });
  if (!(root instanceof Map)) throw refuse('a dictionary of statistics', 'another object');
  const found: unknown = root.has('mu') ? root : root.get(statistics);
  if (!(found instanceof Map)) throw refuse(`statistics '${statistics}'`, [...root.keys()].slice(0, 8).map(String).join(', ') || 'none');
  const arrays = new Map<string, NpyArray>();
  for (const name of ['mu', 'sigma']) {
    const array: unknown = found.get(name);
    if (!(array instanceof NumpyArray) || !array.data || array.dtype === undefined) continue;
    const { code, byteOrder } = array.dtype;
    if ((code !== 'f8' && code !== 'f4') || byteOrder !== '<')
      throw refuse(`${name} in little-endian float64 or float32`, `${byteOrder}${code}`);
    // Fresh bytes, so that they begin where values may.
    const { buffer } = Uint8Array.from(await array.data.read());
    // A symmetric matrix is the same in either order.
    arrays.set(name, { shape: array.shape, data: code === 'f8' ? new Float64Array(buffer) : new Float32Array(buffer) });
  }
  return arrays;
}
