/** A feature extractor that needs no engine: mean colours of blocks, and probabilities by brightness. */
import type { FeatureExtractor, ImageShape } from '../../src/index.js';

export interface BlockMeans extends FeatureExtractor {
  /** Images that were looked at. */
  looked: number;
}

/** Rows of 2x2 blocks of three channels: 12 values. */
export function blockMeans(name = 'block-means'): BlockMeans {
  const features = (images: Uint8Array, [count, size, , channels]: ImageShape): Float32Array => {
    const rows = new Float32Array(count * 4 * channels);
    for (let b = 0; b < count; b++)
      for (let y = 0; y < size; y++)
        for (let x = 0; x < size; x++)
          for (let c = 0; c < channels; c++) {
            const block = 2 * Math.floor((2 * y) / size) + Math.floor((2 * x) / size);
            rows[(b * 4 + block) * channels + c]! += images[((b * size + y) * size + x) * channels + c]! / (size * size * 64);
          }
    return rows;
  };
  return {
    name,
    dimensions: 12,
    classes: 2,
    looked: 0,
    extract(images, shape) {
      this.looked += shape[0];
      return Promise.resolve(features(images, shape));
    },
    extractWithProbabilities(images, shape) {
      this.looked += shape[0];
      const rows = features(images, shape);
      const bright = Array.from({ length: shape[0] }, (_, b) => rows[b * 12]! / 2);
      return Promise.resolve({ features: rows, probabilities: Float32Array.from(bright.flatMap((p) => [p, 1 - p])) });
    },
    identity: () => `${name} 1`,
  };
}
