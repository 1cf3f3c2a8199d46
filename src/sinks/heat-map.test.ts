import { describe, expect, it } from 'vitest';
import { colourAt } from './colour-scale.js';
import { heatMap, type HeatMapOptions, type HeatMapScale } from './heat-map.js';
import { lineChart } from './line-chart.js';
import { sideBySide } from './side-by-side.js';
import { assertWellFormed } from './testing.js';

const scale: HeatMapScale = { kind: 'sequential', low: 0, high: 10, label: 'strength' };
const options = (more: Partial<HeatMapOptions> = {}): HeatMapOptions => ({
  title: 'Map',
  rows: [{ label: 'first' }, { label: 'second' }],
  columns: ['a', 'b', 'c'],
  panels: [
    {
      title: 'one',
      scale,
      values: [
        [0, 5, 10],
        [10, 20, -3],
      ],
    },
  ],
  ...more,
});

/** Place and colour of every cell, in the order of drawing. */
const cells = (svg: string) =>
  [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="[\d.]+" (?:fill="(#\w+)"|class="blank")><title>([^<]*)</g)].map(
    ([, x, y, fill, title]) => ({ x: Number(x), y: Number(y), fill, title }),
  );

const luminance = (hex: string) =>
  [1, 3, 5].reduce((sum, at, k) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return sum + [0.2126, 0.7152, 0.0722][k]! * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);

describe('colourAt', () => {
  it('rises in brightness over a sequential scale, and clamps', () => {
    const all = Array.from({ length: 51 }, (_, k) => luminance(colourAt('sequential', k / 50)));
    all.slice(1).forEach((value, k) => expect(value).toBeGreaterThan(all[k]!));
    expect([colourAt('sequential', 0), colourAt('sequential', 1)]).toEqual(['#171443', '#f8e95c']);
    expect(colourAt('sequential', -4)).toBe(colourAt('sequential', 0));
    expect(colourAt('sequential', 9)).toBe(colourAt('sequential', 1));
  });

  it('is near white in the middle of a diverging scale, darker to both sides, with other hues', () => {
    expect(colourAt('diverging', 0.5)).toBe('#f4f4f2');
    const [low, high] = [colourAt('diverging', 0.2), colourAt('diverging', 0.8)];
    expect(parseInt(low.slice(5), 16)).toBeGreaterThan(parseInt(low.slice(1, 3), 16));
    expect(parseInt(high.slice(1, 3), 16)).toBeGreaterThan(parseInt(high.slice(5), 16));
    for (const side of [low, high]) expect(luminance(side)).toBeLessThan(0.5);
  });
});

