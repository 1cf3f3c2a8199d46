import { z } from 'zod';
import { ArgumentError } from '../core/errors.js';
import { parseOptions } from '../core/options.js';
import { drawText, TEXT_HEIGHT, textWidth } from './font.js';

/** An 8-bit picture in memory: `data` is `[height, width, channels]`. */
export interface Picture {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 3;
}

const gridOptions = z.strictObject({
  /** Images in a row; undefined: the grid is as square as it can be. */
  columns: z.int().min(1).optional(),
  /** Whole-number enlargement by repeating pixels; undefined: the least that makes an image 64 pixels high. */
  scale: z.int().min(1).max(64).optional(),
  /** Pixels between and around the images. */
  gap: z.int().min(0).max(256).default(2),
  /** RGB behind the images, 0 to 255. */
  background: z.tuple([z.number(), z.number(), z.number()]).default([255, 255, 255]),
  /** A word left of each row: capitals, digits and `. , - + : / % ( ) = _ #`. */
  rowCaptions: z.array(z.string()).optional(),
});

/**
 * Options of `imageGrid`.
 *
 * @interface
 */
export type ImageGridOptions = z.input<typeof gridOptions>;

/**
 * Puts a batch of images into one picture, row by row.
 *
 * @param batch `[B, H, W, C]` in uint8, C = 1 or 3.
 * @param shape `[B, H, W, C]`.
 * @returns an RGB picture; one pixel of background for an empty batch.
 * @throws ArgumentError `E_SHAPE` where bytes and shape disagree; ConfigError for wrong options.
 */
export function imageGrid(batch: Uint8Array, shape: readonly [number, number, number, number], options: ImageGridOptions = {}): Picture {
  const { columns, scale, gap, background, rowCaptions } = parseOptions(gridOptions, options, 'imageGrid');
  const [count, height, width, channels] = shape;
  if (batch.length !== count * height * width * channels || (channels !== 1 && channels !== 3)) {
    throw new ArgumentError('E_SHAPE', `imageGrid: expected [B, H, W, 1 or 3], got shape [${shape.join(', ')}] and ${batch.length} bytes`);
  }
  const across = Math.min(count, columns ?? Math.ceil(Math.sqrt(count)));
  const down = count === 0 ? 0 : Math.ceil(count / across);
  const zoom = scale ?? Math.max(1, Math.ceil(64 / Math.max(1, height)));
  const letter = Math.max(1, Math.round((height * zoom) / 32)); // picture pixels per font pixel
  const captions = rowCaptions?.slice(0, down) ?? [];
  const left = captions.length === 0 ? 0 : letter * (Math.max(...captions.map(textWidth)) + 4);

  const total = { width: Math.max(1, left + gap + across * (width * zoom + gap)), height: Math.max(1, gap + down * (height * zoom + gap)) };
  const data = new Uint8Array(total.width * total.height * 3);
  for (let k = 0; k < data.length; k += 3) data.set(background, k);

  for (let image = 0; image < count; image++) {
    const originX = left + gap + (image % across) * (width * zoom + gap);
    const originY = gap + Math.floor(image / across) * (height * zoom + gap);
    for (let y = 0; y < height * zoom; y++) {
      let to = ((originY + y) * total.width + originX) * 3;
      const row = (image * height + Math.floor(y / zoom)) * width;
      for (let x = 0; x < width * zoom; x++) {
        const from = (row + Math.floor(x / zoom)) * channels;
        for (let c = 0; c < 3; c++) data[to++] = batch[channels === 3 ? from + c : from]!;
      }
    }
  }

  const ink = background[0] + background[1] + background[2] > 384 ? 40 : 220;
  captions.forEach((caption, row) => {
    const top = gap + row * (height * zoom + gap) + Math.floor((height * zoom - letter * TEXT_HEIGHT) / 2);
    drawText(caption, (x, y) => {
      for (let k = 0; k < letter * letter; k++) {
        const px = gap + letter * (x + 1) + (k % letter);
        const py = top + letter * y + Math.floor(k / letter);
        if (py >= 0 && py < total.height) data.fill(ink, (py * total.width + px) * 3, (py * total.width + px) * 3 + 3);
      }
    });
  });
  return { data, ...total, channels: 3 };
}
