/** What the networks see of an image: by hand, and beside published code (test/tools/extractor_pixels.py). */
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { expectPixels } from '../../../test/support/extractor-pixels.js';
import { openGolden } from '../../../test/support/golden.js';
import { clipPixels } from './clip-vit-b32.js';
import { inceptionInput } from './inception-v3.js';
import { colourImages, shorterSideSize } from './prepare-images.js';
import { bicubicMatrix } from './vision-transformer.js';

describe.each(engines)('pixels on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it.each(['32x32', '64x48', '320x400', '1x3'])('of %s are those of TensorFlow 1, PyTorch and Pillow', async (size) => {
    expect.hasAssertions();
    await expectPixels(await openGolden('extractors/pixels.safetensors'), size, 499);
  });

  it('of a step are where each convention puts them, by hand', () => {
    // Two pixels, 0 and 200, over 299: TensorFlow 1 reads place o at 2 o / 299, PyTorch at 2 (o + 1/2) / 299 - 1/2.
    const row = (resize: 'tensorflow' | 'pytorch-fid') => {
      const input = inceptionInput(Uint8Array.of(0, 0, 0, 200, 200, 200), [1, 1, 2, 3], resize);
      expect(input.shape).toEqual([1, 299, 299, 3]);
      const values = input.dataSync<'float32'>().filter((_, i) => i % 3 === 0);
      input.dispose();
      return values;
    };
    const tensorflow = row('tensorflow');
    expect([0, 75, 149, 150, 298].map((o) => tensorflow[o]! * 128 + 128)).toBeAllclose(
      [0, (200 * 150) / 299, (200 * 298) / 299, 200, 200],
      { atol: 1e-3 },
    );
    const pytorch = row('pytorch-fid');
    expect([0, 74, 149, 298].map((o) => (pytorch[o]! + 1) * 127.5)).toBeAllclose([0, 0, 100, 200], { atol: 0.4 });
    expect((pytorch[149]! + 1) * 127.5).toBeCloseTo(100, 3);
  });
});

it('CLIP sees the middle of the longer side', () => {
  // 224 x 448: nothing is resized; 112 columns on each side are cut off.
  const image = new Uint8Array(224 * 448 * 3).map((_, i) => (Math.floor(i / 3) % 448) >> 1);
  const pixels = clipPixels(image, [1, 224, 448, 3]);
  expect(pixels.length).toBe(224 * 224 * 3);
  expect([pixels[0], pixels[3 * 223], pixels.at(-1)]).toEqual([56, 167, 167]);
  // torchvision truncates the longer side and rounds the cut half to even.
  expect(shorterSideSize([1, 30, 41, 3], 224)).toEqual([224, 306]);
  expect(shorterSideSize([1, 41, 30, 3], 224)).toEqual([306, 224]);
});

it('one channel is repeated; other channels and counts are refused', () => {
  expect(colourImages('x', Uint8Array.of(1, 2), [1, 1, 2, 1])).toEqual({ images: Uint8Array.of(1, 1, 1, 2, 2, 2), shape: [1, 1, 2, 3] });
  expect(() => colourImages('x', new Uint8Array(8), [1, 1, 2, 4])).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  expect(() => colourImages('x', new Uint8Array(5), [1, 1, 2, 3])).toThrow(
    /expected as many values as the shape has, got 5 values as \[1, 1, 2, 3\]/,
  );
});

it('positions are interpolated by a cubic with a = -3/4, by hand', () => {
  // Factor 1/2 of 4 positions reads 0.5 and 2.5: weights -3/32, 19/32, 19/32, -3/32; beyond the border the last is repeated.
  const { matrix } = bicubicMatrix(4, 2, 0.5);
  const [a, b] = [-3 / 32, 19 / 32];
  expect(matrix).toBeAllclose([a + b, b, a, 0, 0, a, b, a + b], { atol: 1e-6 });
});
