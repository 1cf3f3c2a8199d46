/**
 * Mean and covariance of features, of images in memory and of data sets.
 */
import type { DataSource } from '../../core/contracts/data.js';
import type { FeatureExtractor, GaussianStatistics } from '../../core/contracts/metric.js';
import { FeatureStatistics } from '../../metrics/feature-statistics.js';
import type { Images } from './pass.js';
import { runPass } from './pass.js';

/** Images given to the feature network at a time. */
const BATCH = 250;

interface ImageSequence {
  count: number;
  images(first: number, count: number): Promise<Images>;
}

async function addAll(
  extractor: FeatureExtractor,
  { count, images }: ImageSequence,
  statistics: FeatureStatistics,
): Promise<FeatureStatistics> {
  await extractor.prepare?.();
  const use = async (batch: Images) => statistics.add(await extractor.extract(batch.images, batch.shape));
  await runPass({ phase: 'images', name: extractor.name, count, images, use }, { batchSize: BATCH });
  return statistics;
}

/** Statistics of the features of images `[B, H, W, C]` uint8, added in small batches. */
export function featureStatistics(
  extractor: FeatureExtractor,
  { images, shape }: Images,
  statistics = new FeatureStatistics(extractor.dimensions),
): Promise<FeatureStatistics> {
  const [count, height, width, channels] = shape;
  const stride = height * width * channels;
  const part = async (first: number, length: number): Promise<Images> => ({
    images: images.subarray(first * stride, (first + length) * stride),
    shape: [length, height, width, channels],
  });
  return addAll(extractor, { count, images: part }, statistics);
}

/** Statistics of `count` images of an opened data set, from image number `first` on. */
export async function dataStatistics(
  extractor: FeatureExtractor,
  source: DataSource,
  count: number,
  first = 0,
): Promise<GaussianStatistics> {
  const read = async (at: number, length: number): Promise<Images> => {
    const { images, shape } = await source.read(Uint32Array.from({ length }, (_, i) => first + at + i));
    return { images, shape: [...shape] };
  };
  return (await addAll(extractor, { count, images: read }, new FeatureStatistics(extractor.dimensions))).result();
}
