import { describe, expect, it } from 'vitest';
import { oneHot, toFloat, toUint8 } from './images.js';

describe('toFloat', () => {
  it('maps 0, 127.5 and 255 to -1, 0 and 1', () => {
    expect(Array.from(toFloat(Uint8Array.of(0, 255)))).toEqual([-1, 1]);
    expect(toFloat(Uint8Array.of(127))[0]).toBeCloseTo(-0.5 / 127.5, 6);
    expect(toFloat(Uint8Array.of(128))[0]).toBeCloseTo(0.5 / 127.5, 6);
  });
});

describe('toUint8', () => {
  it('undoes toFloat for every byte', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, u) => u);
    expect(toUint8(toFloat(bytes))).toEqual(bytes);
  });

  it('truncates x * 127.5 + 128 and clips', () => {
    // 0.49 * 127.5 + 128 = 190.475; -1 gives 0.5, so 0; 0.999 gives 255.37, clipped.
    expect(Array.from(toUint8(Float32Array.of(0.49, -1, 0.999, 0, 7, -7, Infinity, NaN)))).toEqual([190, 0, 255, 128, 255, 0, 255, 0]);
  });
});

describe('oneHot', () => {
  it('puts a one at each label', () => {
    expect(Array.from(oneHot(Uint32Array.of(2, 0), 3))).toEqual([0, 0, 1, 1, 0, 0]);
    expect(oneHot(new Uint32Array(0), 3)).toHaveLength(0);
  });

  it('rejects a label outside the classes', () => {
    expect(() => oneHot(Uint32Array.of(3), 3)).toThrow('oneHot: expected labels below 3, got 3');
  });
});