describe('heatMap', () => {
  it('draws a cell for each value, in its place and colour, with the value as tooltip', () => {
    const svg = heatMap(options());
    assertWellFormed(svg);
    const found = cells(svg);
    expect(found.map(({ title }) => title)).toEqual(['a: 0', 'b: 5.00', 'c: 10.0', 'a: 10.0', 'b: 20.0', 'c: -3.00']);
    expect(found.map(({ fill }) => fill)).toEqual([0, 0.5, 1, 1, 1, 0].map((at) => colourAt('sequential', at)));
    expect(found[1]!.x - found[0]!.x).toBe(18);
    expect(found[3]).toMatchObject({ x: found[0]!.x, y: found[0]!.y + 13 });
    for (const text of ['Map', 'first', 'second', 'one', 'strength']) expect(svg).toContain(`>${text}</text>`);
    expect(svg).toContain('aria-label="Map: one; 2 rows, 3 columns"');
    expect(svg).toContain('prefers-color-scheme:dark');
  });

  it('puts panels side by side, with one legend for a scale that they share', () => {
    const change: HeatMapScale = { kind: 'diverging', low: -1, high: 1, label: 'change' };
    const values = [
      [0, 0, 0],
      [-1, 0, 1],
    ];
    const [panel] = options().panels;
    const svg = heatMap(
      options({ panels: [panel!, { ...panel!, title: 'two' }, { title: 'three', scale: change, values, marks: [true, false] }] }),
    );
    assertWellFormed(svg);
    const found = cells(svg);
    expect(found).toHaveLength(18);
    expect(found[6]!.x).toBeGreaterThan(found[2]!.x + 18);
    expect(found[12]!.fill).toBe(colourAt('diverging', 0.5));
    expect(found.slice(15).map(({ fill }) => fill)).toEqual([0, 0.5, 1].map((at) => colourAt('diverging', at)));
    expect(svg.match(/>strength<\/text>/g)).toHaveLength(1);
    expect(svg.match(/>change<\/text>/g)).toHaveLength(1);
    expect(svg.match(/class="mark"/g)).toHaveLength(1);
  });

  it('names each group of rows once and leaves room for its name', () => {
    const rows = ['x', 'x', 'y'].map((group, k) => ({ label: `row ${k}`, group }));
    const svg = heatMap(options({ rows, panels: [{ title: 'p', scale, values: rows.map(() => [1, 2, 3]) }] }));
    expect(svg.match(/class="group"/g)).toHaveLength(2);
    const [a, b, c] = [0, 3, 6].map((k) => cells(svg)[k]!.y);
    expect(b! - a!).toBe(13);
    expect(c! - b!).toBeGreaterThan(13);
    expect(svg.match(/class="frame"/g)).toHaveLength(2);
  });

  it('begins every cell at a whole pixel, so that no hairlines stand between them', () => {
    const [panel] = options().panels;
    const svg = heatMap(options({ rows: [{ label: 'a label of some width' }, { label: 'b' }], panels: [panel!, { ...panel!, title: 'a title of some width, too' }] })); // prettier-ignore
    expect(cells(svg)).toHaveLength(12);
    for (const { x, y } of cells(svg)) expect([x % 1, y % 1]).toEqual([0, 0]);
  });

  it('stays inside its picture, whatever the names', () => {
    const long = 'a very long name of a row or a column indeed';
    const rows = [{ label: long }, { label: 'b' }];
    const svg = heatMap(options({ rows, columns: [long, 'b', 'c'], subtitle: [long.repeat(3), long], xLabel: 'sigma' }));
    assertWellFormed(svg);
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.map(Number);
    for (const { x, y } of cells(svg)) {
      expect(x).toBeGreaterThan(long.length * 5);
      expect(x + 18).toBeLessThanOrEqual(width!);
      expect(y + long.length * 4).toBeLessThan(height!);
    }
  });

  it('leaves values blank that are not finite', () => {
    const svg = heatMap(options({ rows: [{ label: 'r' }], panels: [{ title: 'p', scale, values: [[NaN, Infinity, 1]] }] }));
    assertWellFormed(svg);
    expect(svg).not.toMatch(/="[^"]*(NaN|Infinity)/);
    expect(svg.match(/class="blank"/g)).toHaveLength(2);
    expect(svg.match(/no value/g)).toHaveLength(2);
  });

  it('escapes every text', () => {
    const evil = '<script>"&\'\u0001';
    const panels = [{ title: evil, scale: { ...scale, label: evil }, values: [[1]] }];
    const svg = heatMap({ title: evil, subtitle: evil, rows: [{ label: evil, group: evil }], columns: [evil], xLabel: evil, panels });
    assertWellFormed(svg);
    expect(svg).not.toContain('<script');
    expect(svg).not.toContain('\u0001');
  });

  it('refuses panels that do not fit', () => {
    const panel = (values: number[][]) => options({ panels: [{ title: 'p', scale, values }] });
    expect(() => heatMap(panel([[1, 2, 3]]))).toThrow('p: expected 2 rows of 3 values, found 1 rows');
    expect(() => heatMap(panel([[1, 2, 3], [1]]))).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
  });
});

describe('sideBySide', () => {
  it('makes one picture of charts and maps', () => {
    const chart = lineChart({ title: 't', series: [], width: 300, height: 200 });
    const map = heatMap(options());
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(map)!.map(Number);
    const svg = sideBySide([chart, map, chart]);
    assertWellFormed(svg);
    expect(svg).toContain(`viewBox="0 0 ${600 + width!} ${Math.max(200, height!)}"`);
    expect([...svg.matchAll(/<svg x="(\d+)" y="0"/g)].map(([, x]) => Number(x))).toEqual([0, 300, 300 + width!]);
  });

  it('refuses what is no picture', () => {
    expect(() => sideBySide([])).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
    expect(() => sideBySide(['<html>'])).toThrow("got '<html>' as picture 0");
  });
});
