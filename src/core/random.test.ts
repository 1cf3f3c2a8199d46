import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArgumentError } from './errors.js';
import { PhiloxRandom, normalAt, philox4x32 } from './random.js';

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ');

describe('Philox4x32-10', () => {
  // kat_vectors of the authors' Random123 library.
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ] as const)('known answer %#', (counter, key, expected) => {
    expect(hex(philox4x32(counter, key))).toBe(expected);
  });
});

/** Mean of x^k. */
const moment = (x: Float32Array, k: number) => x.reduce((sum, v) => sum + v ** k, 0) / x.length;
const correlation = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i]!, 0) / x.length;

describe('statistics of a million values', () => {
  const n = 1_000_000;
  const x = new PhiloxRandom(1).stream('a').normal(n);

  it('normals have the moments of the normal distribution within five standard errors', () => {
    const e = 5 / Math.sqrt(n);
    expect(Math.abs(moment(x, 1))).toBeLessThan(e);
    expect(Math.abs(moment(x, 2) - 1)).toBeLessThan(e * Math.sqrt(2));
    expect(Math.abs(moment(x, 3))).toBeLessThan(e * Math.sqrt(15));
    expect(Math.abs(moment(x, 4) - 3)).toBeLessThan(e * Math.sqrt(96));
  });

  it.each([
    [1, 0.317310508],
    [2, 0.045500264],
    [3, 0.002699796],
    [4, 0.00006334],
  ])('the share beyond %i sigma is right', (sigma, share) => {
    const found = x.filter((v) => Math.abs(v) > sigma).length / n;
    expect(Math.abs(found - share)).toBeLessThan(5 * Math.sqrt(share / n));
  });

  it('neighbours, the two of a pair, streams and seeds are uncorrelated', () => {
    const e = 5 / Math.sqrt(n);
    for (const lag of [1, 2, 3, 4]) expect(Math.abs(correlation(x.subarray(lag), x))).toBeLessThan(e);
    const [even, odd] = [0, 1].map((parity) => x.filter((_, i) => i % 2 === parity)) as [Float32Array, Float32Array];
    const squares = (v: Float32Array) => v.map((u) => u * u - 1);
    expect(Math.abs(correlation(squares(even), squares(odd)))).toBeLessThan(2 * e * Math.SQRT2);
    for (const other of [new PhiloxRandom(1).stream('b'), new PhiloxRandom(2).stream('a'), new PhiloxRandom(1 + 2 ** 32).stream('a')])
      expect(Math.abs(correlation(other.normal(n), x))).toBeLessThan(e);
  });

  it('uniforms and integers fill their range evenly', () => {
    const stream = new PhiloxRandom(3).stream('u');
    const u = stream.uniform(n);
    expect(u.every((v) => v >= 0 && v < 1)).toBe(true);
    expect(Math.abs(moment(u, 1) - 0.5)).toBeLessThan(5 / Math.sqrt(12 * n));
    expect(Math.abs(moment(u, 2) - 1 / 3)).toBeLessThan(5 * Math.sqrt(4 / 45 / n));
    const counts = new Uint32Array(7);
    for (const k of stream.integers(n, 7)) counts[k]!++;
    // Chi squared with six degrees of freedom: above 27.9 once in 10,000.
    expect(counts.reduce((sum, c) => sum + (c - n / 7) ** 2 / (n / 7), 0)).toBeLessThan(27.9);
    expect(Math.max(...stream.integers(1000, 2 ** 32))).toBeGreaterThan(2 ** 31);
    expect([...stream.integers(3, 1)]).toEqual([0, 0, 0]);
  });
});

describe('streams', () => {
  const kinds = ['normal', 'uniform', 'integers'] as const;
  const take = (random: PhiloxRandom, kind: (typeof kinds)[number], length: number) => {
    const stream = random.stream('s');
    return [...(kind === 'integers' ? stream.integers(length, 1000) : stream[kind](length))];
  };

  it('however a sequence is cut, it is the same', () => {
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.array(fc.nat(5000), { maxLength: 5 }), (kind, lengths) => {
        const whole = take(
          new PhiloxRandom(7),
          kind,
          lengths.reduce((a, b) => a + b, 0),
        );
        const random = new PhiloxRandom(7);
        expect(lengths.flatMap((length) => take(random, kind, length))).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });

  it('go on where the state says, also those handed out before', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...kinds), fc.nat(9)), { maxLength: 6 }), (calls) => {
        const random = new PhiloxRandom(-5);
        const stream = random.stream('s');
        for (const [kind, length] of calls) take(random, kind, length);
        const state = JSON.parse(JSON.stringify(random.state()));
        const after = [...stream.integers(3, 99), ...stream.normal(5)];
        const other = new PhiloxRandom(-5);
        other.stream('unused').normal(3);
        other.restore(state);
        random.restore(state);
        for (const each of [other.stream('s'), stream]) expect([...each.integers(3, 99), ...each.normal(5)]).toEqual(after);
        expect(other.stream('unused').uniform(1)).toEqual(new PhiloxRandom(-5).stream('unused').uniform(1));
      }),
      { numRuns: 50 },
    );
  });

  it('carry the block number into the next word', () => {
    const random = new PhiloxRandom(0);
    const from = (position: number, length: number) => {
      random.restore({ seed: 0, counters: { s: position } });
      return [...random.stream('s').normal(length)];
    };
    const carry = 2 ** 34;
    expect(from(carry - 6, 12)).toEqual([...from(carry - 6, 6), ...from(carry, 6)]);
    expect(from(carry, 6)).not.toEqual(from(0, 6));
  });

  it('are the same object each time, and differ by name', () => {
    const random = new PhiloxRandom(0);
    expect(random.stream('a')).toBe(random.stream('a'));
    expect(random.stream('a').uniform(4)).not.toEqual(random.stream('b').uniform(4));
  });

  it('refuse senseless arguments', () => {
    const random = new PhiloxRandom(0);
    expect(() => new PhiloxRandom(0.5)).toThrow(ArgumentError);
    expect(() => random.stream('a').integers(1, 0)).toThrow(/bound: expected a whole number of 1 to 2\^32, got 0/);
    expect(() => random.stream('a').normal(-1)).toThrow(ArgumentError);
    expect(() => random.restore({ seed: 1, counters: {} })).toThrow(/expected seed 0, got 1/);
    expect(() => random.restore({ seed: 0, counters: { a: -1 } })).toThrow(ArgumentError);
  });
});

describe('normalAt', () => {
  it('depends on seed and index alone', () => {
    const batch = [4, 5, 6].map((index) => normalAt(9, index, 12));
    expect(normalAt(9, 5, 12)).toEqual(batch[1]);
    expect(normalAt(9, 5, 7)).toEqual(batch[1]!.subarray(0, 7));
    expect(new Set([...batch, normalAt(10, 4, 12)].map((x) => x[0])).size).toBe(4);
    expect(() => normalAt(9, 2 ** 32, 1)).toThrow(ArgumentError);
    expect(normalAt(9, 2 ** 32 - 1, 3)).not.toEqual(normalAt(9, 0, 3));
  });

  it('images are uncorrelated', () => {
    const images = Array.from({ length: 1000 }, (_, i) => normalAt(0, i, 300));
    const mean = images.reduce((sum, image, i) => sum + correlation(image, images[(i + 1) % 1000]!), 0) / 1000;
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(300_000));
  });
});
