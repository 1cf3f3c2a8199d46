/**
 * What lies in the rows of a PNG: filters undone (ISO/IEC 15948, clause 9), samples brought to 8 bits and to colours.
 */
import { damagedImage } from './image-problem.js';
import type { PngHeader } from './png.js';

/**
 * Undoes the filters of `height` rows of `stride` bytes, each after its filter's number, from `raw` at `from`.
 *
 * `step` is the distance in bytes to the pixel on the left, at least 1. Gives `height · stride` bytes.
 */
export function unfilter(raw: Uint8Array, from: number, height: number, stride: number, step: number): Uint8Array {
  const out = new Uint8Array(height * stride);
  for (let row = 0, to = 0; row < height; row++, to += stride) {
    const filter = raw[from++]!;
    const up = to - stride;
    // Above the first row everything is 0.
    if (filter === 0 || (filter === 2 && row === 0)) {
      for (let k = 0; k < stride; k++) out[to + k] = raw[from + k]!;
    } else if (filter === 1 || (filter === 4 && row === 0)) {
      for (let k = 0; k < step && k < stride; k++) out[to + k] = raw[from + k]!;
      for (let k = step; k < stride; k++) out[to + k] = raw[from + k]! + out[to + k - step]!;
    } else if (filter === 2) {
      for (let k = 0; k < stride; k++) out[to + k] = raw[from + k]! + out[up + k]!;
    } else if (filter === 3 && row === 0) {
      for (let k = 0; k < step && k < stride; k++) out[to + k] = raw[from + k]!;
      for (let k = step; k < stride; k++) out[to + k] = raw[from + k]! + (out[to + k - step]! >> 1);
    } else if (filter === 3) {
      for (let k = 0; k < step && k < stride; k++) out[to + k] = raw[from + k]! + (out[up + k]! >> 1);
      for (let k = step; k < stride; k++) out[to + k] = raw[from + k]! + ((out[to + k - step]! + out[up + k]!) >> 1);
    } else if (filter === 4) {
      if (step === 3) undoPaethOfThree(raw, from, out, to, stride);
      else undoPaeth(raw, from, out, to, stride, step);
    } else throw damagedImage(`row ${row}: expected a filter of 0 to 4, found ${filter}`);
    from += stride;
  }
  return out;
}

/**
 * Paeth's predictor (9.4): of left, above and corner the one nearest to left + above - corner, in this order where two are as near.
 *
 * With t = 3 corner - left - above: the smaller neighbour where t reaches the larger one, the larger one where t does not exceed the
 * smaller, else the corner. By masks instead of branches, which noise makes unpredictable.
 */
function paeth(left: number, above: number, corner: number): number {
  const difference = left - above;
  const negative = difference & (difference >> 31);
  const smaller = above + negative;
  const larger = left - negative;
  const t = 3 * corner - left - above;
  const inner = smaller + ((corner - smaller) & ((t - larger) >> 31));
  return larger + ((inner - larger) & ((smaller - t) >> 31));
}

/** A row that has one above it. */
function undoPaeth(raw: Uint8Array, from: number, out: Uint8Array, to: number, stride: number, step: number): void {
  const up = to - stride;
  for (let k = 0; k < step && k < stride; k++) out[to + k] = raw[from + k]! + out[up + k]!;
  for (let k = step; k < stride; k++) out[to + k] = raw[from + k]! + paeth(out[to + k - step]!, out[up + k]!, out[up + k - step]!);
}

