/** Every metric beside values that SciPy, scikit-learn and torchmetrics gave for the same features (test/golden/metrics). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  densityCoverage,
  featureRows,
  FeatureStatistics,
  frechet,
  inceptionScore,
  kernelDistance,
  precisionRecall,
  readNpz,
  readReference,
  type FeatureSet,
  type NpyArray,
} from '../src/index.js';

const golden = (name: string) => fileURLToPath(new URL(`golden/metrics/${name}`, import.meta.url));
const expected = JSON.parse(readFileSync(golden('metrics.json'), 'utf8')) as Record<string, number>;

/** The first `count` rows as a set. */
function setOf({ shape, data }: NpyArray, count = shape[0]!, probabilities?: NpyArray): FeatureSet {
  const width = shape[1]!;
  const rows = (data as Float32Array).subarray(0, count * width);
  const statistics = new FeatureStatistics(width);
  statistics.add(rows);
  const set: FeatureSet = { extractor: 'golden', count, statistics: statistics.result(), features: featureRows(rows, width) };
  if (probabilities) set.probabilities = featureRows(probabilities.data as Float32Array, probabilities.shape[1]!);
  return set;
}

describe('metrics beside other implementations', () => {
  let arrays: Map<string, NpyArray>;
  let generated: FeatureSet;
  let reference: FeatureSet;
  beforeAll(async () => {
    arrays = await readNpz(golden('metrics.npz'));
    generated = setOf(arrays.get('generated')!, undefined, arrays.get('probabilities')!);
    reference = setOf(arrays.get('reference')!);
  });
  const relative = (found: number | undefined, name: string) => Math.abs(found! / expected[name]! - 1);

  it('the Fréchet distance', async () => {
    expect(relative((await frechet().compute(generated, reference))['frechet'], 'frechet')).toBeLessThan(1e-9);
  });

  it('the Fréchet distance of singular covariances', async () => {
    const few = [setOf(arrays.get('generated')!, 15), setOf(arrays.get('reference')!, 20)] as const;
    expect(relative((await frechet().compute(...few))['frechet'], 'frechetSingular')).toBeLessThan(1e-10);
  });

  it('the kernel distance', async () => {
    const equal = setOf(arrays.get('generated')!, 260);
    const whole = kernelDistance({ subsets: 1, subsetSize: 260 });
    const { kernelDistance: found } = await whole.compute(equal, reference);
    expect(relative(found, 'kernelDistanceOfEqualSizes')).toBeLessThan(1e-10);
    const { kernelDistance: mean, kernelDistanceSpread: spread } = await kernelDistance({ subsets: 200, subsetSize: 100 }).compute(
      generated,
      reference,
    );
    expect(Math.abs(mean! - expected['kernelDistance']!)).toBeLessThan((4 * spread!) / Math.sqrt(200));
  });

  it('the Inception Score and its spread', async () => {
    const found = await inceptionScore().compute(generated);
    // torchmetrics computes in the float32 of its softmax.
    expect(relative(found['inceptionScore'], 'inceptionScore')).toBeLessThan(1e-5);
    expect(relative(found['inceptionScoreSpread'], 'inceptionScoreSpread')).toBeLessThan(1e-4);
  });

  it('precision and recall, density and coverage', async () => {
    const found = {
      ...(await precisionRecall().compute(generated, reference)),
      ...(await densityCoverage().compute(generated, reference)),
    };
    for (const name of ['precision', 'recall', 'density', 'coverage']) expect(found[name], name).toBeCloseTo(expected[name]!, 12);
  });

  it('statistics, and the pickle that EDM2 keeps them in', async () => {
    const read = await readReference(golden('edm2.pkl'));
    expect(read.mean).toBeAllclose(reference.statistics.mean, { rtol: 1e-12, atol: 0 });
    expect(read.covariance).toBeAllclose(reference.statistics.covariance, { rtol: 0, atol: 1e-12 });
    expect((await readReference(golden('edm2.pkl'), { statistics: 'fd_dinov2' })).mean).toHaveLength(2);
    await expect(readReference(golden('edm2.pkl'), { statistics: 'clip' })).rejects.toThrow(
      /expected statistics 'clip', found fid, fd_dinov2/,
    );
  });
});
