/**
 * The radial frequency spectrum of images: how much power lies at which spatial frequency, whatever its direction.
 */
import type { ImageShape } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { ImageFourier } from './fourier.js';

/** A spectrum averaged over images, channels and directions. */
export interface SpectrumCurve {
  /** Cycles per pixel, from 0 (the mean) to 0.5 (Nyquist's frequency) at most, in rings of 1 / min(H, W). */
  frequencies: Float64Array;
  /** Mean of |X|² / (H W) over each ring, float64: white noise of variance v has v everywhere. */
  power: Float64Array;
  /** Images averaged. */
  images: number;
}

/**
 * Averages the spectra of images of one size as they come, in memory of one image.
 *
 * The power of the two-dimensional Fourier transform of every channel, P(u, v) = |X(u, v)|² / (H W), is averaged over the rings
 * round(f min(H, W)) of f = sqrt((u / H)² + (v / W)²) cycles per pixel. The corners beyond 0.5 are left out: they do not hold all directions.
 */
export class RadialSpectrum {
  readonly #fourier: ImageFourier;
  /** Of each frequency its ring, -1 beyond the last. */
  readonly #ring: Int32Array;
  readonly #sizes: Float64Array;
  readonly #sums: Float64Array;
  readonly #channels: number;
  #images = 0;

  /** @throws ArgumentError `E_SHAPE` for a size that is no positive whole number. */
  constructor(shape: { height: number; width: number; channels: number }) {
    const { height, width, channels } = shape;
    if (![height, width, channels].every((size) => Number.isInteger(size) && size > 0))
      throw new ArgumentError(
        'E_SHAPE',
        `RadialSpectrum: expected a positive height, width and channels, got ${height}, ${width}, ${channels}`,
        {
          help: 'give the size of the images',
        },
      );
    this.#channels = channels;
    this.#fourier = new ImageFourier(height, width);
    const smaller = Math.min(height, width);
    const rings = Math.floor(smaller / 2) + 1;
    // f min(H, W) = sqrt((u W)² + (v H)²) / max(H, W), of whole numbers: a frequency midway between two rings is so to the last bit.
    this.#ring = Int32Array.from({ length: height * width }, (_, k) => {
      const [u, v] = [unsigned(Math.floor(k / width), height), unsigned(k % width, width)];
      const ring = Math.round(Math.sqrt((u * width) ** 2 + (v * height) ** 2) / Math.max(height, width));
      return ring < rings ? ring : -1;
    });
    this.#sizes = new Float64Array(rings);
    for (const ring of this.#ring) if (ring >= 0) this.#sizes[ring]!++;
    this.#sums = new Float64Array(rings);
  }

  /**
   * Adds images `[B, H, W, C]`, such as those in [-1, 1] of a network.
   *
   * @throws ArgumentError `E_SHAPE` for another size, `E_VALUE` for values that are not finite; nothing is added then.
   */
  add(images: Float32Array | Float64Array, shape: ImageShape): void {
    const { height, width } = this.#fourier;
    const [batch, ...size] = shape;
    const pixels = height * width;
    const expected = [height, width, this.#channels];
    if (size.some((n, axis) => n !== expected[axis]) || images.length !== batch * pixels * this.#channels)
      throw new ArgumentError(
        'E_SHAPE',
        `RadialSpectrum: expected images [B, ${expected.join(', ')}], got [${shape.join(', ')}] with ${images.length} values`,
        { help: 'one spectrum takes images of one size' },
      );
    const wrong = images.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0)
      throw new ArgumentError(
        'E_VALUE',
        `RadialSpectrum: image ${Math.floor(wrong / (pixels * this.#channels))} of the batch holds ${images[wrong]}`,
        {
          help: 'the network that made it has diverged, or its weights are damaged',
        },
      );
    const plane = new Float64Array(pixels);
    for (let first = 0; first < images.length; first += pixels * this.#channels)
      for (let channel = 0; channel < this.#channels; channel++) {
        for (let k = 0; k < pixels; k++) plane[k] = images[first + k * this.#channels + channel]!;
        const power = this.#fourier.power(plane);
        for (let k = 0; k < pixels; k++) if (this.#ring[k]! >= 0) this.#sums[this.#ring[k]!]! += power[k]!;
      }
    this.#images += batch;
  }

  /** The average so far. Throws `E_VALUE` before the first image. */
  result(): SpectrumCurve {
    if (this.#images === 0) throw new ArgumentError('E_VALUE', 'RadialSpectrum: expected images, got none', { help: 'add images first' });
    const { height, width } = this.#fourier;
    const smaller = Math.min(height, width);
    const scale = this.#images * this.#channels * height * width;
    return {
      frequencies: Float64Array.from(this.#sums, (_, ring) => ring / smaller),
      power: this.#sums.map((sum, ring) => sum / (this.#sizes[ring]! * scale)),
      images: this.#images,
    };
  }
}

/** Cycles of index `k` over the length `n` of a transform, positive and negative ones alike. */
const unsigned = (k: number, n: number): number => Math.min(k, n - k);

/** 10 log10 of a power; -Infinity for none. */
export const decibels = (power: number): number => 10 * Math.log10(power);