/** {@link undoPaeth} of RGB, the usual image: neighbours are kept, and the three samples of a pixel do not wait for each other. */
function undoPaethOfThree(raw: Uint8Array, from: number, out: Uint8Array, to: number, stride: number): void {
  const up = to - stride;
  let [r, g, b] = [0, 0, 0];
  let [cornerR, cornerG, cornerB] = [0, 0, 0];
  for (let k = 0; k + 2 < stride; k += 3) {
    const aboveR = out[up + k]!;
    const aboveG = out[up + k + 1]!;
    const aboveB = out[up + k + 2]!;
    r = (raw[from + k]! + paeth(r, aboveR, cornerR)) & 255;
    g = (raw[from + k + 1]! + paeth(g, aboveG, cornerG)) & 255;
    b = (raw[from + k + 2]! + paeth(b, aboveB, cornerB)) & 255;
    out[to + k] = r;
    out[to + k + 1] = g;
    out[to + k + 2] = b;
    cornerR = aboveR;
    cornerG = aboveG;
    cornerB = aboveB;
  }
}

/** Rows without filters to 8-bit pixels. */
export function expandSamples(
  header: PngHeader,
  rows: Uint8Array,
  { width, height, stride }: { width: number; height: number; stride: number },
): { pixels: Uint8Array; channels: number } {
  const { depth, colour, samples, palette, transparency } = header;
  const count = width * height;
  if (colour === 3) return colours(depth === 8 ? rows : unpack(rows, width, height, stride, depth, 1), palette!, transparency);
  const pixels = depth === 8 ? rows : depth === 16 ? highBytes(rows) : unpack(rows, width, height, stride, depth, 255 / (2 ** depth - 1));
  if (transparency === undefined || colour > 3) return { pixels, channels: samples };

  // One colour is transparent (11.3.2.1); it is told at the file's depth.
  if (transparency.length < 2 * samples)
    throw damagedImage(`expected ${2 * samples} bytes in the chunk tRNS, found ${transparency.length}`);
  const keyed = depth < 8 ? unpack(rows, width, height, stride, depth, 1) : rows;
  const bytes = depth === 16 ? 2 : 1;
  const out = new Uint8Array(count * (samples + 1));
  for (let pixel = 0; pixel < count; pixel++) {
    let equal = true;
    for (let k = 0; k < samples * bytes; k++) equal &&= keyed[pixel * samples * bytes + k] === transparency[bytes === 2 ? k : 2 * k + 1];
    for (let c = 0; c < samples; c++) out[pixel * (samples + 1) + c] = pixels[pixel * samples + c]!;
    out[pixel * (samples + 1) + samples] = equal ? 0 : 255;
  }
  return { pixels: out, channels: samples + 1 };
}

/** Samples of 1, 2 or 4 bits, most significant first, each row beginning at a byte; multiplied by `scale`. */
function unpack(rows: Uint8Array, width: number, height: number, stride: number, depth: number, scale: number): Uint8Array {
  const out = new Uint8Array(width * height);
  const mask = 2 ** depth - 1;
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++, to++) {
      const bit = column * depth;
      out[to] = ((rows[row * stride + (bit >> 3)]! >> (8 - depth - (bit & 7))) & mask) * scale;
    }
  }
  return out;
}

function highBytes(rows: Uint8Array): Uint8Array {
  const out = new Uint8Array(rows.length >> 1);
  for (let k = 0; k < out.length; k++) out[k] = rows[2 * k]!;
  return out;
}

/** Palette indices to RGB, or to RGBA where the palette has transparency. */
function colours(indices: Uint8Array, palette: Uint8Array, alpha: Uint8Array | undefined): { pixels: Uint8Array; channels: number } {
  const channels = alpha === undefined ? 3 : 4;
  const pixels = new Uint8Array(indices.length * channels);
  for (let k = 0, to = 0; k < indices.length; k++, to += channels) {
    const from = 3 * indices[k]!;
    if (from >= palette.length) throw damagedImage(`expected indices into a palette of ${palette.length / 3} colours, found ${indices[k]}`);
    pixels[to] = palette[from]!;
    pixels[to + 1] = palette[from + 1]!;
    pixels[to + 2] = palette[from + 2]!;
    if (alpha !== undefined) pixels[to + 3] = alpha[indices[k]!] ?? 255;
  }
  return { pixels, channels };
}
