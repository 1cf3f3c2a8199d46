/** Every metric on sets that are hard on it, and the radial spectrum of images, beside what test/tools/make_metric_cases.py says of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  densityCoverage,
  featureRows,
  FeatureStatistics,
  frechet,
  inceptionScore,
  kernelDistance,
  precisionRecall,
  RadialSpectrum,
  readNpz,
  type FeatureSet,
  type NpyArray,
} from '../../src/index.js';

interface Expected {
  neighbours: number;
  splits: number;
  frechet: number;
  frechetScipy: number | null;
  kernelDistance: number;
  inceptionScore: number;
  inceptionScoreSpread: number;
  precision: number;
  recall: number;
  density: number;
  coverage: number;
}

/** The first `count` rows of features as a set. */
export function featureSet({ shape, data }: NpyArray, count = shape[0]!, probabilities?: NpyArray): FeatureSet {
  const width = shape[1]!;
  const rows = (data as Float32Array).subarray(0, count * width);
  const statistics = new FeatureStatistics(width);
  statistics.add(rows);
  const set: FeatureSet = { extractor: 'golden', count, statistics: statistics.result(), features: featureRows(rows, width) };
  if (probabilities) set.probabilities = featureRows(probabilities.data as Float32Array, probabilities.shape[1]!);
  return set;
}

const trace = ({ statistics: { covariance, mean } }: FeatureSet) => mean.reduce((sum, _, k) => sum + covariance[k * (mean.length + 1)]!, 0);

/** Tests for the cases of a directory, which need not be there before they run. */
export function testMetricCases(directory: string, make: () => void = () => {}): void {
  const read = async () => {
    make();
    return {
      ...(JSON.parse(readFileSync(join(directory, 'cases.json'), 'utf8')) as {
        sets: Record<string, Expected>;
        spectra: Record<string, { frequencies: number[]; power: number[] }>;
      }),
      arrays: await readNpz(join(directory, 'cases.npz')),
    };
  };
  let reading: ReturnType<typeof read> | undefined;
  const cases = () => (reading ??= read());

  const each = async (check: (expected: Expected, generated: FeatureSet, reference: FeatureSet, name: string) => Promise<void>) => {
    const { sets, arrays } = await cases();
    const array = (name: string) => arrays.get(name)!;
    for (const [name, expected] of Object.entries(sets))
      await check(
        expected,
        featureSet(array(`${name}.generated`), undefined, array(`${name}.probabilities`)),
        featureSet(array(`${name}.reference`)),
        name,
      );
    expect(Object.keys(sets).length).toBeGreaterThan(10);
  };

  describe('sets that are hard on metrics', () => {
    it('have the Fréchet distance of 40 digits, and of SciPy where that keeps its own', { timeout: 120_000 }, () =>
      each(async (expected, generated, reference, name) => {
        for (const [a, b] of [
          [generated, reference],
          [reference, generated],
        ] as const) {
          const found = (await frechet().compute(a, b))['frechet']!;
          // Rounding of the statistics: their sizes and the means', whose squares the features hold in float32.
          const rounding = 1e-13 * (trace(a) + trace(b));
          expect(Math.abs(found - expected.frechet), name).toBeLessThanOrEqual(1e-9 * expected.frechet + rounding);
          // The root of a singular product is right to half of its digits: they are lost where the distance is small beside the traces.
          if (expected.frechetScipy !== null && expected.frechet > 0.01 * (trace(a) + trace(b)))
            expect(Math.abs(found / expected.frechetScipy - 1), name).toBeLessThan(1e-6);
        }
      }),
    );

    it('have the kernel distance of a sum pair by pair', () =>
      each(async (expected, generated, reference, name) => {
        const subsetSize = Math.min(generated.count, reference.count);
        const first = (set: FeatureSet) => {
          const { dimensions, chunks } = set.features!;
          return { ...set, count: subsetSize, features: featureRows(chunks[0]!.subarray(0, subsetSize * dimensions), dimensions) };
        };
        const found = await kernelDistance({ subsets: 1, subsetSize }).compute(first(generated), first(reference));
        // Three means of kernels, each as large as the largest kernel at most.
        const largest = Math.max(...[generated, reference].map((set) => largestKernel(set)));
        expect(Math.abs(found['kernelDistance']! - expected.kernelDistance), name).toBeLessThanOrEqual(
          1e-11 * Math.abs(expected.kernelDistance) + 1e-14 * largest,
        );
      }));

    it('have the Inception Score of NumPy, split by split', () =>
      each(async ({ splits, ...expected }, generated, _, name) => {
        const found = await inceptionScore({ splits }).compute(generated);
        for (const key of ['inceptionScore', 'inceptionScoreSpread'] as const)
          expect(Math.abs(found[key]! - expected[key]), `${key} of ${name}`).toBeLessThanOrEqual(1e-12 * (1 + expected.inceptionScore));
      }));

    it('have the precision, recall, density and coverage of sorted distances', () =>
      each(async ({ neighbours, precision, recall, density, coverage }, generated, reference, name) => {
        const found = {
          ...(await precisionRecall({ neighbours }).compute(generated, reference)),
          ...(await densityCoverage({ neighbours }).compute(generated, reference)),
        };
        for (const [key, value] of Object.entries({ precision, recall, density, coverage }))
          expect(found[key], `${key} of ${name}`).toBeCloseTo(value, 12);
      }));
  });

  it("images have the radial spectrum of NumPy's FFT", async () => {
    const { spectra, arrays } = await cases();
    for (const [size, expected] of Object.entries(spectra)) {
      const { shape, data } = arrays.get(`${size}.images`)!;
      const [, height, width, channels] = shape as [number, number, number, number];
      const spectrum = new RadialSpectrum({ height, width, channels });
      spectrum.add(data, shape as [number, number, number, number]);
      const { frequencies, power } = spectrum.result();
      expect(frequencies, size).toBeAllclose(expected.frequencies, { rtol: 1e-15, atol: 0 });
      expect(power, size).toBeAllclose(expected.power, { rtol: 1e-12, atol: 1e-12 * Math.max(...expected.power) });
    }
    expect(Object.keys(spectra).length).toBeGreaterThan(5);
  });
}

function largestKernel({ features }: FeatureSet): number {
  const { chunks, dimensions } = features!;
  const squares = Array.from({ length: features!.count }, (_, i) =>
    chunks[0]!.subarray(i * dimensions, (i + 1) * dimensions).reduce((sum, value) => sum + value ** 2, 0),
  );
  return (Math.max(...squares) / dimensions + 1) ** 3;
}
