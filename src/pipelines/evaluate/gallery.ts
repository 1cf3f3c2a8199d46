/**
 * What there is to look at: random images, the reference images most like generated ones, and ways between latents.
 */
import type { DataSource } from '../../core/contracts/data.js';
import type { NearestSummary } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor, FeatureRows } from '../../core/contracts/metric.js';
import { formatNumber } from '../../core/format.js';
import { permutation } from '../../data/permutation.js';
import { rowViews } from '../../metrics/linear-algebra/row-products.js';
import { imageGrid, type ImageGridOptions } from '../../sinks/image-grid.js';
import { encodePng } from '../../sinks/png.js';
import { median, nearestRows } from './nearest.js';
import { runPass, type Images } from './pass.js';
import type { Subject } from './subject.js';

/** A picture of the page and its file. */
export interface GalleryPicture {
  /** Name of the file, without `.png`. */
  name: 'random' | 'nearest' | 'interpolations';
  title: string;
  caption: string;
  png: Uint8Array;
}

const picture = ({ images, shape }: Images, options: ImageGridOptions) => encodePng(imageGrid(images, shape, options));

/** Images that a grid can show: one channel or three; undefined for others. */
export const isShown = ({ channels }: Pick<Subject, 'channels'>): boolean => channels === 1 || channels === 3;

/** `count` images as square as can be. */
export async function randomPicture(subject: Subject, seed: number, count: number): Promise<GalleryPicture> {
  const sample = await subject.sample(seed, count);
  const which = subject.kind === 'data' ? 'Chosen at random' : `Images 0 to ${sample.shape[0] - 1} of seed ${seed}, none left out`;
  return { name: 'random', title: 'Random images', caption: which, png: picture(sample, {}) };
}

/** Rows from one latent to another; undefined for data. */
export function interpolationPicture(
  subject: Subject,
  seed: number,
  rows: number,
  columns: number,
  batchSize: number,
): GalleryPicture | undefined {
  const made = subject.interpolations?.({ seed, rows, columns, batchSize });
  if (made === undefined) return undefined;
  const caption = `Each row leads from one latent to another along a great circle, in ${columns - 1} equal steps`;
  return { name: 'interpolations', title: 'Interpolations of the latent', caption, png: picture(made, { columns }) };
}

export interface NearestOptions {
  subject: Subject;
  extractor: FeatureExtractor;
  source: DataSource;
  /** Which image of `source` each row of `features` is of. */
  indices: Uint32Array;
  features: FeatureRows;
  seed: number;
  /** Images of the evaluation. */
  of: number;
  /** Generated images to look at. */
  checked: number;
  rows: number;
  top: number;
  batchSize: number;
  signal?: AbortSignal | undefined;
}

/** The generated images with the nearest reference images, each beside its `top` nearest ones. */
export async function nearestImages(options: NearestOptions): Promise<{ summary: NearestSummary; picture: GalleryPicture | undefined }> {
  const { subject, extractor, source, indices, features, seed, of, checked, rows, top, batchSize, signal } = options;
  const generated: Float32Array[] = [];
  await runPass(
    {
      phase: 'page',
      name: 'nearest',
      count: checked,
      images: (first, count) => subject.images(seed, first, count, of),
      use: async ({ images, shape }) => {
        const values = await extractor.extract(images, shape);
        for (let b = 0; b < shape[0]; b++) generated.push(values.slice(b * extractor.dimensions, (b + 1) * extractor.dimensions));
      },
    },
    { batchSize, signal },
  );
  const nearest = await nearestRows(generated, features, Math.min(top, features.count));

  // What is usual: as many reference images, and their nearest others.
  const place = permutation(features.count, seed);
  const others = Array.from({ length: Math.min(checked, features.count) }, (_, i) => place(i));
  const views = rowViews(features);
  const usual = await nearestRows(
    others.map((row) => views[row]!),
    features,
    1,
    others,
  );

  const closest = [...nearest].sort((a, b) => a.matches[0]!.distance - b.matches[0]!.distance).slice(0, rows);
  const summary: NearestSummary = {
    extractor: extractor.name,
    checked,
    references: features.count,
    median: median(nearest.map(({ matches }) => matches[0]!.distance)),
    medianOfReferences: features.count > 1 ? median(usual.map(({ matches }) => matches[0]!.distance)) : 0,
    rows: closest.map(({ image, matches }) => ({
      image,
      matches: matches.map(({ reference, distance }) => ({ reference: indices[reference]!, distance })),
    })),
  };
  if (!isShown(subject)) return { summary, picture: undefined };
  return { summary, picture: await nearestPicture(summary, subject, source, seed, of) };
}

async function nearestPicture(
  { rows, checked, references }: NearestSummary,
  subject: Subject,
  source: DataSource,
  seed: number,
  of: number,
): Promise<GalleryPicture | undefined> {
  const columns = 1 + rows[0]!.matches.length;
  const { resolution: size, channels } = subject;
  const stride = size * size * channels;
  const images = new Uint8Array(rows.length * columns * stride);
  for (const [r, { image, matches }] of rows.entries()) {
    const own = await subject.images(seed, image, 1, of);
    images.set(own.images, r * columns * stride);
    const found = await source.read(Uint32Array.from(matches, ({ reference }) => reference));
    // References of another size cannot stand in one grid with the images.
    if (found.images.length !== matches.length * stride) return undefined;
    images.set(found.images, (r * columns + 1) * stride);
  }
  return {
    name: 'nearest',
    title: 'Nearest reference images',
    caption:
      `Left: of ${formatNumber(checked, 1)} images looked at, those with the nearest reference images, and how far these are; ` +
      `right of each: its nearest ones of ${formatNumber(references, 1)}, the nearest first`,
    png: picture(
      { images, shape: [rows.length * columns, size, size, channels] },
      { columns, rowCaptions: rows.map(({ matches }) => formatNumber(matches[0]!.distance, 3)) },
    ),
  };
}
