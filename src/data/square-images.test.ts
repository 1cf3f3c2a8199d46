/** What Pillow makes of the same images (test/golden/pillow, by test/tools/make_resized_images.py), to the last bit. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { resizeImage, type ImageBytes, type ResamplingFilter } from '../core/pillow/index.js';
import { centreSquare, squareImage } from './square-images.js';

interface Case {
  kind: 'filter' | 'adm' | 'center-crop';
  from: [number, number, number];
  to: [number, number, number];
  filter?: ResamplingFilter;
}

const golden = (name: string) => readFileSync(new URL(`../../test/golden/pillow/${name}`, import.meta.url));
const { cases } = JSON.parse(golden('cases.json').toString()) as { cases: Case[] };
const bytes = golden('cases.bin');
let at = 0;
const image = ([height, width, channels]: Case['from']): ImageBytes => ({
  pixels: new Uint8Array(bytes.subarray(at, (at += height * width * channels))),
  height,
  width,
  channels,
});
const rows = cases.map((row) => ({ ...row, input: image(row.from), expected: image(row.to) }));

describe('images resized as Pillow does', () => {
  it.each(rows)('$kind $filter $from to $to', ({ kind, filter, input, expected }) => {
    const before = input.pixels.slice();
    const made =
      kind === 'filter'
        ? resizeImage(input, expected.width, expected.height, filter!)
        : kind === 'adm'
          ? squareImage(input, expected.width, 'adm')
          : squareImage(centreSquare(input), expected.width, 'lanczos');
    expect({ ...made, pixels: Buffer.from(made.pixels).toString('hex') }).toEqual({
      ...expected,
      pixels: Buffer.from(expected.pixels).toString('hex'),
    });
    expect(input.pixels).toEqual(before);
  });

  it('reads all cases', () => {
    expect([rows.length, at]).toEqual([48, bytes.length]);
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
