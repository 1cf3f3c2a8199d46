import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { FeatureSet, ImageShape } from '../core/contracts/metric.js';
import { FeatureCollector } from './feature-collector.js';
import { frechet } from './frechet.js';
import { inceptionScore } from './inception-score.js';
import { precisionRecall } from './precision-recall.js';
import { PixelExtractor, randomImages } from './test-support.js';

const directory = mkdtempSync(join(tmpdir(), 'onestep-features-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const COUNT = 1300;
const images = randomImages(COUNT);
const everything = [frechet(), precisionRecall(), inceptionScore()];
const shapeOf = (count: number): ImageShape => [count, 4, 4, 1];

/** Everything in a set, to the bit; much quicker to compare than the set. */
function bits({ statistics, features, probabilities, ...rest }: FeatureSet): string {
  const hash = createHash('sha256');
  for (const array of [statistics.mean, statistics.covariance, ...(features?.chunks ?? []), ...(probabilities?.chunks ?? [])])
    hash.update(`${array.length};`).update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return `${JSON.stringify(rest)} ${Object.keys({ features, probabilities }).join()} ${hash.digest('hex')}`;
}

async function addRange(collector: FeatureCollector, begin: number, end: number): Promise<void> {
  await collector.add(images.subarray(begin * 16, end * 16), shapeOf(end - begin));
}
async function collect(cuts: readonly number[], metrics = everything, extractor = new PixelExtractor(7)): Promise<FeatureSet> {
  const collector = new FeatureCollector(extractor, metrics);
  const edges = [0, ...cuts, COUNT].sort((a, b) => a - b);
  for (let i = 1; i < edges.length; i++) await addRange(collector, edges[i - 1]!, edges[i]!);
  return collector.result();
}

describe('FeatureCollector', () => {
  it('keeps the same bits however the images are cut into batches', async () => {
    const whole = await collect([]);
    expect(whole.count).toBe(COUNT);
    expect(whole.features!.chunks.map(({ length }) => length / 7)).toEqual([1024, 276]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(COUNT), { maxLength: 5 }), async (cuts) => {
        expect(bits(await collect(cuts))).toBe(bits(whole));
      }),
      { numRuns: 10 },
    );
  });

  it('keeps what the metrics need and no more, and reads the weights once', async () => {
    const extractor = new PixelExtractor(7);
    expect(Object.keys(await collect([500], [frechet()], extractor))).toEqual(['extractor', 'count', 'statistics']);
    expect(extractor.prepared).toBe(1);
    expect((await collect([], [inceptionScore()])).features).toBeUndefined();
    const { features, statistics } = await collect([], [precisionRecall()]);
    const first = features!.chunks[0]!.subarray(0, 7);
    expect(first).toEqual(Float32Array.from(images.subarray(0, 7), (v) => v / 255));
    const mean = features!.chunks.flatMap((chunk) => [...chunk]).filter((_, i) => i % 7 === 2).reduce((a, b) => a + b, 0) / COUNT; // prettier-ignore
    expect(statistics.mean[2]).toBeCloseTo(mean, 12);
  });

  it('keeps the order of its calls, awaited or not', async () => {
    const collector = new FeatureCollector(new PixelExtractor(7), everything);
    await Promise.all([addRange(collector, 0, 700), addRange(collector, 700, 701), addRange(collector, 701, COUNT)]);
    expect(bits(collector.result())).toBe(bits(await collect([])));
  });

  it('gives results in between that change neither then nor later', async () => {
    const collector = new FeatureCollector(new PixelExtractor(7), everything);
    await addRange(collector, 0, 150);
    const between = collector.result();
    const copy = bits(between);
    await addRange(collector, 150, COUNT);
    expect(bits(between)).toBe(copy);
    expect(bits(collector.result())).toBe(bits(await collect([])));
  });

  it('adds nothing of a batch that is refused', async () => {
    const broken = new PixelExtractor(7);
    const collector = new FeatureCollector(broken, everything);
    await addRange(collector, 0, 100);
    const before = bits(collector.result());
    broken.extractWithProbabilities = async () => ({ features: new Float32Array(14).fill(NaN), probabilities: new Float32Array(14) });
    await expect(addRange(collector, 100, 102)).rejects.toThrow(/row 100: expected finite features, got NaN/);
    broken.extractWithProbabilities = async () => ({ features: new Float32Array(14), probabilities: new Float32Array(14).fill(NaN) });
    await expect(addRange(collector, 100, 102)).rejects.toThrow(/image 100: expected finite probabilities/);
    broken.extractWithProbabilities = async () => ({ features: new Float32Array(13), probabilities: new Float32Array(14) });
    await expect(addRange(collector, 100, 102)).rejects.toThrow(/expected 2 rows of 7 features, got 13 values/);
    await expect(collector.add(images.subarray(0, 3), shapeOf(1))).rejects.toMatchObject({ code: 'E_SHAPE' });
    expect(bits(collector.result())).toBe(before);
  });

  it('refuses one image, and probabilities of an extractor that has none', async () => {
    const collector = new FeatureCollector(new PixelExtractor(7), everything);
    await addRange(collector, 0, 1);
    expect(() => collector.result()).toThrow(/two rows or more, got 1/);
    const { name, dimensions, extract } = new PixelExtractor(7);
    expect(() => new FeatureCollector({ name, dimensions, extract }, everything)).toThrow(
      /inception-score: expected an extractor that gives class probabilities, got pixels/,
    );
  });
});

