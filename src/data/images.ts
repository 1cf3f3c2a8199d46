/**
 * Between stored images (uint8) and what networks see (float32 in [-1, 1]).
 */
import { ArgumentError } from '../core/errors.js';

/** u / 127.5 - 1 for each byte, in float32 arithmetic as PyTorch does it. */
const levels = Float32Array.from({ length: 256 }, (_, u) => Math.fround(u / 127.5) - 1);

/** Bytes to float32 in [-1, 1]: u / 127.5 - 1. The same length and order; a new array. */
export function toFloat(images: Uint8Array): Float32Array {
  const out = new Float32Array(images.length);
  for (let k = 0; k < images.length; k++) out[k] = levels[images[k]!]!;
  return out;
}

/**
 * Float32 in [-1, 1] to bytes: clip(x · 127.5 + 128, 0, 255), then truncated, as in EDM's `generate.py`.
 *
 * The same length and order; a new array. `toUint8(toFloat(u))` is `u`; what is not a number becomes 0.
 */
export function toUint8(images: Float32Array): Uint8Array {
  const out = new Uint8Array(images.length);
  for (let k = 0; k < images.length; k++) {
    out[k] = Math.min(255, Math.max(0, Math.fround(Math.fround(images[k]! * 127.5) + 128)));
  }
  return out;
}

/**
 * Class indices `[B]` to one-hot rows `[B, classes]`.
 *
 * @throws ArgumentError for a label that is not below `classes`.
 */
export function oneHot(labels: Uint32Array, classes: number): Float32Array {
  const out = new Float32Array(labels.length * classes);
  labels.forEach((label, row) => {
    if (label >= classes) throw new ArgumentError('E_VALUE', `oneHot: expected labels below ${classes}, got ${label}`);
    out[row * classes + label] = 1;
  });
  return out;
}
