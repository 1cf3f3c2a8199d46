/**
 * Metrics: what a distance between sets of images is computed from, and what computes it.
 */

/** `[B, H, W, C]` of a batch of uint8 images. */
export type ImageShape = readonly [number, number, number, number];

/** Maps images to features, one row an image; the same image always gives the same row. Makes and disposes its own tensors. */
export interface FeatureExtractor {
  /** For reports, such as `inception-v3`; features of different names are not comparable. */
  readonly name: string;
  /** Length of a row. */
  readonly dimensions: number;
  /** Length of a row of probabilities; undefined for an extractor that classifies nothing. */
  readonly classes?: number;
  /** `images` is `[B, H, W, C]` uint8; resolves to `[B, dimensions]`, row-major. */
  extract(images: Uint8Array, shape: ImageShape): Promise<Float32Array>;
  /** Features as `extract`, and of the same pass class probabilities `[B, classes]`, rows that sum to 1: for the Inception Score. */
  extractWithProbabilities?(images: Uint8Array, shape: ImageShape): Promise<{ features: Float32Array; probabilities: Float32Array }>;
  /** Rejects where the weights cannot be read, as far as that shows without fetching or reading them: a wrong path, a file that holds none. */
  check?(): Promise<void>;
  /** Reads the weights; awaited once before anything else. */
  prepare?(): Promise<void>;
  /** What decides the rows: a digest of weights, resizing and arithmetic. Valid after `prepare`; keys caches. */
  identity?(): string;
  /** Frees the network. */
  dispose?(): void;
}

/** A Gaussian's parameters; `covariance` is `[D, D]`, row-major and symmetric, divided by N - 1. */
export interface GaussianStatistics {
  mean: Float64Array;
  covariance: Float64Array;
}

/** Rows in the order they were added, in chunks, so that no single array need hold them all. */
export interface FeatureRows {
  readonly count: number;
  readonly dimensions: number;
  /** Each `[n, dimensions]`, row-major, n >= 1; together `count` rows. */
  readonly chunks: readonly Float32Array[];
}

/** What one pass over a set of images leaves: as much as the metrics that were asked for need. */
export interface FeatureSet {
  /** Name of the extractor; sets of different ones are not comparable. */
  extractor: string;
  /** Number of images. */
  count: number;
  statistics: GaussianStatistics;
  /** `[count, dimensions]`; undefined where no metric needs them. */
  features?: FeatureRows;
  /** `[count, classes]`; undefined where no metric needs them. */
  probabilities?: FeatureRows;
}

/** What a metric reads of a set. */
export type FeatureNeed = 'statistics' | 'features' | 'probabilities';

/** How a computation of minutes is watched and ended. */
export interface ComputeOptions {
  /** Ends it between two blocks of work; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Told now and then how much of it is done: `done` of `count` parts, the last time all of them. */
  onProgress?: ((done: number, count: number) => void) | undefined;
}

/** A number, or a few, computed from features of generated images and (most) of reference images. */
export interface Metric {
  /** For reports and errors, such as `kernel-distance`. */
  readonly name: string;
  /** What must be in each set it is given. */
  readonly needs: readonly FeatureNeed[];
  /** Whether it compares with a reference set; false for what judges the generated images alone. */
  readonly comparesWithReference: boolean;
  /**
   * Values by name, such as `{ kid, kidStd }`.
   *
   * Throws `E_VALUE` where a set lacks what is needed or is too small, and `E_SHAPE` where the sets are of different extractors.
   */
  compute(generated: FeatureSet, reference?: FeatureSet, options?: ComputeOptions): Promise<Record<string, number>>;
}
