/**
 * Mean and covariance of a stream of feature rows, in float64.
 */
import type { GaussianStatistics } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { PANEL, multiplyPanels } from './panels.js';

/** Rows that are gathered before the covariance is updated: a block of panels stays in the processor's cache. */
const BLOCK = 96;

/**
 * Accumulates rows in batches of any size, in bounded memory: `[D, D]` float64 and a block of rows.
 *
 * Each block is centred on its own mean and joined by Chan, Golub and LeVeque's update
 * S = S_a + S_b + n_a n_b / (n_a + n_b) δ δᵀ, so that means far from zero lose no digits.
 *
 * @example
 * const statistics = new FeatureStatistics(64);
 * statistics.add(await extractor.extract(images, shape));
 * const { mean, covariance } = statistics.result();
 */
export class FeatureStatistics {
  #count = 0;
  readonly #mean: Float64Array;
  /** Sum of centred outer products; only panels on and above the diagonal are kept up to date. */
  readonly #scatter: Float64Array;
  /** Dimensions rounded up to whole panels; what lies beyond is zero. */
  readonly #width: number;
  readonly #rows: Float64Array;
  #pending = 0;

  /** `dimensions` is the length of a row. */
  constructor(readonly dimensions: number) {
    if (!Number.isInteger(dimensions) || dimensions < 1)
      throw new ArgumentError('E_VALUE', `FeatureStatistics: expected a number of dimensions, got ${dimensions}`, {
        help: 'give the length of a feature row',
      });
    this.#width = Math.ceil(dimensions / PANEL) * PANEL;
    this.#mean = new Float64Array(this.#width);
    this.#scatter = new Float64Array(this.#width * this.#width);
    this.#rows = new Float64Array(BLOCK * this.#width);
  }

  /** Rows added so far. */
  get count(): number {
    return this.#count + this.#pending;
  }

  /** Adds rows `[N, dimensions]`. Throws `E_SHAPE` for part of a row and `E_VALUE` for a value that is not finite; nothing is added then. */
  add(features: Float32Array | Float64Array): void {
    const { dimensions } = this;
    if (features.length % dimensions !== 0)
      throw new ArgumentError('E_SHAPE', `FeatureStatistics: expected rows of ${dimensions} values, got ${features.length} values`, {
        help: 'give whole rows of the same extractor',
      });
    for (let i = 0; i < features.length; i++)
      if (!Number.isFinite(features[i]))
        throw new ArgumentError(
          'E_VALUE',
          `FeatureStatistics: row ${Math.floor(i / dimensions)}: expected finite features, got ${features[i]}`,
          {
            help: 'check the images and the extractor',
          },
        );
    for (let row = 0; row < features.length / dimensions; row++) {
      const to = this.#pending * this.#width;
      for (let d = 0; d < dimensions; d++) this.#rows[to + d] = features[row * dimensions + d]!;
      if (++this.#pending === BLOCK) this.#flush();
    }
  }

  /** Adds everything that `other` has seen; `other` is unchanged. */
  merge(other: FeatureStatistics): void {
    if (other.dimensions !== this.dimensions)
      throw new ArgumentError('E_SHAPE', `FeatureStatistics.merge: expected ${this.dimensions} dimensions, got ${other.dimensions}`, {
        help: 'merge statistics of the same extractor',
      });
    this.#flush();
    other.#flush();
    if (other.#count === 0) return;
    const joint = this.#join(other.#mean, other.#count);
    for (let i = 0; i < this.#scatter.length; i++) this.#scatter[i]! += other.#scatter[i]!;
    this.#addOuterProducts(joint, 1);
  }

  /** Mean and unbiased covariance (divided by N - 1). Throws `E_VALUE` for fewer than two rows. */
  result(): GaussianStatistics {
    this.#flush();
    if (this.#count < 2)
      throw new ArgumentError('E_VALUE', `FeatureStatistics: expected two rows or more, got ${this.#count}`, { help: 'add more images' });
    const [size, width] = [this.dimensions, this.#width];
    const covariance = new Float64Array(size * size);
    for (let i = 0; i < size; i++)
      for (let j = i; j < size; j++)
        covariance[i * size + j] = covariance[j * size + i] = this.#scatter[i * width + j]! / (this.#count - 1);
    return { mean: this.#mean.slice(0, size), covariance };
  }

  /** Moves the mean by `count` rows of mean `mean`; returns the row whose outer product belongs to the scatter. */
  #join(mean: Float64Array, count: number): Float64Array {
    const total = this.#count + count;
    const factor = Math.sqrt((this.#count * count) / total);
    const row = new Float64Array(this.#width);
    for (let d = 0; d < row.length; d++) {
      const difference = mean[d]! - this.#mean[d]!;
      row[d] = difference * factor;
      this.#mean[d]! += (difference * count) / total;
    }
    this.#count = total;
    return row;
  }

  #flush(): void {
    const count = this.#pending;
    if (count === 0) return;
    const width = this.#width;
    const rows = new Float64Array((count + 1) * width);
    rows.set(this.#rows.subarray(0, count * width));
    const mean = new Float64Array(width);
    for (let k = 0; k < count; k++) for (let d = 0; d < width; d++) mean[d]! += rows[k * width + d]!;
    for (let d = 0; d < width; d++) mean[d]! /= count;
    for (let k = 0; k < count; k++) for (let d = 0; d < width; d++) rows[k * width + d]! -= mean[d]!;
    rows.set(this.#join(mean, count), count * width);
    this.#addOuterProducts(rows, count + 1);
    this.#pending = 0;
  }

  /** scatter += rowsᵀ rows, panels on and above the diagonal. */
  #addOuterProducts(rows: Float64Array, count: number): void {
    const width = this.#width;
    const scatter = this.#scatter;
    const panels = new Float64Array(rows.length);
    // Row-major to [panel, row, column of the panel].
    for (let p = 0, at = 0; p < width; p += PANEL)
      for (let k = 0; k < count; k++) for (let c = 0; c < PANEL; c++) panels[at++] = rows[k * width + p + c]!;
    const length = count * PANEL;
    for (let i = 0; i < width; i += PANEL)
      for (let j = i; j < width; j += PANEL)
        multiplyPanels(panels, (i / PANEL) * length, panels, (j / PANEL) * length, length, scatter, i * width + j, width);
  }
}
