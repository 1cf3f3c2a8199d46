import { statSync, truncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FileMaker, npy } from '../../../test/support/image-files.js';
import { npzImages, type NpzImagesOptions } from './npz-images.js';

const files = new FileMaker('npz');
const npz = (arrays: Readonly<Record<string, Uint8Array>>, compress = false) =>
  files.zip(Object.fromEntries(Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes])), { name: 'a.npz', compress });

const COUNT = 5;
/** `[N, 4, 4, 3]`: value = 48 k + its place. */
const pixels = Uint8Array.from({ length: COUNT * 48 }, (_, k) => k);
const planes = Uint8Array.from({ length: COUNT * 48 }, (_, at) => {
  const [image, c, pixel] = [Math.floor(at / 48), Math.floor(at / 16) % 3, at % 16];
  return pixels[image * 48 + pixel * 3 + c]!;
});
const labels = (values: readonly number[]) => npy('<i8', [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));

async function readAll(path: string, options?: NpzImagesOptions) {
  const source = npzImages(path, options);
  const description = await source.open();
  const batch = await source.read(Uint32Array.from({ length: description.size }, (_, k) => description.size - 1 - k));
  await source.close();
  return { description, batch };
}
const lastFirst = Uint8Array.from({ length: COUNT * 48 }, (_, at) => pixels[(COUNT - 1 - Math.floor(at / 48)) * 48 + (at % 48)]!);

describe('npzImages', () => {
  for (const compress of [false, true])
    it(`reads pixels and planes, ${compress ? 'compressed' : 'stored'}`, async () => {
      const a = await readAll(await npz({ images: npy('|u1', [COUNT, 4, 4, 3], pixels), labels: labels([3, 1, 0, 2, 1]) }, compress));
      expect(a.description).toMatchObject({ size: COUNT, resolution: 4, channels: 3, classes: 4 });
      expect(a.batch.images).toEqual(lastFirst);
      expect([...a.batch.labels!]).toEqual([1, 2, 0, 1, 3]);
      const b = await readAll(await npz({ arr_0: npy('|u1', [COUNT, 3, 4, 4], planes) }, compress));
      expect(b.description).toMatchObject({ size: COUNT, resolution: 4, channels: 3, classes: 0 });
      expect(b.batch.images).toEqual(lastFirst);
      expect(b.batch.labels).toBeUndefined();
    });

  it('reads greys, other names, other widths of labels, and the layout that it is told', async () => {
    const path = await npz({ x: npy('|u1', [15, 4, 4], pixels), y: npy('|u1', [15, 1], new Uint8Array(15).fill(7)) });
    expect((await readAll(path)).description).toMatchObject({ size: 15, channels: 1, classes: 8 });
    expect((await readAll(path, { labels: false })).description.classes).toBe(0);
    const named = await npz({
      photos: npy('|u1', [COUNT, 4, 4, 3], pixels),
      kinds: npy('<u2', [COUNT], new Uint8Array(Uint16Array.of(1, 2, 300, 0, 0).buffer)),
    });
    const { description, batch } = await readAll(named, { images: 'photos', labels: 'kinds' });
    expect([description.classes, ...batch.labels!]).toEqual([301, 0, 0, 300, 2, 1]);
    for (const [descr, bytes, expected] of [
      ['>i4', Uint8Array.from([1, 2, 0, 0, 1].flatMap((label) => [0, 0, 1, label])), [257, 258, 256, 256, 257]],
      ['|b1', Uint8Array.of(1, 0, 0, 1, 1), [1, 0, 0, 1, 1]],
      ['|i1', Uint8Array.of(1, 0, 0, 1, 127), [1, 0, 0, 1, 127]],
    ] as const) {
      const { batch: read } = await readAll(await npz({ images: npy('|u1', [COUNT, 4, 4, 3], pixels), y: npy(descr, [COUNT], bytes) }));
      expect([...read.labels!].reverse()).toEqual(expected);
    }
    const both = await npz({ images: npy('|u1', [2, 3, 3, 3], pixels.subarray(0, 54)) });
    expect((await readAll(both, { layout: 'NCHW' })).batch.images[1]).toBe(pixels[27 + 9]);
    expect((await readAll(both)).batch.images[1]).toBe(pixels[28]);
  });

  it('stops at a label that is none, or leaves its image out', async () => {
    const path = await npz({ images: npy('|u1', [COUNT, 4, 4, 3], pixels), labels: labels([0, -1, 1, 0, 1]) });
    await expect(npzImages(path).open()).rejects.toMatchObject({
      code: 'E_IMAGE_LABEL',
      message: expect.stringMatching(/images\.npy\[1\].*found -1/),
    });
    const { description, batch } = await readAll(path, { onInvalid: 'skip' });
    expect(description).toMatchObject({ size: 4, skipped: 1 });
    expect(batch.images[48 * 2]).toBe(pixels[48 * 2]); // 4 3 2 0
    expect(batch.images[48 * 3]).toBe(pixels[0]);
  });

  const image = (shape: number[], descr = '|u1', fortran = false) => npy(descr, shape, pixels, { fortran });
  it.each([
    ['no images', () => npz({ mu: image([240]) }), 'E_FILE_FORMAT', /expected an array of images named images, arr_0, x, found mu\.npy/],
    ['floats', () => npz({ images: image([60], '<f4') }), 'E_FILE_FORMAT', /expected bytes \(uint8\).*found <f4.*\nhelp: .*uint8/s],
    [
      'objects',
      () => npz({ images: image([3], '|O') }),
      'E_FILE_FORMAT',
      /images\.npy: expected numbers, found \|O, pickled objects of Python: nothing/,
    ],
    ['texts', () => npz({ images: image([80], '<U3') }), 'E_FILE_FORMAT', /expected numbers, found <U3/],
    ['too few axes', () => npz({ images: image([20, 12]) }), 'E_FILE_FORMAT', /found \[20, 12\]/],
    ['no channels', () => npz({ images: image([1, 6, 8, 5]) }), 'E_FILE_FORMAT', /1 to 4 channels, found \[1, 6, 8, 5\]/],
    ['Fortran order', () => npz({ images: image([COUNT, 4, 4, 3], '|u1', true) }), 'E_FILE_FORMAT', /ascontiguousarray/],
    ['a shape that its bytes do not have', () => npz({ images: image([COUNT + 1, 4, 4, 3]) }), 'E_FILE_FORMAT', /expected 288 bytes/],
    [
      'too few labels',
      () => npz({ images: image([COUNT, 4, 4, 3]), labels: labels([1]) }),
      'E_FILE_FORMAT',
      /expected labels of whole numbers \[5\], found <i8 \[1\]/,
    ],
    ['images that are not square', () => npz({ images: image([COUNT, 8, 2, 3]) }), 'E_IMAGE_SIZE', /2 x 8/],
    ['no file', async () => files.path('absent.npz'), 'E_FILE_ABSENT', /absent/],
    [
      'half a file',
      async () => {
        const path = await npz({ images: image([COUNT, 4, 4, 3]) });
        truncateSync(path, Math.floor(statSync(path).size / 2));
        return path;
      },
      'E_FILE_FORMAT',
      /\.npz/,
    ],
  ] as const)('%s: an error', async (_, path, code, message) => {
    await expect(npzImages(await path()).open()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
