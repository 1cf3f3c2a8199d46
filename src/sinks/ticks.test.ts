import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { axis } from './ticks.js';

const labels = (...[values, options]: Parameters<typeof axis>) => axis(values, options).ticks.map(({ label }) => label);

describe('axis', () => {
  it('puts linear ticks at 1, 2 or 5 times a power of ten', () => {
    expect(labels([0, 5000], { count: 5 })).toEqual(['0', '1,000', '2,000', '3,000', '4,000', '5,000']);
    expect(labels([0.71, 1.38], { count: 4 })).toEqual(['0.6', '0.8', '1.0', '1.2', '1.4']);
    expect(labels([-3, 4], { count: 4 })).toEqual(['-4', '-2', '0', '2', '4']);
  });

  it('a tight axis ends where the values end; one that begins near zero begins at zero', () => {
    expect(axis([100, 950], { tight: true })).toMatchObject({ low: 100, high: 950 });
    expect(axis([1, 950], { tight: true })).toMatchObject({ low: 0, high: 950 });
  });

  it('puts logarithmic ticks at powers of ten, and more where there are few', () => {
    expect(labels([0.01, 1e4], { log: true })).toEqual(['0.01', '0.1', '1', '10', '100', '1,000', '10,000']);
    expect(labels([6, 180], { log: true })).toEqual(['10', '20', '50', '100', '200']);
    expect(labels([10, 17], { log: true })).toEqual(['10', '15']);
    expect(labels([1e-30, 1e30], { log: true }).length).toBeLessThanOrEqual(8);
    expect(axis([1, 100], { log: true }).at(10)).toBeCloseTo(0.5);
  });

  it('a logarithmic axis leaves out what is not positive', () => {
    expect(axis([-5, 0, 10, 1000], { log: true }).low).toBeGreaterThan(5);
    expect(axis([-5, 0], { log: true })).toMatchObject({ log: false, low: 0, high: 1 });
  });

  it('stands no value, one value and values that are not finite', () => {
    expect(labels([]).length).toBeGreaterThan(1);
    expect(labels([NaN, Infinity, 3]).length).toBeGreaterThan(1);
    expect(axis([3]).at(3)).toBeCloseTo(0.5);
    expect(axis([0]).at(0)).toBeCloseTo(0.5);
  });

  it('holds every value, with a bounded number of distinct, rising ticks', () => {
    const value = fc.double({ min: -1e12, max: 1e12, noNaN: true }).map((v) => (Math.abs(v) < 1e-12 ? 0 : v));
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 20 }), fc.boolean(), fc.integer({ min: 2, max: 9 }), (values, log, count) => {
        const found = axis(values, { log, count });
        for (const v of values) {
          if (log && v <= 0) continue;
          expect(found.at(v)).toBeGreaterThan(-1e-6);
          expect(found.at(v)).toBeLessThan(1 + 1e-6);
        }
        expect(found.ticks.length).toBeLessThanOrEqual(16);
        found.ticks.slice(1).forEach((tick, k) => expect(tick.value).toBeGreaterThan(found.ticks[k]!.value));
      }),
    );
  });
});
