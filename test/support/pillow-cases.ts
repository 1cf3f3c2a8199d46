/** Images and what Pillow makes of them, as test/tools/make_resized_images.py writes them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { resizeImage, type ImageBytes, type ResamplingFilter } from '../../src/core/pillow/index.js';
import { centreSquare, squareImage } from '../../src/data/square-images.js';

interface Case {
  kind: 'filter' | 'adm' | 'center-crop';
  from: [number, number, number];
  to: [number, number, number];
  filter?: ResamplingFilter;
}

/** A case with its images. */
export interface PillowCase extends Case {
  input: ImageBytes;
  expected: ImageBytes;
}

/** Every case of a directory; all bytes of its images belong to one. */
export function pillowCases(directory: string): PillowCase[] {
  const { cases } = JSON.parse(readFileSync(join(directory, 'cases.json'), 'utf8')) as { cases: Case[] };
  const bytes = readFileSync(join(directory, 'cases.bin'));
  let at = 0;
  const image = ([height, width, channels]: Case['from']): ImageBytes => ({
    pixels: new Uint8Array(bytes.subarray(at, (at += height * width * channels))),
    height,
    width,
    channels,
  });
  const read = cases.map((row) => ({ ...row, input: image(row.from), expected: image(row.to) }));
  expect([read.length, at]).toEqual([48, bytes.length]);
  return read;
}

/** The same bytes come out here, and the image that went in is unchanged. */
export function expectAsPillow({ kind, filter, from, to, input, expected }: PillowCase): void {
  const before = input.pixels.slice();
  const made =
    kind === 'filter'
      ? resizeImage(input, expected.width, expected.height, filter!)
      : kind === 'adm'
        ? squareImage(input, expected.width, 'adm')
        : squareImage(centreSquare(input), expected.width, 'lanczos');
  const hex = (image: ImageBytes) => ({ ...image, pixels: Buffer.from(image.pixels).toString('hex') });
  expect(hex(made), `${kind} ${filter ?? ''} ${from.join('x')} to ${to.join('x')}`).toEqual(hex(expected));
  expect(input.pixels).toEqual(before);
}
