import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../../core/errors.js';
import { relativeError, Report, within, worst, type ParityRow } from './report.js';
import { formatParity } from './table.js';

describe('relative errors', () => {
  it('by hand', () => {
    expect(relativeError([3, 4.5], [3, 4])).toBeCloseTo(0.1, 12);
    expect(relativeError([1e-9], [0], 1e-3)).toBeCloseTo(1e-6, 12);
    expect(relativeError([0, 0], [0, 0])).toBe(0);
    expect(relativeError([1], [0])).toBe(Infinity);
  });

  it('values that are not finite are never close, on either side', () => {
    for (const [actual, expected] of [
      [NaN, 1],
      [Infinity, 1],
      [1, NaN],
      [Infinity, Infinity],
      [NaN, NaN],
    ] as const) {
      const error = relativeError([actual, 0], [expected, 0]);
      expect(error).toBeNaN();
      expect(within(error, 1)).toMatchObject({ status: 'failed', note: 'a value is not finite' });
    }
  });

  it('other counts are an error', () => {
    expect(() => relativeError([1], [1, 2])).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  });

  it('the worst is the largest, and NaN is worse', () => {
    expect(worst([['a', 1], ['b', 3], ['c', 2]])).toEqual({ name: 'b', error: 3 }); // prettier-ignore
    expect(worst([['a', 1], ['b', NaN], ['c', 9]])).toEqual({ name: 'b', error: NaN }); // prettier-ignore
  });

  it('a tolerance is inclusive', () => {
    expect(within(1e-5, 1e-5).status).toBe('ok');
    expect(within(1.01e-5, 1e-5).status).toBe('failed');
  });
});

describe('a report', () => {
  it('goes on after an error, with its first line', async () => {
    const seen: unknown[] = [];
    const report = new Report({ onStart: (...names) => seen.push(names), onRow: ({ status }) => seen.push(status) });
    const broken = await report.check('a', 'broken', () => {
      throw new ArgumentError('E_VALUE', 'x: expected 1, got 2', { help: 'give 1' });
    });
    const whole = await report.check('a', 'whole', () => within(0, 1));
    expect([broken, whole]).toEqual([false, true]);
    expect(report.rows.map(({ status, note }) => [status, note])).toEqual([
      ['failed', 'x: expected 1, got 2'],
      ['ok', undefined],
    ]);
    expect(seen).toEqual([['a', 'broken'], 'failed', ['a', 'whole'], 'ok']);
  });

  it('as a table', () => {
    const row = (part: Partial<ParityRow>): ParityRow => ({ subject: 'net', check: 'F', status: 'ok', seconds: 0, ...part });
    const lines = formatParity([
      row({ error: 1.26e-6, tolerance: 1e-5 }),
      row({ check: 'norms', status: 'failed', error: NaN, tolerance: 1e-4, note: 'worst: w' }),
      row({ subject: 'other', status: 'absent', note: 'sigma' }),
    ]).split('\n');
    expect(lines.slice(1, 4)).toEqual([
      'net    F      1.3e-6   1.0e-5  ok',
      '       norms     NaN   1.0e-4  FAILED  worst: w',
      'other  F           -           absent  sigma',
    ]);
    expect(lines.at(-1)).toBe('1 ok, 1 failed, 1 absent');
  });
});
