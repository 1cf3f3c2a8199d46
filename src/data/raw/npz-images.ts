/**
 * Images in NumPy's `.npz`: an array of bytes, with labels beside it where there are some.
 */
import { constants } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { createInflateRaw } from 'node:zlib';
import { z } from 'zod';
import type { DataSource } from '../../core/contracts/data.js';
import { FileError } from '../../core/errors.js';
import { toFileError, withFileErrors } from '../../core/files.js';
import { parseNpyHeader, type NpyHeader } from '../../core/npz.js';
import { parseOptions } from '../../core/options.js';
import { openZip, type ZipIndex } from '../encoded/zip-index.js';
import { RawImages, RawSource, type RawRun } from './raw-images.js';

const npzOptions = z.strictObject({
  /** Name of the array of images; undefined: `images`, `arr_0` or `x`. */
  images: z.string().min(1).optional(),
  /** Name of the array of labels, `false` for none; undefined: `labels`, `label`, `arr_1` or `y`, where there is one. */
  labels: z.union([z.string().min(1), z.literal(false)]).optional(),
  /** Undefined: by the shape; where that fits both, `NHWC`. */
  layout: z.enum(['NHWC', 'NCHW']).optional(),
  /** What is done with an image whose label is none: an error that names it, or it is left out and counted. */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
});

/** Options of `npzImages`. @interface */
export type NpzImagesOptions = z.input<typeof npzOptions>;

const IMAGES = ['images', 'arr_0', 'x'];
const LABELS = ['labels', 'label', 'arr_1', 'y'];

/**
 * Images of a `.npz`: uint8 `[N, H, W, C]`, `[N, C, H, W]` or, grey, `[N, H, W]`, and labels `[N]` of any whole numbers.
 *
 * Of a file that `numpy.savez` wrote, images are read by range, whatever their size; what `numpy.savez_compressed` wrote is held in
 * memory, up to the largest buffer of this Node.js (4 GiB and more).
 *
 * `open()` throws FileError: `E_FILE_ABSENT`, `E_FILE_FORMAT` for what is damaged, of another type or shape, `E_FILE_TOO_LARGE`,
 * `E_IMAGE_LABEL`, `E_IMAGE_SIZE` where images are not square.
 */
export function npzImages(path: string, options: NpzImagesOptions = {}): DataSource {
  const parsed = parseOptions(npzOptions, options, 'npzImages');
  return new RawSource({ part: 'npzImages', options: { path, ...parsed } }, () => openNpzImages(path, parsed));
}

const unsuitable = (path: string, problem: string, help: string) => new FileError('E_FILE_FORMAT', `${path}: ${problem}`, { help });

/** An array of the file: its header, and where its values are. */
interface StoredArray extends NpyHeader {
  name: string;
  from: RawRun['from'];
  /** Where the values begin. */
  offset: number;
}

/** More than any header of NumPy's. */
const HEADER_BYTES = 65_536;

async function findArray(zip: ZipIndex, index: number): Promise<StoredArray> {
  const { path } = zip;
  const entry = zip.name(index);
  const name = `${path}: ${entry}`;
  const place = zip.location(index);
  try {
    let from: RawRun['from'] = { path };
    let begin = 0;
    let head: Buffer;
    if (place.compression === 'none') {
      const bytes = await readRange(path, place.offset, 30 + 2 * 0xffff + HEADER_BYTES);
      if (bytes.length < 30 || bytes.readUInt32LE(0) !== 0x04034b50)
        throw new RangeError(`${entry}: expected its data at byte ${place.offset}`);
      begin = 30 + bytes.readUInt16LE(26) + bytes.readUInt16LE(28);
      head = bytes.subarray(begin, begin + place.length);
      begin += place.offset;
    } else {
      if (place.size > constants.MAX_LENGTH)
        throw new FileError(
          'E_FILE_TOO_LARGE',
          `${name}: expected at most ${constants.MAX_LENGTH} bytes of a compressed array, found ${place.size}`,
          {
            help: 'write it with numpy.savez, uncompressed: then it is read by range',
          },
        );
      const bytes = await inflate(path, (await dataStart(path, place.offset)) + place.offset, place.length, place.size);
      from = { bytes };
      head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, HEADER_BYTES));
    }
    const header = parseNpyHeader(entry, head);
    if (itemSize(header.descr) === 0)
      throw new RangeError(
        `${entry}: expected numbers, found ${header.descr}${header.descr === '|O' ? ', pickled objects of Python: nothing was run' : ''}`,
      );
    const expected = header.shape.reduce((a, b) => a * b, itemSize(header.descr));
    if (place.size - header.start !== expected)
      throw new RangeError(
        `${entry}: expected ${expected} bytes for ${header.descr} [${header.shape.join(', ')}], found ${place.size - header.start}`,
      );
    return { ...header, name, from, offset: begin + header.start };
  } catch (error) {
    if (error instanceof RangeError) throw unsuitable(path, error.message, 'write it again with numpy.savez, or download it again');
    throw toFileError(error, path, 'read');
  }
}

