import { encode } from 'fast-png';
import type { Picture } from './image-grid.js';

/**
 * Encodes a picture as an 8-bit PNG file.
 *
 * @param text written into the file as text chunks, such as `{ Title: 'samples' }`; Latin-1.
 */
export function encodePng(picture: Picture, text?: Record<string, string>): Uint8Array {
  return encode({ ...picture, depth: 8, ...(text === undefined ? {} : { text }) });
}
