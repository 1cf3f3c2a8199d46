/**
 * Reference statistics on disk, in the format of EDM's FID references: an `.npz` with `mu` `[D]` and `sigma` `[D, D]`.
 */
import type { GaussianStatistics } from '../core/contracts/metric.js';
import { FileError } from '../core/errors.js';
import { readNpz, writeNpz } from '../core/npz.js';

/** Reads mean and covariance. Throws {@link FileError} as `readNpz`, and `E_FILE_FORMAT` where `mu` or `sigma` is missing or of another shape. */
export async function readReference(path: string): Promise<GaussianStatistics> {
  const arrays = await readNpz(path);
  const size = arrays.get('mu')?.data.length ?? 0;
  for (const [name, shape] of [
    ['mu', [size]],
    ['sigma', [size, size]],
  ] as const) {
    const found = arrays.get(name)?.shape;
    if (found?.join() !== shape.join())
      throw new FileError(
        'E_FILE_FORMAT',
        `${path}: ${name}: expected [${shape.join(', ')}], found ${found ? `[${found.join(', ')}]` : 'nothing'}`,
        {
          help: 'give an .npz with mu [D] and sigma [D, D], as the FID references of EDM',
        },
      );
  }
  return { mean: Float64Array.from(arrays.get('mu')!.data), covariance: Float64Array.from(arrays.get('sigma')!.data) };
}

/** Writes mean and covariance, whole or not at all. */
export async function writeReference(path: string, { mean, covariance }: GaussianStatistics): Promise<void> {
  const size = mean.length;
  await writeNpz(path, { mu: { shape: [size], data: mean }, sigma: { shape: [size, size], data: covariance } });
}
