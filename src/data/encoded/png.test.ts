import { encode } from 'fast-png';
import fc from 'fast-check';
import sharp from 'sharp';
import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { crc32, crc32InScript } from '../../core/crc32.js';
import { decodeImage } from './decode-image.js';
import { decodePng, isPng } from './png.js';

/** A chunk with its length and checksum. */
function chunk(type: string, content: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + content.length);
  bytes.writeUInt32BE(content.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(content, 8);
  bytes.writeUInt32BE(crc32InScript(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

function header(width: number, height: number, depth: number, colour: number, interlace = 0): Buffer {
  const content = Buffer.alloc(13);
  content.writeUInt32BE(width, 0);
  content.writeUInt32BE(height, 4);
  content.set([depth, colour, 0, 0, interlace], 8);
  return chunk('IHDR', content);
}

/** A PNG of rows that have their filters already. */
const png = (ihdr: Buffer, rows: Uint8Array, ...others: Buffer[]) =>
  Buffer.concat([SIGNATURE, ihdr, ...others, chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);

/** The filters of ISO/IEC 15948, 9.2, written from the standard's formulas: the row before filtering to the row after it. */
function filterRow(filter: number, row: Uint8Array, above: Uint8Array, step: number): Buffer {
  const out = Buffer.alloc(row.length + 1, filter);
  row.forEach((x, k) => {
    const [a, b, c] = [row[k - step] ?? 0, above[k] ?? 0, (k >= step ? above[k - step] : 0) ?? 0];
    const p = a + b - c;
    const near = [a, b, c].reduce((best, value) => (Math.abs(p - value) < Math.abs(p - best) ? value : best));
    out[k + 1] = x - [0, a, b, Math.floor((a + b) / 2), near][filter]!;
  });
  return out;
}

const pixelsOf = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const picture = fc
  .record({ width: fc.integer({ min: 1, max: 19 }), height: fc.integer({ min: 1, max: 12 }), channels: fc.integer({ min: 1, max: 4 }) })
  .chain((shape) => fc.record({ shape: fc.constant(shape), pixels: pixelsOf(shape.width * shape.height * shape.channels) }));

describe('decodePng', () => {
  it('undoes each filter in any row, at every number of channels', () => {
    fc.assert(
      fc.property(picture, fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 12, maxLength: 12 }), ({ shape, pixels }, filters) => {
        const { width, height, channels } = shape;
        const row = (y: number) => pixels.subarray(y * width * channels, (y + 1) * width * channels);
        const rows = Array.from({ length: height }, (_, y) =>
          filterRow(filters[y]!, row(y), y > 0 ? row(y - 1) : Buffer.alloc(width * channels), channels),
        );
        const decoded = decodePng(png(header(width, height, 8, [0, 0, 4, 2, 6][channels]!), Buffer.concat(rows)));
        expect(decoded).toMatchObject({ width, height, channels });
        expect(Buffer.from(decoded.pixels).equals(pixels)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('reads what fast-png writes', () => {
    fc.assert(
      fc.property(picture, ({ shape, pixels }) => {
        const decoded = decodePng(encode({ ...shape, data: pixels, depth: 8 }));
        expect(decoded).toMatchObject(shape);
        expect(Buffer.from(decoded.pixels).equals(pixels)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ['adaptive filters', { adaptiveFiltering: true }],
    ['interlaced', { progressive: true }],
    ['a palette', { palette: true, colours: 16 }],
    ['a palette of two colours', { palette: true, colours: 2, dither: 0 }],
    ['an interlaced palette', { palette: true, colours: 4, progressive: true }],
  ])('gives the pixels that sharp gives: %s', async (_name, options) => {
    for (const [width, height, channels] of [
      [1, 1, 3],
      [3, 2, 3],
      [9, 17, 3],
      [32, 32, 3],
      [33, 5, 4],
    ] as const) {
      const pixels = Buffer.from(
        Array.from({ length: width * height * channels }, (_, k) => (k % channels === 3 ? (k % 3) * 127 : (k * k * 7) % 251)),
      );
      const bytes = await sharp(pixels, { raw: { width, height, channels } }).png(options).toBuffer();
      const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
      const decoded = decodePng(bytes);
      expect(decoded).toMatchObject({ width, height, channels: info.channels });
      expect(Buffer.from(decoded.pixels).equals(data)).toBe(true);
    }
  });

  it('scales greys of 1, 2 and 4 bits, whose rows begin at bytes, and keeps the high byte of 16', () => {
    expect(decodePng(png(header(3, 2, 1, 0), Uint8Array.of(0, 0b10100000, 0, 0b01000000))).pixels).toEqual(
      Uint8Array.of(255, 0, 255, 0, 255, 0),
    );
    expect(decodePng(png(header(5, 1, 2, 0), Uint8Array.of(0, 0b00011011, 0b01000000))).pixels).toEqual(Uint8Array.of(0, 85, 170, 255, 85));
    expect(decodePng(png(header(3, 1, 4, 0), Uint8Array.of(0, 0x0f, 0x70))).pixels).toEqual(Uint8Array.of(0, 255, 119));
    expect(decodePng(png(header(2, 1, 16, 0), Uint8Array.of(0, 1, 2, 254, 253))).pixels).toEqual(Uint8Array.of(1, 254));
  });

  it('makes the colour of tRNS transparent, at the depth of the file', () => {
    const grey = decodePng(png(header(2, 1, 8, 0), Uint8Array.of(0, 7, 8), chunk('tRNS', Uint8Array.of(0, 7))));
    expect(grey).toEqual({ width: 2, height: 1, channels: 2, pixels: Uint8Array.of(7, 0, 8, 255) });
    const deep = decodePng(png(header(2, 1, 16, 0), Uint8Array.of(0, 1, 2, 1, 3), chunk('tRNS', Uint8Array.of(1, 2))));
    expect(deep.pixels).toEqual(Uint8Array.of(1, 0, 1, 255));
    const rgb = decodePng(png(header(2, 1, 8, 2), Uint8Array.of(0, 1, 2, 3, 1, 2, 4), chunk('tRNS', Uint8Array.of(0, 1, 0, 2, 0, 3))));
    expect(rgb.pixels).toEqual(Uint8Array.of(1, 2, 3, 0, 1, 2, 4, 255));
    const palette = [chunk('PLTE', Uint8Array.of(9, 8, 7, 6, 5, 4)), chunk('tRNS', Uint8Array.of(100))];
    expect(decodePng(png(header(2, 1, 8, 3), Uint8Array.of(0, 1, 0), ...palette)).pixels).toEqual(
      Uint8Array.of(6, 5, 4, 255, 9, 8, 7, 100),
    );
  });

  it('takes image data in several chunks, and leaves chunks that it does not know', () => {
    const data = deflateSync(Uint8Array.of(0, 1, 2, 3));
    const parts = [data.subarray(0, 3), data.subarray(3, 4), data.subarray(4)].map((part) => chunk('IDAT', part));
    const bytes = Buffer.concat([SIGNATURE, header(3, 1, 8, 0), chunk('tEXt', Buffer.from('a')), ...parts, chunk('IEND', Buffer.alloc(0))]);
    expect(decodePng(bytes).pixels).toEqual(Uint8Array.of(1, 2, 3));
  });
});

describe('damaged images', () => {
  const whole = png(header(4, 4, 8, 2), Buffer.alloc(4 * 13, 0));
  const code = { code: 'E_IMAGE_FORMAT' };

  it('cut anywhere, is told to end early, with its name', async () => {
    for (let length = 8; length < whole.length; length++) {
      await expect(decodeImage(whole.subarray(0, length), 'cats/1.png')).rejects.toMatchObject(code);
      await expect(decodeImage(whole.subarray(0, length), 'cats/1.png')).rejects.toThrow(
        /^cats\/1\.png: expected a whole PNG, found its end after \d+ bytes/,
      );
    }
  });

  it('with any one byte of a chunk changed, is refused', () => {
    for (let at = 8; at < whole.length; at++) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1 << (at % 8);
      expect(() => decodePng(changed), `byte ${at}`).toThrow(expect.objectContaining(code) as Error);
    }
  });

  it.each([
    ['too little image data', png(header(4, 4, 8, 2), Buffer.alloc(51)), 'expected 52 bytes of rows, found 51'],
    ['too much image data', png(header(4, 4, 8, 2), Buffer.alloc(53)), 'expected 52 bytes of rows, found more'],
    ['far too much image data', png(header(4, 4, 8, 2), Buffer.alloc(1 << 24)), 'expected 52 bytes of rows, found more'],
    ['an unknown filter', png(header(1, 1, 8, 0), Uint8Array.of(5, 0)), 'row 0: expected a filter of 0 to 4, found 5'],
    ['no pixels', png(header(0, 1, 8, 0), Uint8Array.of(0)), 'found 0x1'],
    ['a depth that the colour type has not', png(header(1, 1, 4, 2), Uint8Array.of(0)), 'type 2, depth 4'],
    [
      'billions of pixels',
      png(header(1 << 30, 1 << 30, 8, 2), Uint8Array.of(0)),
      'expected at most 268402689 pixels, found 1073741824x1073741824',
    ],
    ['a palette that is absent', png(header(1, 1, 8, 3), Uint8Array.of(0, 0)), 'expected a palette of RGB triples, found none'],
    [
      'an index outside the palette',
      png(header(1, 1, 8, 3), Uint8Array.of(0, 1), chunk('PLTE', Buffer.alloc(3))),
      'a palette of 1 colours, found 1',
    ],
    [
      'an unknown critical chunk',
      png(header(1, 1, 8, 0), Uint8Array.of(0, 1), chunk('ABCD', Buffer.alloc(3))),
      'the critical chunk "ABCD"',
    ],
    [
      'image data that is none',
      Buffer.concat([SIGNATURE, header(1, 1, 8, 0), chunk('IDAT', Buffer.from('hello')), chunk('IEND', Buffer.alloc(0))]),
      'cannot be inflated',
    ],
    ['no image data', Buffer.concat([SIGNATURE, header(1, 1, 8, 0), chunk('IEND', Buffer.alloc(0))]), 'found no chunk IDAT'],
    ['no header', Buffer.concat([SIGNATURE, chunk('IDAT', Buffer.alloc(0))]), 'expected one chunk IHDR, the first, found "IDAT"'],
  ])('%s', (_name, bytes, message) => {
    expect(isPng(bytes)).toBe(true);
    expect(() => decodePng(bytes)).toThrow(
      expect.objectContaining({ ...code, problem: expect.stringContaining(message) as string }) as Error,
    );
  });

  it('never fails in another way, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, bytes) => {
        const changed = Buffer.from(whole);
        changed.set(bytes.subarray(0, changed.length - at), at);
        try {
          expect(decodePng(changed).pixels).toHaveLength(48);
        } catch (error) {
          expect(error).toMatchObject(code);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('decodeImage', () => {
  const grey = Buffer.from(Array.from({ length: 64 }, (_, k) => 4 * k));

  it('reads JPEG and WebP: greys to 1 channel, colours to 3, transparency to 4', async () => {
    const raw = { width: 8, height: 8, channels: 1 } as const;
    const jpeg = await sharp(grey, { raw }).toColourspace('b-w').jpeg({ quality: 100 }).toBuffer();
    const decoded = await decodeImage(jpeg, 'grey.jpg');
    expect(decoded).toMatchObject({ width: 8, height: 8, channels: 1 });
    decoded.pixels.forEach((value, k) => expect(Math.abs(value - grey[k]!)).toBeLessThan(4));

    const rgba = Buffer.from(Array.from({ length: 64 * 4 }, (_, k) => (k % 4 === 3 ? 128 : k)));
    const webp = await sharp(rgba, { raw: { ...raw, channels: 4 } })
      .webp({ lossless: true })
      .toBuffer();
    const lossless = await decodeImage(webp, 'a.webp');
    expect(lossless).toMatchObject({ width: 8, height: 8, channels: 4 });
    expect(Buffer.from(lossless.pixels).equals(rgba)).toBe(true);
    expect(
      await decodeImage(
        await sharp(rgba, { raw: { ...raw, channels: 4 } })
          .jpeg()
          .toBuffer(),
        'a.jpg',
      ),
    ).toMatchObject({ channels: 3 });
  });

  it('names what is cut short, empty or no image', async () => {
    const jpeg = await sharp(grey, { raw: { width: 8, height: 8, channels: 1 } })
      .jpeg()
      .toBuffer();
    await expect(decodeImage(jpeg.subarray(0, jpeg.length - 30), 'b.jpg')).rejects.toThrow(/^b\.jpg: a JPEG that cannot be decoded: /);
    await expect(decodeImage(Buffer.alloc(0), 'empty.png')).rejects.toThrow('empty.png: expected an image, found no bytes');
    await expect(decodeImage(Buffer.from('<html>'), 'page.png')).rejects.toThrow(
      'page.png: expected a PNG, a JPEG or a WebP, found something else',
    );
    await expect(decodeImage(Buffer.from('<html>'), 'page.png')).rejects.toMatchObject({
      code: 'E_IMAGE_FORMAT',
      help: expect.stringContaining('onInvalid') as string,
    });
  });
});

describe('crc32', () => {
  it('has its check value, in both ways', () => {
    // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    expect(crc32InScript(Buffer.from('123456789'))).toBe(0xcbf43926);
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
  });
});
