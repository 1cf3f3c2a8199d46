import { FileError } from '../../core/errors.js';
import { openImages, type DatasetOptions } from '../../data/dataset.js';
import type { DecodedImage } from '../../data/encoded/encoded-images.js';
import { squareImage, centreSquare } from '../../data/square-images.js';
import { imageGrid, type Picture } from '../../sinks/image-grid.js';

/** What a data set is. */
export interface DatasetSummary {
  name: string;
  format: string;
  images: number;
  /** Images that were looked at, at equal distances through the set. */
  looked: number;
  /** How many of these have each size, such as `32 x 32, 3 channels`. */
  shapes: Readonly<Record<string, number>>;
  /** Names of images that cannot be used, and why. */
  invalid: readonly string[];
  classes: readonly { index: number; name?: string; images: number }[];
  /** Left out when the set was opened. */
  skipped: number;
}

const LOOKED = 1000;
const SAMPLES = 64;
const PART = 64;

/**
 * Looks at the data set at `source`: its format, its labels, and the sizes of up to 1,000 images, or of `all`.
 *
 * Also gives a grid of up to 64 samples at equal distances; undefined where none can be decoded. Throws as `dataset`.
 */
export async function describeDataset(
  source: string,
  options: DatasetOptions & { all?: boolean } = {},
): Promise<{ summary: DatasetSummary; grid: Picture | undefined }> {
  const { all = false, ...open } = options;
  const images = await openImages(source, open);
  try {
    const looked = Math.min(images.size, all ? Infinity : LOOKED);
    const every = Math.max(1, Math.floor(looked / SAMPLES));
    const shapes: Record<string, number> = {};
    const invalid: string[] = [];
    const samples: DecodedImage[] = [];
    for (let from = 0; from < looked; from += PART) {
      const part = Array.from({ length: Math.min(PART, looked - from) }, (_, k) => Math.floor(((from + k) * images.size) / looked));
      (await images.decode(part)).forEach((image, k) => {
        if (image instanceof FileError) {
          invalid.push(image.message.split('\n')[0]!);
          return;
        }
        const shape = `${image.width} x ${image.height}, ${image.channels} ${image.channels === 1 ? 'channel' : 'channels'}`;
        shapes[shape] = (shapes[shape] ?? 0) + 1;
        if ((from + k) % every === 0 && samples.length < SAMPLES) samples.push(image);
      });
    }
    const counts = new Array<number>(images.classes).fill(0);
    images.labels?.forEach((label) => counts[label]!++);
    const classes = counts.map((count, index) => {
      const name = images.classNames?.[index];
      return { index, ...(name !== undefined && { name }), images: count };
    });
    const summary = {
      ...{ name: images.name, format: images.format, images: images.size, looked, shapes, invalid, classes },
      skipped: images.skipped ?? 0,
    };
    return { summary, grid: samples.length === 0 ? undefined : gridOf(samples) };
  } finally {
    await images.close();
  }
}

/** Samples of any sizes as squares of one. */
function gridOf(samples: readonly DecodedImage[]): Picture {
  const side = Math.min(128, Math.max(...samples.map(({ width, height }) => Math.min(width, height))));
  const batch = new Uint8Array(samples.length * side * side * 3);
  samples.forEach((sample, b) => {
    const { pixels, channels } = squareImage(centreSquare(sample), side, 'lanczos');
    for (let k = 0; k < side * side; k++)
      for (let c = 0; c < 3; c++) batch[(b * side * side + k) * 3 + c] = pixels[k * channels + (channels < 3 ? 0 : c)]!;
  });
  return imageGrid(batch, [samples.length, side, side, 3]);
}