describe('save and load', () => {
  const path = (name: string) => join(directory, `${name}.safetensors`);
  async function saved(name: string, count: number, metrics = everything): Promise<string> {
    const collector = new FeatureCollector(new PixelExtractor(7), metrics);
    await addRange(collector, 0, count);
    await collector.save(path(name));
    return path(name);
  }

  it.each([0, 1, 95, 96, 500, 1024, COUNT])('goes on after %i images, bit for bit', async (count) => {
    const file = await saved('resume', count);
    const collector = new FeatureCollector(new PixelExtractor(7), everything);
    await addRange(collector, 3, 40);
    await collector.load(file);
    expect(collector.count).toBe(count);
    await addRange(collector, count, COUNT);
    expect(bits(collector.result())).toBe(bits(await collect([])));
  });

  it('takes a file that keeps more, not one that keeps less', async () => {
    const fewer = new FeatureCollector(new PixelExtractor(7), [frechet()]);
    await fewer.load(await saved('more', COUNT));
    expect(bits(fewer.result())).toBe(bits(await collect([], [frechet()])));
    const more = new FeatureCollector(new PixelExtractor(7), everything);
    await expect(more.load(await saved('less', COUNT, [frechet()]))).rejects.toMatchObject({ code: 'E_FILE_OTHER_FEATURES' });
  });

  it('refuses files of other weights, absent, cut and damaged ones, and is unchanged then', async () => {
    const file = await saved('whole', 300);
    const collector = new FeatureCollector(new PixelExtractor(7, 'other'), everything);
    await expect(collector.load(file)).rejects.toThrow(/expected identity 'other', found 'original'/);
    const same = new FeatureCollector(new PixelExtractor(7), everything);
    await addRange(same, 0, 200);
    const before = bits(same.result());
    await expect(same.load(path('absent'))).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    const bytes = readFileSync(file);
    writeFileSync(path('cut'), bytes.subarray(0, -5));
    await expect(same.load(path('cut'))).rejects.toMatchObject({ code: 'E_FILE_TRUNCATED' });
    for (const at of [bytes.length - 100, bytes.length - 3000]) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1;
      writeFileSync(path('flipped'), flipped);
      await expect(same.load(path('flipped'))).rejects.toThrow(/its digest differs/);
    }
    expect(bits(same.result())).toBe(before);
  });
});
