/**
 * Mean and covariance of a stream of feature rows, in float64.
 */
import type { GaussianStatistics } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { floatMemory, packColumns, roundUp, type FloatVector } from './linear-algebra/float-memory.js';
import { PANEL, type Kernels } from './linear-algebra/kernels.js';

/** Rows that are gathered before the covariance is updated: a block of panels stays in the processor's cache. */
const BLOCK = 96;

/** Everything a {@link FeatureStatistics} holds: a copy, from which it goes on bit for bit. */
export interface FeatureStatisticsState {
  /** Rows in `mean` and `scatter`. */
  count: number;
  /** `[width]`: the dimensions rounded up to a multiple of four, zero beyond. */
  mean: Float64Array;
  /** `[width, width]`: the sum of centred outer products, on and above the diagonal. */
  scatter: Float64Array;
  /** `[n, width]`: rows that wait for their block to fill. */
  pending: Float64Array;
}

/**
 * Accumulates rows in batches of any size, in bounded memory: `[D, D]` float64 and a block of rows.
 *
 * Each block is centred on its own mean and joined by Chan, Golub and LeVeque's update
 * S = S_a + S_b + n_a n_b / (n_a + n_b) δ δᵀ, so that means far from zero lose no digits. Blocks are counted in rows, not in batches:
 * the same rows give the same bits however they are cut, and `result` may be asked for in between.
 *
 * @example
 * const statistics = new FeatureStatistics(64);
 * statistics.add(await extractor.extract(images, shape));
 * const { mean, covariance } = statistics.result();
 */
export class FeatureStatistics {
  #count = 0;
  readonly #mean: Float64Array;
  /** Only panels on and above the diagonal are kept up to date. */
  readonly #scatter: FloatVector;
  readonly #panels: FloatVector;
  readonly #kernels: Kernels;
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
    const width = roundUp(dimensions, PANEL);
    this.#width = width;
    this.#mean = new Float64Array(width);
    this.#rows = new Float64Array(BLOCK * width);
    const { kernels, vectors } = floatMemory(width * width, (BLOCK + 1) * width);
    this.#kernels = kernels;
    [this.#scatter, this.#panels] = vectors;
  }

  /** One that goes on from a state. Throws `E_SHAPE` for a state of other dimensions. */
  static from(dimensions: number, { count, mean, scatter, pending }: FeatureStatisticsState): FeatureStatistics {
    const statistics = new FeatureStatistics(dimensions);
    const width = statistics.#width;
    if (mean.length !== width || scatter.length !== width * width || pending.length % width !== 0 || pending.length >= BLOCK * width)
      throw new ArgumentError('E_SHAPE', `FeatureStatistics: expected a state of ${dimensions} dimensions, got a mean of ${mean.length}`, {
        help: 'go on with the extractor that the state was made with',
      });
    statistics.#count = count;
    statistics.#mean.set(mean);
    statistics.#scatter.values.set(scatter);
    statistics.#rows.set(pending);
    statistics.#pending = pending.length / width;
    return statistics;
  }

  /** Rows added so far. */
  get count(): number {
    return this.#count + this.#pending;
  }

  /** A copy of everything held. */
  state(): FeatureStatisticsState {
    return {
      count: this.#count,
      mean: this.#mean.slice(),
      scatter: this.#scatter.values.slice(),
      pending: this.#rows.slice(0, this.#pending * this.#width),
    };
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
          `FeatureStatistics: row ${this.count + Math.floor(i / dimensions)}: expected finite features, got ${features[i]}`,
          { help: 'check the images and the extractor' },
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
    const added = other.#flushed();
    if (added.#count === 0) return;
    const joint = this.#join(added.#mean, added.#count);
    const [scatter, more] = [this.#scatter.values, added.#scatter.values];
    for (let i = 0; i < scatter.length; i++) scatter[i]! += more[i]!;
    this.#addOuterProducts(joint, 1);
  }

  /** Mean and unbiased covariance (divided by N - 1). Throws `E_VALUE` for fewer than two rows. */
  result(): GaussianStatistics {
    if (this.count < 2)
      throw new ArgumentError('E_VALUE', `FeatureStatistics: expected two rows or more, got ${this.count}`, { help: 'add more images' });
    const all = this.#flushed();
    const [size, width, scatter] = [this.dimensions, this.#width, all.#scatter.values];
    const covariance = new Float64Array(size * size);
    for (let i = 0; i < size; i++)
      for (let j = i; j < size; j++) covariance[i * size + j] = covariance[j * size + i] = scatter[i * width + j]! / (all.#count - 1);
    return { mean: all.#mean.slice(0, size), covariance };
  }

  /** Itself where no rows wait, else a copy in which none do. */
  #flushed(): FeatureStatistics {
    if (this.#pending === 0) return this;
    const copy = FeatureStatistics.from(this.dimensions, this.state());
    copy.#flush();
    return copy;
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
    const panels = this.#panels.address;
    packColumns(rows, 0, width, count, width, this.#panels.values);
    const stride = count * PANEL * 8;
    for (let j = 0; j < width / PANEL; j++)
      this.#kernels.multiplyPanels(
        panels,
        panels + j * stride,
        this.#scatter.address + j * PANEL * 8,
        j + 1,
        1,
        count,
        stride,
        stride,
        width * 8,
      );
  }
}
