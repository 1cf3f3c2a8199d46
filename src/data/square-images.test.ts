/** What Pillow makes of the same images (test/golden/pillow, by test/tools/make_resized_images.py), to the last bit. */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { expectAsPillow, pillowCases } from '../../test/support/pillow-cases.js';
import { resizeImage, type ImageBytes } from '../core/pillow/index.js';

describe('images resized as Pillow does', () => {
  it.each(pillowCases(fileURLToPath(new URL('../../test/golden/pillow', import.meta.url))))('$kind $filter $from to $to', (one) => {
    expect.hasAssertions();
    expectAsPillow(one);
  });
});

describe('resizeImage', () => {
  const grey: ImageBytes = { pixels: Uint8Array.of(10, 20, 30, 40), height: 2, width: 2, channels: 1 };
  it('gives a copy where nothing changes', () => {
    const made = resizeImage(grey, 2, 2, 'lanczos');
    expect(made.pixels).toEqual(grey.pixels);
    expect(made.pixels).not.toBe(grey.pixels);
  });
  it('averages a block, rounded', () => {
    expect(resizeImage(grey, 1, 1, 'box').pixels).toEqual(Uint8Array.of(25));
  });
  it.each([
    [0, 2],
    [2, NaN],
  ])('refuses the size %d x %d', (width, height) => {
    expect(() => resizeImage(grey, width, height, 'box')).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  });
});
