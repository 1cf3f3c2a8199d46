import { describe, expect, it } from 'vitest';
import type { FeatureSet } from '../core/contracts/metric.js';
import { featureRows } from './feature-rows.js';
import { inceptionScore } from './inception-score.js';
import { setOf } from './test-support.js';

const withProbabilities = (rows: number[][]): FeatureSet => ({
  ...setOf(rows.map(() => [0])),
  probabilities: featureRows(Float32Array.from(rows.flat()), rows[0]!.length),
});
const oneHot = (classes: number, y: number) => Array.from({ length: classes }, (_, i) => (i === y ? 1 : 0));

describe('inceptionScore', () => {
  it('is the number of classes where every image is sure of one and all occur alike', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => oneHot(4, i % 4));
    const { inceptionScore: score, inceptionScoreSpread } = await inceptionScore({ splits: 10 }).compute(withProbabilities(rows));
    expect(score).toBeCloseTo(4, 12);
    expect(inceptionScoreSpread).toBeCloseTo(0, 12);
  });

  it('is 1 where all images are alike', async () => {
    const { inceptionScore: score } = await inceptionScore({ splits: 2 }).compute(withProbabilities([[0.2, 0.8], [0.2, 0.8], [0.2, 0.8], [0.2, 0.8]])); // prettier-ignore
    expect(score).toBeCloseTo(1, 6);
  });

  it('by hand: two splits in the order of the images, with their spread', async () => {
    // First split: two sure classes, exp(ln 2) = 2. Second: p = (1/2, 1/2) and (1, 0), whose mean is (3/4, 1/4).
    const second = Math.exp((0.5 * Math.log(0.5 / 0.75) + 0.5 * Math.log(0.5 / 0.25) + Math.log(1 / 0.75)) / 2);
    const rows = [[1, 0], [0, 1], [0.5, 0.5], [1, 0]]; // prettier-ignore
    const found = await inceptionScore({ splits: 2 }).compute(withProbabilities(rows));
    expect(found['inceptionScore']).toBeCloseTo((2 + second) / 2, 12);
    expect(found['inceptionScoreSpread']).toBeCloseTo((2 - second) / 2, 12);
  });

  it('refuses fewer images than splits, logits, sets without probabilities and unknown options', async () => {
    await expect(inceptionScore().compute(withProbabilities([[1, 0]]))).rejects.toThrow(
      /expected 10 generated images or more for 10 splits, got 1/,
    );
    await expect(inceptionScore({ splits: 1 }).compute(withProbabilities([[3, -1]]))).rejects.toThrow(
      /image 0: expected probabilities .* sum of 2/,
    );
    await expect(inceptionScore({ splits: 1 }).compute(withProbabilities([[0.5, NaN]]))).rejects.toThrow(/finite probabilities, got NaN/);
    await expect(inceptionScore().compute(setOf([[0], [1]]))).rejects.toThrow(
      /expected the probabilities of the generated images, got their statistics only/,
    );
    expect(() => inceptionScore({ splits: 0 })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  });
});
