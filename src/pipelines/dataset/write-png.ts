import { deflate } from 'node:zlib';
import { promisify } from 'node:util';
import { crc32 } from '../../core/crc32.js';
import type { DecodedImage } from '../../data/encoded/encoded-images.js';

const compress = promisify(deflate);

const chunk = (type: string, content: Uint8Array): Buffer => {
  const out = Buffer.alloc(12 + content.length);
  out.writeUInt32BE(content.length, 0);
  out.write(type, 4, 'latin1');
  out.set(content, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + content.length)), 8 + content.length);
  return out;
};

/** Colour types of PNG by number of channels. */
const COLOUR = [0, 0, 4, 2, 6];

/**
 * An 8-bit PNG without filters and without compression, as EDM's data sets have them: reading one costs least, and any zlib writes the
 * same bytes.
 */
export async function writePng({ pixels, width, height, channels }: DecodedImage): Promise<Buffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, COLOUR[channels]!, 0, 0, 0], 8);
  const stride = width * channels;
  const rows = Buffer.alloc(height * (stride + 1));
  for (let y = 0; y < height; y++) rows.set(pixels.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  const data = await compress(rows, { level: 0 });
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', new Uint8Array(0))]);
}
