/** Every metric beside values that SciPy, scikit-learn and torchmetrics gave for the same features (test/golden/metrics). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  densityCoverage,
  frechet,
  inceptionScore,
  kernelDistance,
  precisionRecall,
  readNpz,
  readReference,
  type FeatureSet,
  type NpyArray,
} from '../src/index.js';
import { featureSet, testMetricCases } from './support/metric-cases.js';

const golden = (name: string) => fileURLToPath(new URL(`golden/metrics/${name}`, import.meta.url));
const expected = JSON.parse(readFileSync(golden('metrics.json'), 'utf8')) as Record<string, number>;

describe('metrics beside other implementations', () => {
  let arrays: Map<string, NpyArray>;
  let generated: FeatureSet;
  let reference: FeatureSet;
  beforeAll(async () => {
    arrays = await readNpz(golden('metrics.npz'));
    generated = featureSet(arrays.get('generated')!, undefined, arrays.get('probabilities')!);
    reference = featureSet(arrays.get('reference')!);
  });
  const relative = (found: number | undefined, name: string) => Math.abs(found! / expected[name]! - 1);

  it('the Fréchet distance', async () => {
    expect(relative((await frechet().compute(generated, reference))['frechet'], 'frechet')).toBeLessThan(1e-9);
  });

  it('the Fréchet distance of singular covariances', async () => {
    const few = [featureSet(arrays.get('generated')!, 15), featureSet(arrays.get('reference')!, 20)] as const;
    expect(relative((await frechet().compute(...few))['frechet'], 'frechetSingular')).toBeLessThan(1e-10);
  });

  it('the kernel distance', async () => {
    const equal = featureSet(arrays.get('generated')!, 260);
    const whole = kernelDistance({ subsets: 1, subsetSize: 260 });
    const { kernelDistance: found } = await whole.compute(equal, reference);
    expect(relative(found, 'kernelDistanceOfEqualSizes')).toBeLessThan(1e-10);
    const { kernelDistance: mean, kernelDistanceSpread: spread } = await kernelDistance({ subsets: 200, subsetSize: 100 }).compute(
      generated,
      reference,
    );
    expect(Math.abs(mean! - expected['kernelDistance']!)).toBeLessThan((4 * spread!) / Math.sqrt(200));
  });

  it('the spread of the kernel distance is the deviation over the subsets', async () => {
    const of = (subsets: number) => kernelDistance({ subsets, subsetSize: 40, seed: 3 }).compute(generated, reference);
    const [one, two, three] = [await of(1), await of(2), await of(3)].map(({ kernelDistance: mean }) => mean!) as [number, number, number];
    // The first subsets are the same ones, so that their values follow from the means of one, two and three.
    const values = [one, 2 * two - one, 3 * three - 2 * two];
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - three) ** 2, 0) / 3);
    expect(deviation).toBeGreaterThan(0);
    expect((await of(3))['kernelDistanceSpread']! / deviation).toBeCloseTo(1, 9);
    expect((await of(1))['kernelDistanceSpread']).toBe(0);
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

testMetricCases(golden(''));
