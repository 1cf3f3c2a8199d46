import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FeatureExtractor } from '../../core/contracts/metric.js';
import { writeNpz } from '../../core/npz.js';
import { featureRows } from '../../metrics/feature-rows.js';
import { kernelDistance } from '../../metrics/kernel-distance.js';
import { readReference, writeReference } from '../../metrics/reference.js';
import { referenceAt, unservedMetrics, type ReadyReference } from './reference.js';

const EDM2 = fileURLToPath(new URL('../../../test/golden/metrics/edm2.pkl', import.meta.url));
const extractor = (name: string, dimensions: number): FeatureExtractor => ({
  name,
  dimensions,
  extract: () => Promise.reject(new Error('not asked for')),
});

describe('references that are there already', () => {
  let directory: string;
  beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), 'onestep-reference-'))));
  afterAll(() => rm(directory, { recursive: true }));

  it("are EDM2's pickle, by the extractor's name", async () => {
    const { mean } = await readReference(EDM2);
    const inception = await referenceAt(EDM2, extractor('inception-v3', mean.length));
    expect((inception as ReadyReference).set.statistics.mean).toEqual(mean);
    const { mean: other } = await readReference(EDM2, { statistics: 'fd_dinov2' });
    const dino = await referenceAt(EDM2, extractor('dinov2-vit-l14', other.length));
    expect((dino as ReadyReference).set.statistics.mean).toEqual(other);
    await expect(referenceAt(EDM2, extractor('inception-v3', mean.length + 1))).rejects.toMatchObject({ code: 'E_SHAPE' });
  });

  it('serve metrics of features where the file has rows', async () => {
    const statistics = { mean: Float64Array.of(0, 1), covariance: Float64Array.of(1, 0, 0, 1) };
    const path = join(directory, 'rows.npz');
    await writeReference(path, { ...statistics, features: featureRows(Float32Array.of(1, 2, 3, 4, 5, 6), 2) });
    const metrics = [kernelDistance()];
    const ready = (await referenceAt(path, extractor('mine', 2)))!;
    expect((ready as ReadyReference).set.count).toBe(3);
    expect(unservedMetrics(ready, metrics)).toEqual([]);

    const bare = join(directory, 'bare.npz');
    await writeReference(bare, statistics);
    const without = (await referenceAt(bare, extractor('mine', 2)))!;
    expect(unservedMetrics(without, metrics)).toEqual([expect.stringContaining('bare.npz holds mean and covariance only')]);
  });

  it('are not archives of images', async () => {
    const path = join(directory, 'images.npz');
    await writeNpz(path, { x: { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } });
    expect(await referenceAt(path, extractor('mine', 2))).toBeUndefined();
  });
});