/** Bytes of a number; 0 for what is none. */
const itemSize = (descr: string) => Number(/^[<>|][biufc](\d+)$/.exec(descr)?.[1] ?? 0);

async function readRange(path: string, begin: number, length: number): Promise<Buffer> {
  return withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const buffer = Buffer.alloc(length);
      let filled = 0;
      for (let bytesRead = -1; bytesRead !== 0 && filled < length; filled += bytesRead)
        ({ bytesRead } = await handle.read(buffer, filled, Math.min(length - filled, 1 << 26), begin + filled));
      return buffer.subarray(0, filled);
    } finally {
      await handle.close();
    }
  });
}

async function dataStart(path: string, offset: number): Promise<number> {
  const header = await readRange(path, offset, 30);
  return 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

/** Into one array, as it comes: no second copy of gigabytes. */
async function inflate(path: string, begin: number, length: number, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  if (length === 0) return out;
  const file = createReadStream(path, { start: begin, end: begin + length - 1, highWaterMark: 1 << 20 });
  const stream = file.pipe(createInflateRaw({ chunkSize: 1 << 20 }));
  file.on('error', (error) => stream.destroy(error));
  let filled = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (filled + chunk.length > size) throw new RangeError(`expected ${size} bytes after decompression, found more`);
      out.set(chunk, filled);
      filled += chunk.length;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code?.startsWith('Z_') === true ? new RangeError(`its compressed data is damaged: ${message}`) : error;
  } finally {
    file.destroy();
  }
  if (filled !== size) throw new RangeError(`expected ${size} bytes after decompression, found ${filled}`);
  return out;
}

/** The bytes of a small array. */
const valuesOf = async ({ from, offset }: StoredArray, bytes: number): Promise<Buffer> =>
  'bytes' in from ? Buffer.from(from.bytes.buffer, from.bytes.byteOffset + offset, bytes) : readRange(from.path, offset, bytes);

/** Whole numbers of any width and order of bytes, and booleans. */
async function labelValues(array: StoredArray, count: number): Promise<number[]> {
  const { descr, shape, name } = array;
  const match = /^([<>|])([iub])([1248])$/.exec(descr);
  const flat = shape.length === 1 || (shape.length === 2 && shape[1] === 1);
  if (!match || !flat || shape[0] !== count)
    throw unsuitable(
      name,
      `expected labels of whole numbers [${count}], found ${descr} [${shape.join(', ')}]`,
      'one class index an image; give labels: false to do without',
    );
  const [littleEndian, signed, size] = [match[1] !== '>', match[2] === 'i', Number(match[3])];
  const { buffer, byteOffset } = await valuesOf(array, count * size);
  const view = new DataView(buffer, byteOffset, count * size);
  const read: Record<number, (at: number) => number | bigint> = {
    1: (at) => (signed ? view.getInt8(at) : view.getUint8(at)),
    2: (at) => (signed ? view.getInt16(at, littleEndian) : view.getUint16(at, littleEndian)),
    4: (at) => (signed ? view.getInt32(at, littleEndian) : view.getUint32(at, littleEndian)),
    8: (at) => (signed ? view.getBigInt64(at, littleEndian) : view.getBigUint64(at, littleEndian)),
  };
  return Array.from({ length: count }, (_, k) => Number(read[size]!(k * size)));
}

