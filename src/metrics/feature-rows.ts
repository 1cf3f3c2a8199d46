/**
 * Rows of features in the order they come, in chunks: 50,000 rows of 2,048 are 400 MB, which no one array need hold.
 */
import type { FeatureRows } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';

/** Rows of a chunk; of 2,048 features, 8 MiB. */
const CHUNK_ROWS = 1024;

/** Rows `[N, dimensions]` as they are, uncopied. Throws `E_SHAPE` for part of a row. */
export function featureRows(values: Float32Array, dimensions: number): FeatureRows {
  if (!(dimensions >= 1) || values.length % dimensions !== 0)
    throw new ArgumentError('E_SHAPE', `featureRows: expected rows of ${dimensions} values, got ${values.length} values`, {
      help: 'give whole rows',
    });
  return { count: values.length / dimensions, dimensions, chunks: values.length === 0 ? [] : [values] };
}

/** Gathers rows in batches of any size; chunks end at the same rows however they are cut. */
export class RowGatherer {
  readonly #full: Float32Array[] = [];
  #last: Float32Array;
  #rows = 0;

  constructor(readonly dimensions: number) {
    this.#last = new Float32Array(CHUNK_ROWS * dimensions);
  }

  /** Copies rows `[N, dimensions]`. */
  add(values: Float32Array): void {
    const { dimensions } = this;
    for (let at = 0; at < values.length;) {
      const length = Math.min(values.length - at, (CHUNK_ROWS - this.#rows) * dimensions);
      this.#last.set(values.subarray(at, at + length), this.#rows * dimensions);
      this.#rows += length / dimensions;
      at += length;
      if (this.#rows < CHUNK_ROWS) continue;
      this.#full.push(this.#last);
      this.#last = new Float32Array(CHUNK_ROWS * dimensions);
      this.#rows = 0;
    }
  }

  /** The rows so far; later ones do not change them. */
  rows(): FeatureRows {
    const { dimensions } = this;
    const last = this.#last.slice(0, this.#rows * dimensions);
    const chunks = this.#rows > 0 ? [...this.#full, last] : [...this.#full];
    return { count: this.#full.length * CHUNK_ROWS + this.#rows, dimensions, chunks };
  }
}
