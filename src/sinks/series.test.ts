import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Series, smooth } from './series.js';

describe('Series', () => {
  it('keeps values as they are while there is room', () => {
    const series = new Series(4);
    [3, 1, 2].forEach((y, x) => series.add(x, y));
    expect(series.toArray()).toEqual([3, 1, 2].map((y, x) => ({ x, y, low: y, high: y })));
  });

  it('joins neighbours two by two when full: means, lowest and highest', () => {
    const series = new Series(4);
    [1, 3, 5, 9, 10, 20, 0].forEach((y, x) => series.add(x, y));
    expect(series.toArray()).toEqual([
      { x: 0.5, y: 2, low: 1, high: 3 },
      { x: 2.5, y: 7, low: 5, high: 9 },
      { x: 4.5, y: 15, low: 10, high: 20 },
      { x: 6, y: 0, low: 0, high: 0 },
    ]);
  });

  it('never exceeds its capacity and keeps order, mean and extremes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 3000 }), (values) => {
        const series = new Series(16);
        values.forEach((y, x) => series.add(x, y));
        const points = series.toArray();
        expect(points.length).toBeLessThanOrEqual(16);
        expect(Math.min(...points.map(({ low }) => low))).toBe(Math.min(...values));
        expect(Math.max(...points.map(({ high }) => high))).toBe(Math.max(...values));
        points.slice(1).forEach(({ x }, k) => expect(x).toBeGreaterThan(points[k]!.x));
      }),
    );
  });

  it('stands ten million values', () => {
    const series = new Series(1024);
    for (let k = 0; k < 1e7; k++) series.add(k, k);
    const points = series.toArray();
    expect(points.length).toBeGreaterThan(500);
    expect(points.length).toBeLessThanOrEqual(1024);
    points.forEach(({ x, y }) => expect(y).toBeCloseTo(x, 3));
  });

  it('leaves out what is not a finite number, and what a run took back', () => {
    const series = new Series(8);
    [NaN, Infinity, 'NaN' as unknown as number].forEach((y, x) => series.add(x, y));
    expect(series.toArray()).toEqual([]);
    for (let x = 0; x < 6; x++) series.add(x, x);
    series.cut(2);
    series.add(3, 30);
    expect(series.toArray().map(({ y }) => y)).toEqual([0, 1, 2, 30]);
    series.cut(-1);
    expect(series.toArray()).toEqual([]);
  });
});

describe('smooth', () => {
  it('is the mean of the neighbours inside, and leaves a straight line alone up to its ends', () => {
    const points = [0, 0, 9, 0, 0].map((y, x) => ({ x, y }));
    expect(smooth(points, 1)[2]!.y).toBeCloseTo(3);
    const line = Array.from({ length: 9 }, (_, x) => ({ x: x * x, y: 5 - 2 * x }));
    smooth(line, 2.7).forEach(({ x, y }, k) => {
      expect(x).toBe(line[k]!.x);
      expect(y).toBeCloseTo(line[k]!.y);
    });
  });

  it('takes nothing, one point and a window wider than the curve', () => {
    expect(smooth([], 3)).toEqual([]);
    expect(smooth([{ x: 1, y: 2 }], 3)).toEqual([{ x: 1, y: 2 }]);
    smooth(
      [1, 2, 3].map((y, x) => ({ x, y })),
      100,
    ).forEach(({ y }, k) => expect(y).toBeCloseTo(k + 1));
  });
});
