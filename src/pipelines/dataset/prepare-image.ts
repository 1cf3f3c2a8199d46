/**
 * One image as a data set has it: its channels, cut and resized.
 */
import { FileError } from '../../core/errors.js';
import type { DecodedImage } from '../../data/encoded/encoded-images.js';
import { centreSquare, squareImage, type SquareMethod } from '../../data/square-images.js';

/** What every image becomes. */
export interface Preparation {
  /** Pixels of a side; undefined: the images are squares of one size already. */
  size: number | undefined;
  crop: boolean;
  method: SquareMethod;
  channels: 1 | 3;
}

/** Luma of ITU-R BT.601 in Pillow's whole numbers. */
const luma = (r: number, g: number, b: number) => (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;

/** Opaque pixels lose their alpha, greys become RGB, and RGB grey where `channels` is 1. */
function withChannels(image: DecodedImage, channels: 1 | 3, name: string): DecodedImage {
  const { pixels, channels: found } = image;
  if (found === channels) return image;
  const count = image.width * image.height;
  if (found === 2 || found === 4)
    for (let k = found - 1; k < pixels.length; k += found)
      if (pixels[k] !== 255)
        throw new FileError('E_IMAGE_CHANNELS', `${name}: expected an opaque image, found transparency`, {
          help: 'lay it over a background first, or leave it out with --on-invalid skip',
        });
  const out = new Uint8Array(count * channels);
  for (let k = 0, from = 0, to = 0; k < count; k++, from += found) {
    const [r, g, b] = found < 3 ? [pixels[from]!, pixels[from]!, pixels[from]!] : [pixels[from]!, pixels[from + 1]!, pixels[from + 2]!];
    if (channels === 1) out[to++] = found < 3 ? r : luma(r, g, b);
    else {
      out[to++] = r;
      out[to++] = g;
      out[to++] = b;
    }
  }
  return { ...image, pixels: out, channels };
}

/** Prepares an image that errors call `name`. Throws {@link FileError} `E_IMAGE_SIZE`, `E_IMAGE_CHANNELS`. */
export function prepareImage(image: DecodedImage, { size, crop, method, channels }: Preparation, name: string): DecodedImage {
  const opaque = withChannels(image, channels, name);
  if (method === 'adm' && size !== undefined) return squareImage(opaque, size, 'adm');
  const square = crop ? centreSquare(opaque) : opaque;
  if (square.width !== square.height)
    throw new FileError('E_IMAGE_SIZE', `${name}: expected a square, found ${square.width} x ${square.height}`, {
      help: '--crop takes the middle square',
    });
  return size === undefined ? square : squareImage(square, size, method);
}