/** Which axes are which. */
function layoutOf({ name, shape, descr, fortran }: StoredArray, wanted: 'NHWC' | 'NCHW' | undefined) {
  if (descr !== '|u1' && descr !== '<u1' && descr !== '>u1')
    throw unsuitable(
      name,
      `expected bytes (uint8) from 0 to 255, found ${descr}`,
      'convert it in NumPy: images.clip(0, 255).astype(numpy.uint8)',
    );
  if (fortran) throw unsuitable(name, 'expected an array in C order, found one in Fortran order', 'write numpy.ascontiguousarray(images)');
  const [count, a, b, c] = shape as [number, number, number, number];
  if (shape.length === 3 && wanted !== 'NCHW') return { count, height: a, width: b, channels: 1, order: 'pixels' } as const;
  const candidates = [
    { layout: 'NHWC', count, height: a, width: b, channels: c, order: 'pixels' },
    { layout: 'NCHW', count, height: b, width: c, channels: a, order: 'planes' },
  ] as const;
  const fits = candidates.filter(
    ({ layout, channels }) => shape.length === 4 && (wanted ?? layout) === layout && channels >= 1 && channels <= 4,
  );
  // Of two that fit the one that has squares, then the one with grey or RGB, then the first.
  const likely = ({ height, width, channels }: (typeof candidates)[number]) =>
    (height === width ? 2 : 0) + (channels === 1 || channels === 3 ? 1 : 0);
  const [best] = fits.toSorted((one, other) => likely(other) - likely(one));
  if (best) {
    const { layout: _, ...found } = best;
    return found;
  }
  throw unsuitable(
    name,
    `expected ${wanted ?? '[N, H, W, C], [N, C, H, W] or [N, H, W]'} with 1 to 4 channels, found [${shape.join(', ')}]`,
    'one image after another: reshape or transpose it in NumPy',
  );
}

/** Opens {@link npzImages}. */
export async function openNpzImages(path: string, options: NpzImagesOptions = {}): Promise<RawImages> {
  const { images: imagesName, labels: labelsName, layout: wanted, onInvalid } = parseOptions(npzOptions, options, 'npzImages');
  const zip = await openZip(path);
  const find = (names: readonly string[]) => names.map((name) => zip.find(`${name}.npy`)).find((index) => index !== -1);
  const there = () => Array.from({ length: Math.min(zip.size, 20) }, (_, k) => zip.name(k)).join(', ') || 'nothing';
  const absent = (what: string, names: readonly string[]) =>
    unsuitable(path, `expected an array of ${what} named ${names.join(', ')}, found ${there()}`, `name it: { ${what}: '…' }`);

  const imageNames = imagesName === undefined ? IMAGES : [imagesName];
  const imagesAt = find(imageNames);
  if (imagesAt === undefined) throw absent('images', imageNames);
  const array = await findArray(zip, imagesAt);
  const { count, ...shape } = layoutOf(array, wanted);
  if (count === 0) throw new FileError('E_IMAGE_NONE', `${array.name}: expected images, found none`, { help: 'the array is empty' });

  const labelNames = labelsName === false ? [] : labelsName === undefined ? LABELS : [labelsName];
  const labelsAt = find(labelNames);
  if (typeof labelsName === 'string' && labelsAt === undefined) throw absent('labels', labelNames);
  let labels: Uint32Array | undefined;
  let kept: number[] | undefined;
  if (labelsAt !== undefined) {
    const values = await labelValues(await findArray(zip, labelsAt), count);
    kept = [];
    for (const [k, value] of values.entries()) {
      if (value >= 0 && value < 2 ** 31) kept.push(k);
      else if (onInvalid === 'stop')
        throw new FileError('E_IMAGE_LABEL', `${array.name}[${k}]: expected a label of 0 or more, found ${value}`, {
          help: 'leave such images out with onInvalid: skip, or all labels with labels: false',
        });
    }
    labels = Uint32Array.from(kept, (k) => values[k]!);
  }
  const skipped = kept === undefined ? 0 : count - kept.length;
  return new RawImages({
    name: basename(path),
    format: 'NumPy archive',
    runs: [{ name: array.name, from: array.from, offset: array.offset, count }],
    ...shape,
    classes: labels === undefined ? 0 : labels.reduce((most, label) => Math.max(most, label + 1), 0),
    labels,
    kept: skipped > 0 ? Uint32Array.from(kept!) : undefined,
    ...(onInvalid === 'skip' && { skipped }),
  });
}
