import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { ArgumentError, ConfigError } from '../core/errors.js';
import { drawText, textWidth } from './font.js';
import { imageGrid, type Picture } from './image-grid.js';
import { encodePng } from './png.js';

const pixel = ({ data, width }: Picture, x: number, y: number) => Array.from(data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3));

describe('imageGrid', () => {
  // Three images of 1 x 2 pixels: red and green, blue and black, grey and yellow.
  const batch = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 9, 9, 9, 255, 255, 0);

  it('places images row by row with a gap around each, enlarged by whole pixels', () => {
    const grid = imageGrid(batch, [3, 1, 2, 3], { columns: 2, scale: 3, gap: 1, background: [7, 7, 7] });
    expect([grid.width, grid.height, grid.channels]).toEqual([1 + 2 * 7, 1 + 2 * 4, 3]);
    for (const [x, y] of [
      [1, 1],
      [3, 3],
    ] as const)
      expect(pixel(grid, x, y)).toEqual([255, 0, 0]);
    expect(pixel(grid, 4, 1)).toEqual([0, 255, 0]);
    expect(pixel(grid, 8, 2)).toEqual([0, 0, 255]);
    expect(pixel(grid, 1, 5)).toEqual([9, 9, 9]);
    expect(pixel(grid, 0, 0)).toEqual([7, 7, 7]);
    expect(pixel(grid, 7, 2)).toEqual([7, 7, 7]);
    expect(pixel(grid, 9, 6)).toEqual([7, 7, 7]); // no fourth image
  });

  it('is square and 64 pixels an image by default', () => {
    const grid = imageGrid(new Uint8Array(9 * 16 * 16 * 3), [9, 16, 16, 3]);
    expect([grid.width, grid.height]).toEqual([3 * 66 + 2, 3 * 66 + 2]);
    const large = imageGrid(new Uint8Array(2 * 100 * 100 * 3), [2, 100, 100, 3], { gap: 0 });
    expect([large.width, large.height]).toEqual([200, 100]);
  });

  it('repeats a single channel and survives an empty batch', () => {
    expect(pixel(imageGrid(Uint8Array.of(5), [1, 1, 1, 1], { gap: 0, scale: 1 }), 0, 0)).toEqual([5, 5, 5]);
    const empty = imageGrid(new Uint8Array(0), [0, 8, 8, 3], { gap: 0 });
    expect([empty.width, empty.height]).toEqual([1, 1]);
  });

  it('writes captions left of the rows, legible on either background', () => {
    const rows = (background: [number, number, number]) =>
      imageGrid(new Uint8Array(4 * 16 * 16 * 3), [4, 16, 16, 3], { columns: 2, background, rowCaptions: ['A', 'TEN'] });
    const grid = rows([255, 255, 255]);
    expect(grid.width).toBe(2 * (textWidth('TEN') + 4) + 2 + 2 * 66);
    const dark = (picture: Picture, ink: number) => {
      let count = 0;
      for (let y = 0; y < 66; y++) for (let x = 0; x < 2 * (textWidth('TEN') + 4); x++) if (pixel(picture, x, y)[0] === ink) count++;
      return count;
    };
    let dots = 0;
    drawText('A', () => dots++);
    expect(dots).toBe(18);
    expect(dark(grid, 40)).toBe(18 * 4);
    expect(dark(rows([0, 0, 0]), 220)).toBe(18 * 4);
  });

  it('rejects bytes that do not fit the shape, odd channels and wrong options', () => {
    expect(() => imageGrid(batch, [2, 1, 2, 3])).toThrow(ArgumentError);
    expect(() => imageGrid(new Uint8Array(2), [1, 1, 1, 2])).toThrow('imageGrid: expected [B, H, W, 1 or 3], got shape [1, 1, 1, 2]');
    expect(() => imageGrid(batch, [3, 1, 2, 3], { scale: 0.5 })).toThrow(ConfigError);
  });
});

describe('encodePng', () => {
  it('keeps every byte', () => {
    const picture = imageGrid(
      Uint8Array.from({ length: 4 * 12 }, (_, k) => k * 5),
      [4, 2, 2, 3],
      { scale: 2 },
    );
    const decoded = decode(encodePng(picture, { Title: 'samples' }));
    expect([decoded.width, decoded.height, decoded.channels, decoded.depth]).toEqual([picture.width, picture.height, 3, 8]);
    expect(new Uint8Array(decoded.data)).toEqual(picture.data);
    expect(decoded.text).toMatchObject({ Title: 'samples' });
  });
});

describe('drawText', () => {
  it('draws small letters as capitals and unknown characters as question marks', () => {
    const dots = (text: string) => {
      const seen: string[] = [];
      drawText(text, (x, y) => seen.push(`${x},${y}`));
      return seen;
    };
    expect(dots('a1')).toEqual(dots('A1'));
    expect(dots('é')).toEqual(dots('?'));
    expect(dots('L')).toEqual(['0,0', '0,1', '0,2', '0,3', '0,4', '0,5', '0,6', '1,6', '2,6', '3,6', '4,6']);
    expect(dots(' ')).toEqual([]);
  });
});
