import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { labelNames, shapes, type ShapesOptions } from './shapes.js';

const range = (length: number, start = 0) => Uint32Array.from({ length }, (_, k) => start + k);
const read = (options: ShapesOptions, indices: Uint32Array) => shapes(options).read(indices);
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

/** Each image's bytes as a string. */
async function each(options: ShapesOptions, indices: Uint32Array): Promise<string[]> {
  const { images, shape } = await read(options, indices);
  const bytes = shape[1] * shape[2] * shape[3];
  return Array.from(indices, (_, k) => sha256(images.subarray(k * bytes, (k + 1) * bytes)));
}

describe('shapes', () => {
  it('describes itself', async () => {
    expect(await shapes({ resolution: 16 }).open()).toEqual({ name: 'shapes-16', resolution: 16, channels: 3, classes: 10, size: 50_000 });
    const evaluation = shapes({ resolution: 24, split: 'evaluation', size: 7, classes: ['star', 'ring'] });
    expect(await evaluation.open()).toEqual({ name: 'shapes-24-evaluation', resolution: 24, channels: 3, classes: 2, size: 7 });
  });

  it('draws the same bytes in every version (golden)', async () => {
    const { images, shape, labels } = await read({ resolution: 16 }, range(100));
    expect(shape).toEqual([100, 16, 16, 3]);
    expect(labels).toEqual(range(100).map((k) => k % 10));
    expect(sha256(images)).toBe('d449e36cae5d27cdbe262a2e1db5e7bc8903d1502cffc298064de204809e6e5d');
    expect(sha256((await read({ resolution: 33, seed: 2 ** 40 + 5, split: 'evaluation' }, range(20, 1000))).images)).toBe(
      '5209054c301798c81e4759e3314fcb371811b6cb37f831dab941ba8fc9ee5827',
    );
  });

  it('gives image i whatever else is read with it, and whatever the size', async () => {
    const inOrder = await each({ resolution: 16 }, range(50));
    const reversed = await each({ resolution: 16, size: 50 }, range(50).reverse());
    expect(reversed.reverse()).toEqual(inOrder);
  });

  it('has no image twice, within and across splits and seeds', async () => {
    const sets = await Promise.all([
      each({ resolution: 16 }, range(5000)),
      each({ resolution: 16, split: 'evaluation' }, range(5000)),
      each({ resolution: 16, seed: 1 }, range(5000)),
      each({ resolution: 16, seed: 2 ** 32 }, range(5000)),
    ]);
    expect(new Set(sets.flat()).size).toBe(20_000);
  });

  it('is balanced, also over a subset of the classes', async () => {
    const { labels } = await read({ resolution: 8, classes: ['heart', 'ring', 'star'] }, range(300));
    expect([0, 1, 2].map((label) => labels!.filter((l) => l === label).length)).toEqual([100, 100, 100]);
    const heartsOnly = await read({ resolution: 16, classes: ['heart'] }, range(1));
    const tenth = await read({ resolution: 16, classes: ['heart', 'ring'] }, range(1));
    expect(heartsOnly.images).toEqual(tenth.images);
  });

  it('uses the whole range of values, with the shape clearly lighter or darker than the background', async () => {
    const { images } = await read({ resolution: 32 }, range(500));
    expect(images.reduce((low, v) => Math.min(low, v), 255)).toBeLessThan(5);
    expect(images.reduce((high, v) => Math.max(high, v), 0)).toBeGreaterThan(250);
    const pixels = 32 * 32;
    for (let k = 0; k < 500; k++) {
      const luma = Array.from({ length: pixels }, (_, p) => {
        const at = (k * pixels + p) * 3;
        return 0.2126 * images[at]! + 0.7152 * images[at + 1]! + 0.0722 * images[at + 2]!;
      }).sort((a, b) => a - b);
      // The shape covers at least a twentieth of the image, the background at least a third.
      expect(luma[Math.floor(pixels * 0.96)]! - luma[Math.floor(pixels * 0.04)]!).toBeGreaterThan(45);
    }
  });

  it('shows the same scene at every resolution', async () => {
    const small = await read({ resolution: 16 }, range(20));
    const large = await read({ resolution: 64 }, range(20));
    let difference = 0;
    for (let k = 0; k < 20 * 256 * 3; k++) {
      const [channel, column, row, image] = [k % 3, Math.floor(k / 3) % 16, Math.floor(k / 48) % 16, Math.floor(k / 768)];
      let mean = 0;
      for (let p = 0; p < 16; p++) {
        mean += large.images[((image * 64 + row * 4 + (p >> 2)) * 64 + column * 4 + (p & 3)) * 3 + channel]! / 16;
      }
      difference += Math.abs(mean - small.images[k]!) / (20 * 256 * 3);
    }
    expect(difference).toBeLessThan(3);
  });

  it('tells the classes apart: the nearest class mean of aligned silhouettes is better than chance', async () => {
    // A crude classifier on |image - corner| is enough to show that labels go with what is drawn.
    const silhouettes = async (split: 'train' | 'evaluation') => {
      const { images } = await read({ resolution: 16, split }, range(2000));
      return Array.from({ length: 2000 }, (_, k) => {
        const image = Float32Array.from({ length: 256 }, (_, p) => images[(k * 256 + p) * 3 + 1]!);
        const values = image.map((v) => Math.abs(v - image[0]!));
        const peak = values.reduce((a, b) => Math.max(a, b), 1);
        return values.map((v) => v / peak);
      });
    };
    const means = labelNames.map(() => new Float32Array(256));
    (await silhouettes('train')).forEach((image, k) => image.forEach((v, p) => (means[k % 10]![p]! += v / 200)));
    const right = (await silhouettes('evaluation')).filter((image, k) => {
      const distances = means.map((mean) => mean.reduce((sum, v, p) => sum + (v - image[p]!) ** 2, 0));
      return distances.indexOf(Math.min(...distances)) === k % 10;
    });
    expect(right.length / 2000).toBeGreaterThan(0.25);
  });

  it('reports every wrong option at once', () => {
    const wrong = { resolution: 4, sise: 3, split: 'test', classes: ['star', 'star'] } as unknown as ShapesOptions;
    expect(() => shapes(wrong)).toThrow(ConfigError);
    expect(() => shapes(wrong)).toThrow(/resolution.*\n.*split.*\n.*classes: each class once\n.*sise/);
  });

  it('rejects an index outside the set and an aborted signal', async () => {
    await expect(read({ resolution: 16, size: 10 }, range(1, 10))).rejects.toThrow('shapes: expected an index below 10, got 10');
    await expect(shapes({ resolution: 16 }).read(range(1), AbortSignal.abort())).rejects.toThrow(/abort/i);
  });

  it('is fast enough to feed a training step: over 10,000 images of 16 pixels in a second', async () => {
    const source = shapes({ resolution: 16 });
    await source.read(range(2000));
    let best = Infinity;
    for (let k = 1; k <= 3; k++) {
      const begin = performance.now();
      await source.read(range(2000, 2000 * k));
      best = Math.min(best, (performance.now() - begin) / 1000);
    }
    expect(2000 / best).toBeGreaterThan(10_000);
  });
});
