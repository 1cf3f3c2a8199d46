/**
 * Metrics: what a distance between sets of images is computed from.
 */

/** Maps images to features, one row an image; the same image always gives the same row. */
export interface FeatureExtractor {
  /** For reports, such as `inception-v3`; features of different names are not comparable. */
  readonly name: string;
  /** Length of a row. */
  readonly dimensions: number;
  /** `images` is `[B, H, W, C]` uint8; resolves to `[B, dimensions]`, row-major. Makes and disposes its own tensors. */
  extract(images: Uint8Array, shape: readonly [number, number, number, number]): Promise<Float32Array>;
}
