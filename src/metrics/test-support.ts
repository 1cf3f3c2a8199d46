/** For tests of metrics: sets of features by hand and at random, and an extractor that counts. */
import type { FeatureExtractor, FeatureSet, ImageShape } from '../core/contracts/metric.js';
import { PhiloxRandom } from '../core/random.js';
import { featureRows } from './feature-rows.js';
import { FeatureStatistics } from './feature-statistics.js';

/** A set of these rows. */
export function setOf(rows: readonly (readonly number[])[], extractor = 'by-hand'): FeatureSet {
  const dimensions = rows[0]!.length;
  const values = Float32Array.from(rows.flat());
  const finite = rows.flat().every(Number.isFinite);
  const statistics = new FeatureStatistics(dimensions);
  if (finite) statistics.add(values);
  const result =
    statistics.count > 1 ? statistics.result() : { mean: new Float64Array(dimensions), covariance: new Float64Array(dimensions ** 2) };
  return { extractor, count: rows.length, statistics: result, features: featureRows(values, dimensions) };
}

/** Normal rows around `shift`. */
export function normalRows(count: number, dimensions: number, seed: number, shift = 0): number[][] {
  const values = new PhiloxRandom(seed).stream('rows').normal(count * dimensions);
  return Array.from({ length: count }, (_, i) =>
    Array.from(values.subarray(i * dimensions, (i + 1) * dimensions), (v) => Math.fround(v + shift)),
  );
}

/** The first pixels of an image over 255 as features and, brought to a sum of 1, as probabilities of as many classes. */
export class PixelExtractor implements FeatureExtractor {
  readonly name = 'pixels';
  readonly classes: number;
  prepared = 0;
  images = 0;

  constructor(
    readonly dimensions: number,
    readonly weights = 'original',
  ) {
    this.classes = dimensions;
  }

  async prepare(): Promise<void> {
    this.prepared++;
  }

  identity(): string {
    return this.weights;
  }

  async extract(images: Uint8Array, shape: ImageShape): Promise<Float32Array> {
    this.images += shape[0];
    const stride = images.length / shape[0];
    return Float32Array.from(
      { length: shape[0] * this.dimensions },
      (_, i) => images[Math.floor(i / this.dimensions) * stride + (i % this.dimensions)]! / 255,
    );
  }

  async extractWithProbabilities(images: Uint8Array, shape: ImageShape): Promise<{ features: Float32Array; probabilities: Float32Array }> {
    const features = await this.extract(images, shape);
    const probabilities = features.map((value, i) => {
      const row = features.subarray(i - (i % this.dimensions), i - (i % this.dimensions) + this.dimensions);
      return (value + 1) / row.reduce((sum, v) => sum + v + 1, 0);
    });
    return { features, probabilities };
  }
}

/** Random images `[count, 4, 4, 1]`. */
export const randomImages = (count: number, seed = 0): Uint8Array =>
  Uint8Array.from(new PhiloxRandom(seed).stream('images').integers(count * 16, 256));
