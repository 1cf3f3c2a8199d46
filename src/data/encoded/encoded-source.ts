/**
 * A data source of encoded images: decoded by worker threads, each one checked.
 */
import { z } from 'zod';
import type { DataDescription, DataSource, ImageBatch } from '../../core/contracts/data.js';
import { ArgumentError, FileError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { decodePool, workersOption, type DecodePool } from './decode-pool.js';
import type { DecodedImage, EncodedImages, OnInvalid } from './encoded-images.js';

export const encodedSourceOptions = z.strictObject({
  /** Threads that read and decode; by default one for each core, 8 at most. */
  workers: workersOption,
  /**
   * What becomes of an image that is damaged, of an odd size or channel count, or without a label where others have one:
   * `stop` makes it an error of the read that comes upon it; `skip` decodes every image once when the source is opened, leaves the
   * invalid ones out and counts them.
   */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
});

/**
 * Options of every source of encoded images.
 *
 * @interface
 */
export type EncodedSourceOptions = z.input<typeof encodedSourceOptions>;

/**
 * The data source of a set of encoded images of one size.
 *
 * All images must be squares, of the size and the channels of the first one; with `onInvalid: 'skip'` of those of most squares.
 * Read again, an index always gives the same image: invalid ones are left out when the source is opened, none is replaced later.
 *
 * @param open opens the set; it leaves out what it finds invalid itself where it is told to skip, and tells how many.
 * @returns a source that rejects with FileError, naming the image: `E_IMAGE_FORMAT` damaged or unknown, `E_IMAGE_SIZE`,
 * `E_IMAGE_CHANNELS`, `E_IMAGE_LABEL`, `E_IMAGE_DECODER` (sharp is absent), `E_IMAGE_WORKER` (a worker died); `E_IMAGE_NONE` where the
 * set is empty.
 * @throws ConfigError for wrong or unknown options.
 */
export function encodedSource(open: (onInvalid: OnInvalid) => Promise<EncodedImages>, options: EncodedSourceOptions = {}): DataSource {
  return new EncodedSource(open, parseOptions(encodedSourceOptions, options, 'encodedSource'));
}

type Shape = Pick<DecodedImage, 'height' | 'width' | 'channels'>;

/** A source that stands in config.json by its part and all of its options, `described`. */
export function describedSource(
  part: string,
  described: unknown,
  open: (onInvalid: OnInvalid) => Promise<EncodedImages>,
  options: z.output<typeof encodedSourceOptions>,
): DataSource {
  return Object.assign(new EncodedSource(open, options), { description: { part, options: described } });
}

interface Opened {
  images: EncodedImages;
  pool: DecodePool;
  shape: Shape;
  /** The set's index of each valid image; undefined: all are. */
  valid?: Uint32Array | undefined;
}

class EncodedSource implements DataSource {
  #opened: Opened | undefined;
  #opening: Promise<DataDescription> | undefined;
  #closed = false;
  readonly #pool: DecodePool;

  constructor(
    private readonly openImages: (onInvalid: OnInvalid) => Promise<EncodedImages>,
    private readonly options: z.output<typeof encodedSourceOptions>,
  ) {
    this.#pool = decodePool({ workers: options.workers });
  }

  open(): Promise<DataDescription> {
    return (this.#opening ??= this.#open());
  }

  async #open(): Promise<DataDescription> {
    const skip = this.options.onInvalid === 'skip';
    const images = await this.openImages(this.options.onInvalid);
    try {
      if (this.#closed) throw new FileError('E_FILE_CLOSED', `${images.name}: closed while it was being opened`);
      if (images.size === 0)
        throw none(images, `expected images, found none${images.skipped ? ` of ${images.skipped} valid; onInvalid: stop says why` : ''}`);
      const { shape, valid } = skip
        ? await checkAll(images, this.#pool)
        : { shape: await firstShape(images, this.#pool), valid: undefined };
      this.#opened = { images, pool: this.#pool, shape, valid };
      const size = valid?.length ?? images.size;
      return {
        name: images.name,
        resolution: shape.height,
        channels: shape.channels,
        classes: images.classes,
        size,
        ...(skip ? { skipped: images.size - size + (images.skipped ?? 0) } : {}),
      };
    } catch (error) {
      await images.close();
      throw error;
    }
  }

  async read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    signal?.throwIfAborted();
    if (this.#opened === undefined) await this.open();
    const { images, pool, shape, valid } = this.#opened!;
    const size = valid?.length ?? images.size;
    const wrong = indices.find((index) => index >= size);
    if (wrong !== undefined) throw new ArgumentError('E_VALUE', `${images.name}: expected an index below ${size}, got ${wrong}`);
    const places = valid === undefined ? indices : indices.map((index) => valid[index]!);
    const decoded = await pool.decode(images, places, signal);

    const bytes = shape.height * shape.width * shape.channels;
    const pixels = new Uint8Array(indices.length * bytes);
    decoded.forEach((image, k) => {
      const error = image instanceof FileError ? image : shapeError(image, shape, images, places[k]!, valid?.[0] ?? 0);
      if (error !== undefined) throw error;
      pixels.set((image as DecodedImage).pixels, k * bytes);
    });
    const batch: ImageBatch = { images: pixels, shape: [indices.length, shape.height, shape.width, shape.channels] };
    const { labels } = images;
    if (labels !== undefined) batch.labels = places.map((place) => labels[place]!);
    return batch;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool.close();
    await this.#opened?.images.close();
  }
}

const HELP_SIZE = 'make them square and of one size with the command onestep dataset, or leave odd ones out with onInvalid: skip';

const nameOf = (images: EncodedImages, index: number) => `${images.name}: ${images.entryName(index)}`;

const text = ({ height, width }: Shape) => `${width}x${height} px`;

const none = ({ name }: EncodedImages, problem: string) =>
  new FileError('E_IMAGE_NONE', `${name}: ${problem}`, { help: 'check the path; PNG, JPEG and WebP are read' });

/** `like`: an image that has the shape of the set. */
function shapeError(image: Shape, shape: Shape, images: EncodedImages, index: number, like: number): FileError | undefined {
  const where = nameOf(images, index);
  if (image.height !== shape.height || image.width !== shape.width)
    return new FileError('E_IMAGE_SIZE', `${where}: expected ${text(shape)} as ${images.entryName(like)}, found ${text(image)}`, {
      help: HELP_SIZE,
    });
  if (image.channels !== shape.channels)
    return new FileError(
      'E_IMAGE_CHANNELS',
      `${where}: expected ${shape.channels} channels as ${images.entryName(like)}, found ${image.channels}`,
      {
        help: 'give all of them the same channels (RGB has 3, transparency is one more), or leave odd ones out with onInvalid: skip',
      },
    );
  return undefined;
}

async function firstShape(images: EncodedImages, pool: DecodePool): Promise<Shape> {
  const [first] = await pool.decode(images, [0]);
  if (first instanceof FileError) throw first;
  if (!isSquare(first!)) throw notSquare(images, 0, first!);
  return first!;
}

const isSquare = ({ height, width }: Shape) => height === width;

const notSquare = (images: EncodedImages, index: number, shape: Shape) =>
  new FileError('E_IMAGE_SIZE', `${nameOf(images, index)}: expected a square, found ${text(shape)}`, { help: HELP_SIZE });

/** Decodes every image once: the shape of most squares, and which have it. */
async function checkAll(images: EncodedImages, pool: DecodePool): Promise<{ shape: Shape; valid: Uint32Array | undefined }> {
  const kinds: (string | undefined)[] = new Array<undefined>(images.size);
  const shapes = new Map<string, { shape: Shape; count: number }>();
  let first: FileError | undefined;
  const part = 256;
  const check = async (from: number): Promise<void> => {
    const indices = Array.from({ length: Math.min(part, images.size - from) }, (_, k) => from + k);
    (await pool.decode(images, indices)).forEach((image, k) => {
      if (image instanceof FileError) {
        // Without its package an image is neither valid nor invalid.
        if (image.code === 'E_IMAGE_DECODER') throw image;
        first ??= image;
        return;
      }
      if (!isSquare(image)) {
        first ??= notSquare(images, from + k, image);
        return;
      }
      const { height, width, channels } = image;
      const kind = `${width}x${height}x${channels}`;
      const found = shapes.get(kind) ?? { shape: { height, width, channels }, count: 0 };
      found.count++;
      shapes.set(kind, found);
      kinds[from + k] = kind;
    });
  };
  // Two parts at a time keep every worker busy.
  for (let from = 0; from < images.size; from += 2 * part)
    await Promise.all([from, from + part].filter((at) => at < images.size).map(check));

  const best = [...shapes].map(([kind, found]) => ({ kind, ...found })).sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1))[0];
  if (best === undefined)
    throw none(images, `expected images, found none of ${images.size} valid; the first: ${first!.message.split('\n')[0]}`);
  if (best.count === images.size) return { shape: best.shape, valid: undefined };
  const valid = new Uint32Array(best.count);
  let filled = 0;
  kinds.forEach((kind, index) => {
    if (kind === best.kind) valid[filled++] = index;
  });
  return { shape: best.shape, valid };
}
