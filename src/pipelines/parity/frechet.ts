/**
 * Parity of the Fréchet distance.
 */
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { GaussianStatistics } from '../../core/contracts/metric.js';
import { FileError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { FeatureStatistics } from '../../metrics/feature-statistics.js';
import { frechetDistance } from '../../metrics/frechet.js';
import { readNpz, type NpyArray } from '../../core/npz.js';
import { readJson, type GoldenDirectory } from './golden-directory.js';
import { absent, TOLERANCES, verdict, within, type Report } from './report.js';

/**
 * Below this share of both traces, an error is measured against it: the distance is a difference of sums of that size,
 * and of equal sets nothing is left but their rounding.
 */
const NEGLIGIBLE = 1e-2;

/** Runs one check for each entry of `frechet.json`. */
export async function checkFrechet(report: Report, directory: GoldenDirectory): Promise<void> {
  let expected: Record<string, number> = {};
  const subject = 'frechet';
  if (directory.frechet !== undefined)
    await report.check(subject, 'frechet.json', async () => {
      expected = parseOptions(
        z.record(z.string(), z.number()),
        (await readJson(directory.frechet!)) as Record<string, number>,
        'frechet.json',
      );
      return verdict(undefined, `${Object.keys(expected).length} distances`);
    });
  for (const [name, value] of Object.entries(expected))
    await report.check(subject, name, async () => {
      const path = join(directory.path, `frechet-${name}.npz`);
      if (!directory.frechetSets.includes(path)) return absent(basename(path));
      const arrays = await readNpz(path);
      const [a, b] = ['features_a', 'features_b'].map((key) => statistics(arrays.get(key), key, path)) as [
        GaussianStatistics,
        GaussianStatistics,
      ];
      const found = frechetDistance(a, b);
      const scale = Math.max(Math.abs(value), NEGLIGIBLE * (trace(a) + trace(b)));
      const difference = Math.abs(found - value);
      return within(difference === 0 ? 0 : difference / scale, TOLERANCES.output, `expected ${value}, got ${found}`);
    });
  for (const path of directory.frechetSets) {
    const name = basename(path).slice('frechet-'.length, -'.npz'.length);
    if (!Object.hasOwn(expected, name)) await report.check(subject, name, () => absent(`${name} in frechet.json`));
  }
}

function statistics(features: NpyArray | undefined, key: string, path: string): GaussianStatistics {
  if (features?.shape.length !== 2)
    throw new FileError(
      'E_FILE_FORMAT',
      `${path}: expected ${key} of shape [N, D], found ${features ? `[${features.shape.join(', ')}]` : 'none'}`,
    );
  const collected = new FeatureStatistics(features.shape[1]!);
  collected.add(features.data);
  return collected.result();
}

function trace({ mean, covariance }: GaussianStatistics): number {
  let sum = 0;
  for (let d = 0; d < mean.length; d++) sum += covariance[d * (mean.length + 1)]!;
  return sum;
}
