/**
 * PNG to 8-bit pixels (ISO/IEC 15948): every colour type, depth and filter, interlaced or not.
 *
 * Written for many small images: one pass over the chunks, one inflation, one pass over the rows.
 */
import { inflateSync } from 'node:zlib';
import { crc32 } from '../../core/crc32.js';
import type { DecodedImage } from './encoded-images.js';
import { damagedImage } from './image-problem.js';
import { expandSamples, unfilter } from './png-samples.js';

/** As sharp's default: 268 megapixels. */
const MAX_PIXELS = 0x3fff ** 2;

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether bytes begin as a PNG does. */
export const isPng = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, k) => bytes[k] === byte);

/** Samples a pixel by colour type: grey, -, RGB, palette index, grey and alpha, -, RGBA. */
const SAMPLES = [1, 0, 3, 1, 2, 0, 4];

/** Depths allowed for each colour type (table 11.1). */
const DEPTHS: Record<number, readonly number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };

/** What IHDR says, with the chunks that give samples their meaning. */
export interface PngHeader {
  width: number;
  height: number;
  /** Bits a sample. */
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  colour: number;
  interlaced: boolean;
  /** Samples a pixel in the file. */
  samples: number;
  /** RGB triples. */
  palette?: Uint8Array;
  /** Of the chunk tRNS. */
  transparency?: Uint8Array;
}

/** Start and step of Adam7's seven passes (8.2). */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/**
 * Decodes a PNG: greys of every depth to 1 channel, RGB and palettes to 3, one more with transparency.
 *
 * Samples of 16 bits lose their low byte; gamma and colour profiles are left alone. Checksums of the chunks that are used are checked,
 * and that the file is whole. No more is inflated than IHDR promises.
 *
 * @throws ImageProblem `E_IMAGE_FORMAT`.
 */
export function decodePng(bytes: Uint8Array): DecodedImage {
  const { header, data } = readChunks(bytes);
  const passes = header.interlaced ? ADAM7 : ([[0, 0, 1, 1]] as const);
  const sizes = passes.map(([x, y, dx, dy]) => {
    const width = Math.ceil((header.width - x) / dx);
    const height = Math.ceil((header.height - y) / dy);
    return width > 0 && height > 0 ? { width, height, stride: rowBytes(header, width) } : { width: 0, height: 0, stride: 0 };
  });
  const raw = inflate(
    data,
    sizes.reduce((sum, { height, stride }) => sum + height * (stride > 0 ? stride + 1 : 0), 0),
  );

  const bytesPerPixel = Math.max(1, (header.depth * header.samples) >> 3);
  const { width, height } = header;
  if (!header.interlaced)
    return { width, height, ...expandSamples(header, unfilter(raw, 0, height, sizes[0]!.stride, bytesPerPixel), sizes[0]!) };
  let at = 0;
  let whole: { pixels: Uint8Array; channels: number } | undefined;
  passes.forEach(([x, y, dx, dy], pass) => {
    const size = sizes[pass]!;
    if (size.width === 0) return;
    const part = expandSamples(header, unfilter(raw, at, size.height, size.stride, bytesPerPixel), size);
    at += size.height * (size.stride + 1);
    const { channels } = part;
    whole ??= { pixels: new Uint8Array(width * height * channels), channels };
    for (let row = 0, from = 0; row < size.height; row++) {
      for (let column = 0; column < size.width; column++, from += channels) {
        const to = ((y + row * dy) * width + x + column * dx) * channels;
        for (let c = 0; c < channels; c++) whole.pixels[to + c] = part.pixels[from + c]!;
      }
    }
  });
  return { width, height, ...whole! };
}

const rowBytes = ({ depth, samples }: PngHeader, width: number) => Math.ceil((width * samples * depth) / 8);

const uint32 = (bytes: Uint8Array, at: number) =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

const IHDR = 0x49484452;
const PLTE = 0x504c5445;
const TRNS = 0x74524e53;
const IDAT = 0x49444154;
const IEND = 0x49454e44;

/** The header and the image data, from the chunks up to IEND. */
function readChunks(bytes: Uint8Array): { header: PngHeader; data: Uint8Array } {
  let header: PngHeader | undefined;
  const parts: Uint8Array[] = [];
  for (let at = SIGNATURE.length; ;) {
    const length = at + 8 <= bytes.length ? uint32(bytes, at) : 0;
    const end = at + 12 + length;
    if (end > bytes.length) throw damagedImage(`expected a whole PNG, found its end after ${bytes.length} bytes, before the chunk IEND`);
    const type = uint32(bytes, at + 4);
    const content = bytes.subarray(at + 8, end - 4);
    if ((header === undefined) !== (type === IHDR))
      throw damagedImage(`expected one chunk IHDR, the first, found ${chunkName(type)} at byte ${at}`);
    // Of ancillary chunks nothing is used but tRNS; those that must be understood have a capital first letter.
    if ((type & 0x20000000) === 0 || type === TRNS) {
      if (crc32(bytes.subarray(at + 4, end - 4)) !== uint32(bytes, end - 4))
        throw damagedImage(`chunk ${chunkName(type)} at byte ${at}: its checksum does not match`);
      if (type === IHDR) header = readHeader(content);
      else if (type === IDAT) parts.push(content);
      else if (type === PLTE) header!.palette = content;
      else if (type === TRNS) header!.transparency = content;
      else if (type === IEND) break;
      else throw damagedImage(`expected chunks of the PNG standard, found the critical chunk ${chunkName(type)}`);
    }
    at = end;
  }
  if (parts.length === 0) throw damagedImage('expected image data, found no chunk IDAT');
  if (header!.colour === 3 && (header!.palette === undefined || header!.palette.length % 3 !== 0))
    throw damagedImage('expected a palette of RGB triples, found none');
  return { header: header!, data: parts.length === 1 ? parts[0]! : Buffer.concat(parts) };
}

const chunkName = (type: number) => JSON.stringify(String.fromCharCode(type >>> 24, (type >> 16) & 255, (type >> 8) & 255, type & 255));

function readHeader(content: Uint8Array): PngHeader {
  if (content.length !== 13) throw damagedImage(`expected 13 bytes in the chunk IHDR, found ${content.length}`);
  const [width, height, depth, colour, interlace] = [uint32(content, 0), uint32(content, 4), content[8]!, content[9]!, content[12]!];
  if (width === 0 || height === 0 || !DEPTHS[colour]?.includes(depth) || content[10] !== 0 || content[11] !== 0 || interlace > 1)
    throw damagedImage(
      `expected a size, a colour type and a depth of the PNG standard, found ${width}x${height}, type ${colour}, depth ${depth}, methods ${content[10]}, ${content[11]}, ${interlace}`,
    );
  if (width * height > MAX_PIXELS)
    throw damagedImage(`expected at most ${MAX_PIXELS} pixels, found ${width}x${height}`, 'make it smaller, or leave it out');
  return { width, height, depth, colour, interlaced: interlace === 1, samples: SAMPLES[colour]! };
}

function inflate(data: Uint8Array, size: number): Uint8Array {
  let raw: Uint8Array;
  try {
    // One byte more than promised: to tell too much from enough.
    raw = inflateSync(data, { chunkSize: Math.max(64, size + 1), maxOutputLength: size + 1 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw damagedImage(
      code === 'ERR_BUFFER_TOO_LARGE' ? `expected ${size} bytes of rows, found more` : `its image data cannot be inflated: ${message}`,
    );
  }
  if (raw.length !== size) throw damagedImage(`expected ${size} bytes of rows, found ${raw.length > size ? 'more' : raw.length}`);
  return raw;
}
