import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { featureCache, ImageDigest } from './feature-cache.js';
import type { FeatureCollector } from './feature-collector.js';
import { frechet } from './frechet.js';
import { inceptionScore } from './inception-score.js';
import { precisionRecall } from './precision-recall.js';
import { PixelExtractor, randomImages } from './test-support.js';

const images = randomImages(120);
const metrics = [frechet(), precisionRecall()];
let directory: string;
let lines: string[];
let fills: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'onestep-cache-'));
  [lines, fills] = [[], 0];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const cache = (in_ = directory) => featureCache({ directory: in_, say: (line) => lines.push(line) });
const fill = async (collector: FeatureCollector) => {
  fills++;
  await collector.add(images, [120, 4, 4, 1]);
};
const collect = (options: Partial<Parameters<ReturnType<typeof cache>['collect']>[0]> = {}) =>
  cache().collect({ extractor: new PixelExtractor(5), metrics, images: 'set-a', fill, ...options });

describe('featureCache', () => {
  it('computes once; later ones read the same bits', async () => {
    const first = await collect();
    expect(await collect()).toEqual(first);
    expect(fills).toBe(1);
    expect(lines).toEqual([]);
    expect(readdirSync(directory)).toEqual([expect.stringMatching(/^[0-9a-f]{40}-statistics-features\.safetensors$/)]);
  });

  it('computes again for other images, other weights and more kinds of rows; not for fewer', async () => {
    await collect();
    await collect({ images: 'set-b' });
    await collect({ extractor: new PixelExtractor(5, 'trained') });
    expect(fills).toBe(3);
    expect((await collect({ metrics: [frechet()] })).features).toBeUndefined();
    expect(fills).toBe(3);
    await collect({ metrics: [...metrics, inceptionScore()] });
    expect(fills).toBe(4);
    await collect({ metrics: [inceptionScore()] });
    expect(fills).toBe(4);
  });

  it('computes damaged features again and says so in one line', async () => {
    const first = await collect();
    const file = join(directory, readdirSync(directory)[0]!);
    const bytes = readFileSync(file);
    for (const broken of [bytes.subarray(0, 1000), Buffer.from('not a file of ours'), Buffer.from(bytes).fill(1, bytes.length - 8)]) {
      writeFileSync(file, broken);
      lines = [];
      expect(await collect()).toEqual(first);
      expect(lines).toEqual([expect.stringMatching(/^cached features cannot be used, computing them again: .*safetensors/)]);
      lines = [];
      expect(await collect()).toEqual(first);
      expect(lines).toEqual([]);
    }
    expect(fills).toBe(4);
  });

  it('lets one compute where several want the same, and leaves nothing where that fails', async () => {
    await expect(collect({ fill: () => Promise.reject(new Error('interrupted')) })).rejects.toThrow('interrupted');
    expect(readdirSync(directory)).toEqual([]);
    const [a, b, c] = await Promise.all([collect(), collect(), collect()]);
    expect(fills).toBe(1);
    expect(b).toEqual(a);
    expect(c).toEqual(a);
    expect(readdirSync(directory)).toHaveLength(1);
  });

  it('computes without keeping where it cannot write, and for extractors without identity, and says so', async () => {
    writeFileSync(join(directory, 'file'), '');
    const found = await cache(join(directory, 'file')).collect({ extractor: new PixelExtractor(5), metrics, images: 'set-a', fill });
    expect(found.count).toBe(120);
    expect(lines).toEqual([expect.stringMatching(/^features are not kept: .*file/)]);
    const anonymous = Object.assign(new PixelExtractor(5), { identity: undefined });
    await collect({ extractor: anonymous });
    expect(lines[1]).toMatch(/pixels has no identity/);
    expect(fills).toBe(2);
    expect(readdirSync(directory)).toEqual(['file']);
  });

  it('lies in the cache directory of the package, and refuses unknown options', () => {
    const before = process.env['ONESTEP_CACHE'];
    process.env['ONESTEP_CACHE'] = directory;
    expect(featureCache().directory).toBe(join(directory, 'features'));
    if (before === undefined) delete process.env['ONESTEP_CACHE'];
    else process.env['ONESTEP_CACHE'] = before;
    expect(() => featureCache({ folder: 'x' } as object)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }));
  });

  it('makes its directory', async () => {
    const inside = join(directory, 'a', 'b');
    await cache(inside).collect({ extractor: new PixelExtractor(5), metrics, images: 'set-a', fill });
    expect(readdirSync(inside)).toHaveLength(1);
    mkdirSync(inside, { recursive: true });
  });
});

describe('ImageDigest', () => {
  const digest = (...batches: [Uint8Array, [number, number, number, number]][]) => {
    const made = new ImageDigest();
    for (const [values, shape] of batches) made.add(values, shape);
    return made.digest();
  };

  it('depends on images, their shape and order, not on batches', () => {
    const whole = digest([images, [120, 4, 4, 1]]);
    expect(whole).toMatch(/^[0-9a-f]{64}$/);
    expect(digest([images.subarray(0, 160), [10, 4, 4, 1]], [images.subarray(160), [110, 4, 4, 1]])).toBe(whole);
    expect(digest([images, [120, 2, 8, 1]])).not.toBe(whole);
    expect(digest([images.slice().reverse(), [120, 4, 4, 1]])).not.toBe(whole);
    expect(digest([images.subarray(16), [119, 4, 4, 1]])).not.toBe(whole);
  });
});
