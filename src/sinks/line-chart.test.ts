import { describe, expect, it } from 'vitest';
import { lineChart, spreadOut } from './line-chart.js';
import { assertWellFormed } from './testing.js';

const curve = (name: string, ...ys: number[]) => ({ name, points: ys.map((y, x) => ({ x, y })) });
const count = (svg: string, pattern: RegExp) => [...svg.matchAll(pattern)].length;

describe('lineChart', () => {
  it('draws a line per series and names each at its end with its last value', () => {
    const svg = lineChart({
      title: 'Losses',
      xLabel: 'kimg',
      yLabel: 'loss',
      series: [curve('generator', 3, 2, 1), curve('discriminator', 1, 1.5, 1.25)],
    });
    assertWellFormed(svg);
    expect(count(svg, /class="line s\d"/g)).toBe(2);
    expect(svg).toContain('>generator 1.00</text>');
    expect(svg).toContain('>discriminator 1.25</text>');
    expect(svg).toContain('aria-label="Losses: generator 1.00, discriminator 1.25"');
    expect(svg).toContain('prefers-color-scheme:dark');
  });

  it('places values to scale', () => {
    const svg = lineChart({ title: 't', series: [curve('a', 0, 10, 5)], width: 500, height: 300 });
    const [, d] = /class="line s0" d="([^"]+)"/.exec(svg)!;
    const points = d!
      .split(/[ML]/)
      .slice(1)
      .map((pair) => pair.split(' ').map(Number) as [number, number]);
    expect(points[1]![0] - points[0]![0]).toBeCloseTo(points[2]![0] - points[1]![0], 0);
    expect(points[0]![1] - points[1]![1]).toBeCloseTo(2 * (points[2]![1] - points[1]![1]), 0);
    const log = lineChart({ title: 't', yLog: true, series: [curve('a', 1, 10, 100)] });
    const heights = [.../class="line s0" d="([^"]+)"/.exec(log)![1]!.matchAll(/ ([\d.]+)/g)].map(([, y]) => Number(y));
    expect(heights[0]! - heights[1]!).toBeCloseTo(heights[1]! - heights[2]!, 0);
  });

  it('shares an axis with other charts, and leaves out the last values where asked to', () => {
    const draw = (series: ReturnType<typeof curve>) =>
      lineChart({ title: 't', yRange: [0, 100], endValues: false, series: [series], width: 400 });
    const [low, high] = [draw(curve('low', 1, 2)), draw(curve('high', 90, 99))];
    const ticks = (svg: string) => [...svg.matchAll(/text-anchor="end">([^<]+)</g)].map(([, label]) => label);
    expect(ticks(low)).toEqual(ticks(high));
    expect(ticks(low)).toContain('100');
    expect(low).toContain('>low</text>');
  });

  it('draws raw values, bands, whiskers and markers', () => {
    const points = [1, 2, 3].map((y, x) => ({ x, y, low: y - 0.5, high: y + 0.5 }));
    const svg = lineChart({
      title: 't',
      series: [
        { name: 'a', points, spread: 'band', raw: points, markers: true },
        { name: 'b', points, spread: 'whiskers' },
      ],
    });
    assertWellFormed(svg);
    expect([/class="band f0"/g, /class="raw s0"/g, /<circle/g, /class="whisker s1"/g].map((pattern) => count(svg, pattern))).toEqual([
      1, 1, 3, 3,
    ]);
  });

  it('leaves out values it cannot place, and says when there are none', () => {
    const svg = lineChart({ title: 't', yLog: true, series: [curve('a', 1, NaN, 0, -1, Infinity, 2), curve('b')] });
    assertWellFormed(svg);
    expect(svg).not.toMatch(/NaN|Infinity/);
    expect(/class="line s0" d="M[^L]+L[^L]+"/.test(svg)).toBe(true);
    const empty = lineChart({ title: 't', series: [curve('a', NaN)] });
    assertWellFormed(empty);
    expect(empty).toContain('no values yet');
    expect(lineChart({ title: 't', series: [curve('a', 7)] })).toContain('<circle');
  });

  it('a lonely outlier among raw values does not press the curve flat', () => {
    const points = Array.from({ length: 500 }, (_, x) => ({ x, y: 1 + (x % 2) }));
    const svg = lineChart({ title: 't', series: [{ name: 'a', points, raw: [...points, { x: 500, y: 1e6 }] }] });
    expect(svg).not.toContain('1,000,000');
  });

  it('escapes every text', () => {
    const evil = '<script>"&\'\u0001';
    const svg = lineChart({ title: evil, subtitle: evil, xLabel: evil, yLabel: evil, series: [curve(evil, 1, 2)] });
    assertWellFormed(svg);
    expect(svg).not.toContain('<script');
    expect(svg).not.toContain('\u0001');
  });
});

describe('spreadOut', () => {
  it('moves labels apart, keeps their order and the range', () => {
    expect(spreadOut([50, 52, 90], 16, 0, 100)).toEqual([50, 66, 90]);
    expect(spreadOut([99, 98], 16, 0, 100)).toEqual([100, 84]);
    expect(spreadOut([], 16, 0, 100)).toEqual([]);
  });
});
