/**
 * The discrete Fourier transform of images in float64, of any size.
 */

/**
 * X(k) = sum over t of x(t) exp(-2 pi i k t / n), for one length n.
 *
 * Cooley and Tukey's algorithm (1965) by the prime factors of n: n (p + q + …) steps for n = p q ….
 */
class FourierTransform {
  readonly #cosines: Float64Array;
  readonly #sines: Float64Array;
  readonly #scratch: Float64Array;
  /** Smallest prime factors, in the order in which they are split off. */
  readonly #factors: number[];

  constructor(readonly length: number) {
    this.#cosines = Float64Array.from({ length }, (_, k) => Math.cos((2 * Math.PI * k) / length));
    this.#sines = Float64Array.from({ length }, (_, k) => Math.sin((2 * Math.PI * k) / length));
    this.#factors = primeFactors(length);
    this.#scratch = new Float64Array(2 * Math.max(1, ...this.#factors));
  }

  /** From `real` and `imaginary` `[n]` into `toReal` and `toImaginary` `[n]`, which are other arrays. */
  transform(real: Float64Array, imaginary: Float64Array, toReal: Float64Array, toImaginary: Float64Array): void {
    this.#split(real, imaginary, 0, 1, this.length, 0, toReal, toImaginary, 0);
  }

  /** The transform of x(from), x(from + stride), … (`n` of them) to `at` and the places after it. */
  #split(
    real: Float64Array,
    imaginary: Float64Array,
    from: number,
    stride: number,
    n: number,
    depth: number,
    toReal: Float64Array,
    toImaginary: Float64Array,
    at: number,
  ): void {
    if (n === 1) {
      toReal[at] = real[from]!;
      toImaginary[at] = imaginary[from]!;
      return;
    }
    const parts = this.#factors[depth]!;
    const m = n / parts;
    for (let q = 0; q < parts; q++)
      this.#split(real, imaginary, from + q * stride, stride * parts, m, depth + 1, toReal, toImaginary, at + q * m);
    // X(k + r m) = sum over q of exp(-2 pi i q (k + r m) / n) X_q(k); the table holds the angles of the whole length.
    const scratch = this.#scratch;
    const turn = this.length / n;
    for (let k = 0; k < m; k++) {
      for (let q = 0; q < parts; q++) {
        scratch[2 * q] = toReal[at + q * m + k]!;
        scratch[2 * q + 1] = toImaginary[at + q * m + k]!;
      }
      for (let r = 0; r < parts; r++) {
        let a = 0;
        let b = 0;
        const step = (k + r * m) * turn;
        for (let q = 0, angle = 0; q < parts; q++) {
          const cosine = this.#cosines[angle]!;
          const sine = this.#sines[angle]!;
          a += scratch[2 * q]! * cosine + scratch[2 * q + 1]! * sine;
          b += scratch[2 * q + 1]! * cosine - scratch[2 * q]! * sine;
          angle += step;
          if (angle >= this.length) angle %= this.length;
        }
        toReal[at + r * m + k] = a;
        toImaginary[at + r * m + k] = b;
      }
    }
  }
}

function primeFactors(n: number): number[] {
  const factors: number[] = [];
  for (let p = 2; n > 1; p++) {
    if (p * p > n) p = n;
    for (; n % p === 0; n /= p) factors.push(p);
  }
  return factors;
}

/** Power spectra of real images of one size. */
export class ImageFourier {
  readonly #rows: FourierTransform;
  readonly #columns: FourierTransform;
  readonly #real: Float64Array;
  readonly #imaginary: Float64Array;

  constructor(
    readonly height: number,
    readonly width: number,
  ) {
    this.#rows = new FourierTransform(width);
    this.#columns = height === width ? this.#rows : new FourierTransform(height);
    this.#real = new Float64Array(height * width);
    this.#imaginary = new Float64Array(height * width);
  }

  /**
   * |X(u, v)|² of an image x(y, x) `[H, W]` row by row: u cycles over its height at row u, v cycles over its width at column v;
   * beyond half the size they are the negative frequencies u - H and v - W.
   */
  power(image: Float64Array): Float64Array {
    const { height, width } = this;
    const [real, imaginary] = [this.#real, this.#imaginary];
    const none = new Float64Array(width);
    for (let y = 0; y < height; y++) {
      const [from, to] = [y * width, (y + 1) * width];
      this.#rows.transform(image.subarray(from, to), none, real.subarray(from, to), imaginary.subarray(from, to));
    }
    const [inReal, inImaginary, outReal, outImaginary] = Array.from({ length: 4 }, () => new Float64Array(height)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const power = new Float64Array(height * width);
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        inReal[y] = real[y * width + x]!;
        inImaginary[y] = imaginary[y * width + x]!;
      }
      this.#columns.transform(inReal, inImaginary, outReal, outImaginary);
      for (let y = 0; y < height; y++) power[y * width + x] = outReal[y]! ** 2 + outImaginary[y]! ** 2;
    }
    return power;
  }
}
