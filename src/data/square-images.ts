/**
 * Any image to a square of a given size, as the published data sets were made.
 */
import { resizeImage, type ImageBytes, type ResamplingFilter } from '../core/pillow/index.js';

/** How an image becomes a square: `adm`, or a filter of Pillow's. */
export const SQUARE_METHODS = ['adm', 'box', 'bilinear', 'bicubic', 'lanczos'] as const;

/** One of {@link SQUARE_METHODS}. */
export type SquareMethod = (typeof SQUARE_METHODS)[number];

/** The part `[top, top + height) x [left, left + width)` of an image, copied. */
function crop({ pixels, width: stride, channels }: ImageBytes, left: number, top: number, width: number, height: number): ImageBytes {
  const out = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * stride + left) * channels;
    out.set(pixels.subarray(from, from + width * channels), y * width * channels);
  }
  return { pixels: out, height, width, channels };
}

/** The largest square in the middle; of an odd remainder the smaller half is left out before it. */
export function centreSquare(image: ImageBytes): ImageBytes {
  const { height, width } = image;
  if (height === width) return image;
  const side = Math.min(height, width);
  return crop(image, Math.floor((width - side) / 2), Math.floor((height - side) / 2), side, side);
}

/** Half to even, as Python rounds. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/**
 * ADM's ImageNet: halved with a box filter while the shorter side is twice the size or more, then bicubic to `size` on the shorter
 * side, then the centre (Dhariwal and Nichol 2021, arXiv 2105.05233; EDM's `center-crop-dhariwal`).
 */
export function resizeAsAdm(image: ImageBytes, size: number): ImageBytes {
  let at = image;
  while (Math.min(at.width, at.height) >= 2 * size) at = resizeImage(at, Math.floor(at.width / 2), Math.floor(at.height / 2), 'box');
  const scale = size / Math.min(at.width, at.height);
  at = resizeImage(at, roundHalfToEven(at.width * scale), roundHalfToEven(at.height * scale), 'bicubic');
  return crop(at, Math.floor((at.width - size) / 2), Math.floor((at.height - size) / 2), size, size);
}

/**
 * An image `[size, size, channels]`: by ADM's way, or the whole image (cut it with {@link centreSquare} first) resized with a filter;
 * `lanczos` after `centreSquare` is EDM's `center-crop`.
 */
export function squareImage(image: ImageBytes, size: number, method: SquareMethod): ImageBytes {
  if (method === 'adm') return resizeAsAdm(image, size);
  if (image.width === size && image.height === size) return image;
  return resizeImage(image, size, size, method satisfies ResamplingFilter);
}
