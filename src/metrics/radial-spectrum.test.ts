import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhiloxRandom } from '../core/random.js';
import { ImageFourier } from './fourier.js';
import { decibels, RadialSpectrum } from './radial-spectrum.js';

/** |X|² by the definition. */
function powerByDefinition(image: Float64Array, height: number, width: number): Float64Array {
  return Float64Array.from({ length: height * width }, (_, k) => {
    const [u, v] = [Math.floor(k / width), k % width];
    let real = 0;
    let imaginary = 0;
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const angle = -2 * Math.PI * ((u * y) / height + (v * x) / width);
        real += image[y * width + x]! * Math.cos(angle);
        imaginary += image[y * width + x]! * Math.sin(angle);
      }
    return real ** 2 + imaginary ** 2;
  });
}

const spectrumOf = (images: Float64Array, [batch, height, width, channels]: [number, number, number, number]) => {
  const spectrum = new RadialSpectrum({ height, width, channels });
  spectrum.add(images, [batch, height, width, channels]);
  return spectrum.result();
};

const field = (height: number, width: number, at: (y: number, x: number) => number) =>
  Float64Array.from({ length: height * width }, (_, k) => at(Math.floor(k / width), k % width));

describe('ImageFourier', () => {
  it.each([
    [1, 1],
    [2, 3],
    [8, 8],
    [12, 9],
    [7, 5],
    [16, 6],
    [11, 22],
  ])('is the transform by its definition at %i x %i', (height, width) => {
    const image = Float64Array.from(new PhiloxRandom(height * 100 + width).stream('x').normal(height * width));
    const expected = powerByDefinition(image, height, width);
    const power = new ImageFourier(height, width).power(image);
    power.forEach((value, k) => expect(Math.abs(value - expected[k]!)).toBeLessThan(1e-10 * height * width));
  });

  it('keeps the energy at every size (Parseval)', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 0, max: 99 }),
        (height, width, seed) => {
          const image = Float64Array.from(new PhiloxRandom(seed).stream('x').normal(height * width));
          const energy = image.reduce((sum, value) => sum + value ** 2, 0);
          const total = new ImageFourier(height, width).power(image).reduce((sum, value) => sum + value, 0);
          expect(total / (height * width)).toBeCloseTo(energy, 8);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('RadialSpectrum', () => {
  it('of a constant image has its square times the pixels at 0 and nothing else', () => {
    const { frequencies, power, images } = spectrumOf(new Float64Array(8 * 8).fill(0.5), [1, 8, 8, 1]);
    expect([...frequencies]).toEqual([0, 1 / 8, 2 / 8, 3 / 8, 4 / 8]);
    expect(power[0]).toBeCloseTo(0.25 * 64, 12);
    for (const value of power.subarray(1)) expect(value).toBeLessThan(1e-25);
    expect(images).toBe(1);
  });

  it('of a wave has all its power in the ring of its frequency, in whatever direction', () => {
    // cos of amplitude a: two frequencies with |X|² = (a H W / 2)² each; ring 3 of 16 px holds 16 frequencies, ring 5 of them 28.
    const sizes = [0, 0, 0, 0, 0, 0];
    for (let v = -8; v < 8; v++) for (let u = -8; u < 8; u++) sizes[Math.round(Math.hypot(u, v))]!++;
    const waves: [number, (y: number, x: number) => number][] = [
      [3, (_, x) => Math.cos((2 * Math.PI * 3 * x) / 16)],
      [3, (y) => Math.sin((2 * Math.PI * 3 * y) / 16 + 0.3)],
      [5, (y, x) => Math.cos((2 * Math.PI * (3 * x - 4 * y)) / 16)],
    ];
    for (const [ring, wave] of waves) {
      const { power } = spectrumOf(
        field(16, 16, (y, x) => 2 * wave(y, x)),
        [1, 16, 16, 1],
      );
      const expected = (2 * (2 * 128) ** 2) / 256 / sizes[ring]!;
      power.forEach((value, k) => (k === ring ? expect(value).toBeCloseTo(expected, 9) : expect(value).toBeLessThan(1e-20)));
    }
  });

  it('of the finest wave lies at half a cycle per pixel', () => {
    const { frequencies, power } = spectrumOf(
      field(8, 8, (_, x) => (-1) ** x),
      [1, 8, 8, 1],
    );
    const strongest = power.indexOf(Math.max(...power));
    expect(frequencies[strongest]).toBe(0.5);
  });

  it('of white noise is flat at its variance', () => {
    const shape: [number, number, number, number] = [200, 16, 16, 3];
    const noise = Float64Array.from(new PhiloxRandom(1).stream('x').normal(200 * 16 * 16 * 3), (value) => 0.5 * value);
    // The ring at 0 has one frequency a channel: 600 squares of normals, whose mean has a spread of 0.25 sqrt(2 / 600).
    spectrumOf(noise, shape).power.forEach((value, ring) => expect(Math.abs(value - 0.25)).toBeLessThan(ring === 0 ? 0.06 : 0.02));
  });

  it('averages over channels and images, whatever the batches', () => {
    const [a, b] = [field(6, 6, () => 1), field(6, 6, (_, x) => Math.cos((2 * Math.PI * x) / 6))];
    const both = Float64Array.from({ length: 72 }, (_, k) => (k % 2 === 0 ? a : b)[k >> 1]!);
    const [one, two] = [spectrumOf(a, [1, 6, 6, 1]), spectrumOf(b, [1, 6, 6, 1])];
    spectrumOf(both, [1, 6, 6, 2]).power.forEach((value, k) => expect(value).toBeCloseTo((one.power[k]! + two.power[k]!) / 2, 12));

    const parts = new RadialSpectrum({ height: 6, width: 6, channels: 1 });
    parts.add(a, [1, 6, 6, 1]);
    parts.add(Float32Array.from(b), [1, 6, 6, 1]);
    const whole = spectrumOf(Float64Array.from([...a, ...b]), [2, 6, 6, 1]);
    parts.result().power.forEach((value, k) => expect(value).toBeCloseTo(whole.power[k]!, 6));
  });

  it('measures images that are not square in cycles per pixel', () => {
    // 4 cycles over 16 columns are 0.25 cycles per pixel: ring 2 of an 8 x 16 image.
    const { frequencies, power } = spectrumOf(
      field(8, 16, (_, x) => Math.cos((2 * Math.PI * 4 * x) / 16)),
      [1, 8, 16, 1],
    );
    expect([...frequencies]).toEqual([0, 1 / 8, 2 / 8, 3 / 8, 4 / 8]);
    expect(power.indexOf(Math.max(...power))).toBe(2);
  });

  it('refuses other sizes, values that are not finite, and to average nothing', () => {
    const spectrum = new RadialSpectrum({ height: 4, width: 4, channels: 1 });
    expect(() => spectrum.result()).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
    expect(() => spectrum.add(new Float32Array(25), [1, 5, 5, 1])).toThrow(/expected images \[B, 4, 4, 1\], got \[1, 5, 5, 1\]/);
    expect(() => spectrum.add(new Float32Array(15), [1, 4, 4, 1])).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
    const second = new Float32Array(32);
    second[20] = NaN;
    expect(() => spectrum.add(second, [2, 4, 4, 1])).toThrow(/image 1 of the batch holds NaN/);
    expect(() => spectrum.result()).toThrow('expected images');
    expect(() => new RadialSpectrum({ height: 0, width: 4, channels: 1 })).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  });

  it('in decibels', () => {
    expect(decibels(100)).toBe(20);
    expect(decibels(0)).toBe(-Infinity);
  });
});
