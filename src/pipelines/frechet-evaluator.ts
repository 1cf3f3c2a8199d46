/**
 * The Fréchet distance as an evaluator of students, teachers and data.
 */
import type { DataSource } from '../core/contracts/data.js';
import type { FeatureExtractor, GaussianStatistics } from '../core/contracts/metric.js';
import { FeatureStatistics } from '../metrics/feature-statistics.js';
import { frechetDistance } from '../metrics/frechet.js';
import type { Evaluator } from './evaluator.js';
import type { GeneratedImages } from './numbered-images.js';

/** Images given to the feature network at a time. */
const BATCH = 250;

/** Statistics of the features of images `[B, H, W, C]` uint8, added in small batches. */
export async function featureStatistics(
  extractor: FeatureExtractor,
  { images, shape }: Pick<GeneratedImages, 'images' | 'shape'>,
  statistics = new FeatureStatistics(extractor.dimensions),
): Promise<FeatureStatistics> {
  const [count, height, width, channels] = shape;
  const stride = height * width * channels;
  for (let at = 0; at < count; at += BATCH) {
    const length = Math.min(BATCH, count - at);
    statistics.add(await extractor.extract(images.subarray(at * stride, (at + length) * stride), [length, height, width, channels]));
    // Leave the event loop a turn: evaluation may run inside training.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return statistics;
}

/** Statistics of `count` images of an opened data set, from image number `first` on. */
export async function dataStatistics(
  extractor: FeatureExtractor,
  source: DataSource,
  count: number,
  first = 0,
): Promise<GaussianStatistics> {
  const statistics = new FeatureStatistics(extractor.dimensions);
  for (let at = 0; at < count; at += BATCH) {
    const indices = Uint32Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => first + at + i);
    const { images, shape } = await source.read(indices);
    await featureStatistics(extractor, { images, shape: [...shape] }, statistics);
  }
  return statistics.result();
}

/** Options of `frechetEvaluator`. */
export interface FrechetOptions {
  extractor: FeatureExtractor;
  reference: GaussianStatistics;
  /** Images to generate. */
  images: number;
  /** Seed of the latents; image i is the same whatever else happens. Default 0. */
  seed?: number;
}

/** Generates images and reports `{ frechet }` against a reference. */
export function frechetEvaluator({ extractor, reference, images, seed = 0 }: FrechetOptions): Evaluator {
  return {
    name: `frechet over ${extractor.name}`,
    evaluate: async (student) => {
      const statistics = await featureStatistics(extractor, student.generate({ count: images, seed }));
      return { frechet: frechetDistance(statistics.result(), reference) };
    },
  };
}
