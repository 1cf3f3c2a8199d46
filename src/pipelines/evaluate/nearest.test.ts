import { describe, expect, it } from 'vitest';
import { featureRows } from '../../metrics/feature-rows.js';
import { slerp } from '../numbered-images.js';
import { reportedName } from './metric-names.js';
import { median, nearestRows } from './nearest.js';

describe('nearestRows', () => {
  const references = featureRows(Float32Array.of(0, 0, 3, 4, 10, 0, 0, 1), 2);

  it('gives the nearest rows with Euclidean distances, the nearest first', async () => {
    const rows = await nearestRows([Float32Array.of(0, 0), Float32Array.of(10, 1)], references, 3);
    expect(rows.map(({ image }) => image)).toEqual([0, 1]);
    expect(rows[0]!.matches).toEqual([
      { reference: 0, distance: 0 },
      { reference: 3, distance: 1 },
      { reference: 1, distance: 5 },
    ]);
    expect(rows[1]!.matches.map(({ reference }) => reference)).toEqual([2, 1, 3]);
  });

  it('leaves a row out that is compared with its own set', async () => {
    const [row] = await nearestRows([Float32Array.of(0, 0)], references, 1, [0]);
    expect(row!.matches).toEqual([{ reference: 3, distance: 1 }]);
  });

  it('gives what there is where fewer are there than asked for', async () => {
    const [row] = await nearestRows([Float32Array.of(0, 0)], references, 9);
    expect(row!.matches).toHaveLength(4);
  });
});

it('the median of an even number is the mean of the two in the middle', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([5])]).toEqual([2, 2.5, 5]);
});

describe('slerp', () => {
  const [a, b] = [Float32Array.of(2, 0), Float32Array.of(0, 2)];

  it('walks the circle at an even pace and keeps the length, where a straight line would shrink', () => {
    expect(slerp(a, b, 0)).toBeAllclose([2, 0]);
    expect(slerp(a, b, 1)).toBeAllclose([0, 2]);
    expect(slerp(a, b, 1 / 3)).toBeAllclose([Math.sqrt(3), 1], { rtol: 1e-6 });
  });

  it('of equal or opposite ends is a line', () => {
    expect(slerp(a, a, 0.5)).toBeAllclose([2, 0]);
    expect(slerp(a, Float32Array.of(-2, 0), 0.25)).toBeAllclose([1, 0]);
  });
});

it('values have the names of the field, by extractor', () => {
  const names = (name: string) =>
    ['frechet', 'kernelDistance', 'inceptionScore', 'precision'].map((value) => reportedName(value, { name }));
  expect(names('inception-v3')).toEqual(['fid', 'kid', 'is', 'precision']);
  expect(names('clip-vit-b32')).toEqual(['clip_fid', 'clip_kid', 'clip_is', 'clip_precision']);
  expect(names('dinov2-vit-l14')).toEqual(['fd_dinov2', 'dinov2_kid', 'dinov2_is', 'dinov2_precision']);
  expect(names('shapes16-classifier')).toEqual(['frechet', 'kernel_distance', 'classifier_score', 'precision']);
});
