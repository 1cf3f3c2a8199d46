/**
 * Line charts as SVG text: one self-contained picture that follows the reader's light or dark theme.
 */
import { escapeHtml } from './escape.js';
import { formatNumber } from '../core/format.js';
import type { Point } from './series.js';
import { axis } from './ticks.js';

/** One line of a chart. */
export interface ChartSeries {
  /** Shown at the end of the line. */
  name: string;
  points: readonly Point[];
  /** The values before smoothing, drawn faintly. */
  raw?: readonly Point[];
  /** What `low` and `high` of the points become; undefined: nothing is drawn. */
  spread?: 'band' | 'whiskers';
  /** A dot on each point, for values measured now and then. */
  markers?: boolean;
}

/** Options of `lineChart`. */
export interface LineChartOptions {
  title: string;
  /** Below the title, smaller. */
  subtitle?: string;
  /** Such as `kimg`. */
  xLabel?: string;
  yLabel?: string;
  /** Logarithmic axes; values that are not positive are left out. */
  xLog?: boolean;
  yLog?: boolean;
  /** Values that the y axis holds whether or not a series has them, so that charts side by side share an axis. */
  yRange?: readonly number[];
  /** False: a line's name alone stands at its end, without its last value. */
  endValues?: boolean;
  series: readonly ChartSeries[];
  /** Pixels; the picture scales with its place. */
  width?: number;
  height?: number;
}

/** Okabe and Ito's colours, told apart with every common colour vision; darkened or lightened for contrast with the background. */
const colours = [
  ['#0072b2', '#56b4e9'],
  ['#c85200', '#f28e4b'],
  ['#00805e', '#2fc69a'],
  ['#a8458a', '#e39ac6'],
  ['#7d6608', '#e8c547'],
  ['#4d4d4d', '#bdbdbd'],
] as const;

const style = `.onestep-chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:12px}
.onestep-chart .paper{fill:#fff}.onestep-chart text{fill:#555}.onestep-chart .title{fill:#1a1a1a;font-size:15px;font-weight:600}
.onestep-chart .grid{stroke:#e6e6e6}.onestep-chart .axis{stroke:#999}.onestep-chart .name{font-weight:600}
.onestep-chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.onestep-chart .raw{fill:none;stroke-width:1;opacity:.25}
.onestep-chart .band{opacity:.16}.onestep-chart .whisker{stroke-width:1.5;opacity:.7}.onestep-chart .leader{opacity:.5}
${colours.map(([light], k) => colourRules(k, light)).join('\n')}
@media (prefers-color-scheme:dark){.onestep-chart .paper{fill:#17191c}.onestep-chart text{fill:#b4b8be}.onestep-chart .title{fill:#f0f1f2}
.onestep-chart .grid{stroke:#2c3036}.onestep-chart .axis{stroke:#6b7280}
${colours.map(([, dark], k) => colourRules(k, dark)).join('\n')}}`;

function colourRules(k: number, colour: string): string {
  return `.onestep-chart .s${k}{stroke:${colour}}.onestep-chart .f${k},.onestep-chart text.f${k}{fill:${colour}}`;
}

/**
 * Draws curves over a common x.
 *
 * Every series is named at the end of its line with its last value, so that no legend is needed; from the seventh on colours repeat.
 * Values that are not finite are left out and break nothing; without any value the chart says so.
 *
 * @returns an `<svg>` element that stands alone or inside a page.
 */
export function lineChart(options: LineChartOptions): string {
  const { title, subtitle, xLabel = '', yLabel = '', xLog = false, yLog = false, width = 720, height = 360 } = options;
  const { yRange = [], endValues = true } = options;
  const usable = (points: readonly Point[] = []) =>
    points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y) && (!xLog || x > 0) && (!yLog || y > 0));
  const series = options.series.map((one) => ({ ...one, points: usable(one.points), raw: usable(one.raw) }));

  const endLabel = (name: string, points: readonly Point[]) => (endValues ? `${name} ${formatNumber(points.at(-1)!.y, 3)}` : name);
  const labels = series.filter(({ points }) => points.length > 0).map(({ name, points }) => endLabel(name, points));
  const right = 20 + 7.4 * Math.min(34, Math.max(0, ...labels.map((label) => label.length)));
  const top = subtitle === undefined ? 44 : 60;
  const yAxis = axis([...yValues(series), ...yRange], { log: yLog, count: Math.max(2, Math.round(height / 50)) });
  const left = 26 + 6.8 * Math.max(2, ...yAxis.ticks.map(({ label }) => label.length)) + (yLabel === '' ? 0 : 16);
  const plot = { left, right: width - right, top, bottom: height - (xLabel === '' ? 32 : 48) };
  const xAxis = axis(
    series.flatMap(({ points, raw }) => [...points, ...raw].map(({ x }) => x)),
    { log: xLog, count: Math.max(5, Math.round((plot.right - plot.left) / 90)), tight: true },
  );
  const px = (x: number) => round(plot.left + xAxis.at(x) * (plot.right - plot.left));
  const py = (y: number) => round(plot.bottom - Math.min(1, Math.max(0, yAxis.at(y))) * (plot.bottom - plot.top)); // outliers lie on the edge

  const body: string[] = [`<rect class="paper" width="${width}" height="${height}" rx="8"/>`];
  body.push(`<text class="title" x="16" y="26">${escapeHtml(title)}</text>`);
  if (subtitle !== undefined) body.push(`<text x="16" y="44">${escapeHtml(subtitle)}</text>`);
  for (const { value, label } of yAxis.ticks) {
    body.push(`<line class="grid" x1="${round(plot.left)}" x2="${round(plot.right)}" y1="${py(value)}" y2="${py(value)}"/>`);
    body.push(`<text x="${round(plot.left - 8)}" y="${py(value)}" dy=".35em" text-anchor="end">${label}</text>`);
  }
  body.push(`<line class="axis" x1="${round(plot.left)}" x2="${round(plot.right)}" y1="${plot.bottom}" y2="${plot.bottom}"/>`);
  for (const { value, label } of xAxis.ticks) {
    body.push(`<line class="axis" x1="${px(value)}" x2="${px(value)}" y1="${plot.bottom}" y2="${plot.bottom + 4}"/>`);
    body.push(`<text x="${px(value)}" y="${plot.bottom + 18}" text-anchor="middle">${label}</text>`);
  }
  const middle = (plot.left + plot.right) / 2;
  if (xLabel !== '') body.push(`<text x="${round(middle)}" y="${height - 10}" text-anchor="middle">${escapeHtml(xLabel)}</text>`);
  if (yLabel !== '') {
    const y = round((plot.top + plot.bottom) / 2);
    body.push(`<text transform="translate(20 ${y}) rotate(-90)" text-anchor="middle">${escapeHtml(yLabel)}</text>`);
  }

  const path = (points: readonly Point[]) => points.map(({ x, y }, k) => `${k === 0 ? 'M' : 'L'}${px(x)} ${py(y)}`).join('');
  const clamp = (value: number | undefined, y: number) =>
    value !== undefined && Number.isFinite(value) && (!yLog || value > 0) ? value : y;
  series.forEach(({ points, spread }, k) => {
    if (spread !== 'band' || points.length < 2) return;
    const outline = [
      ...points.map((p) => ({ ...p, y: clamp(p.high, p.y) })),
      ...points.toReversed().map((p) => ({ ...p, y: clamp(p.low, p.y) })),
    ];
    body.push(`<path class="band f${k % colours.length}" d="${path(outline)}Z"/>`);
  });
  series.forEach(({ raw }, k) => raw.length > 1 && body.push(`<path class="raw s${k % colours.length}" d="${path(raw)}"/>`));
  series.forEach(({ points, spread, markers }, k) => {
    const colour = k % colours.length;
    if (points.length > 1) body.push(`<path class="line s${colour}" d="${path(points)}"/>`);
    for (const { x, y, low, high } of points) {
      if (spread === 'whiskers') {
        const [a, b] = [py(clamp(low, y)), py(clamp(high, y))];
        const at = px(x);
        body.push(`<path class="whisker s${colour}" d="M${at} ${a}V${b}M${at - 4} ${a}h8M${at - 4} ${b}h8"/>`);
      }
      if (markers === true || points.length === 1) {
        body.push(
          `<circle class="f${colour}" cx="${px(x)}" cy="${py(y)}" r="3.5"><title>${formatNumber(x)}: ${formatNumber(y)}</title></circle>`,
        );
      }
    }
  });

  const ends = series.flatMap(({ name, points }, k) => {
    const last = points.at(-1);
    return last === undefined ? [] : [{ label: endLabel(shorten(name), points), colour: k % colours.length, x: px(last.x), y: py(last.y) }];
  });
  const heights = spreadOut(
    ends.map(({ y }) => y),
    16,
    plot.top + 4,
    plot.bottom,
  );
  ends.forEach(({ label, colour, x, y }, k) => {
    const at = round(heights[k]!);
    const shift = Math.abs(at - y) > 6 || x < plot.right - 6;
    if (shift) body.push(`<path class="leader s${colour}" fill="none" d="M${x + 4} ${y}L${round(plot.right + 8)} ${at}"/>`);
    body.push(`<text class="name f${colour}" x="${round(plot.right + 11)}" y="${at}" dy=".35em">${escapeHtml(label)}</text>`);
  });
  if (ends.length === 0)
    body.push(`<text x="${round(middle)}" y="${round((plot.top + plot.bottom) / 2)}" text-anchor="middle">no values yet</text>`);

  const label = escapeHtml(`${title}: ${labels.join(', ')}`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="onestep-chart" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ` +
    `aria-label="${label}"><style>${style}</style>${body.join('\n')}</svg>\n`
  );
}

const shorten = (name: string): string => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

function* yValues(series: readonly ChartSeries[]): Generator<number> {
  for (const { points, raw, spread } of series) {
    for (const { y, low = y, high = y } of points) {
      yield y;
      if (spread !== undefined) {
        yield low;
        yield high;
      }
    }
    // A few outliers among raw values must not press the curves flat: the middle 98 % count.
    const sorted = (raw ?? []).map(({ y }) => y).sort((a, b) => a - b);
    if (sorted.length > 0) {
      yield sorted[Math.floor(0.01 * sorted.length)]!;
      yield sorted[Math.ceil(0.99 * sorted.length) - 1]!;
    }
  }
}

/** Heights near the wanted ones, in the same order, at least `gap` apart and inside the range where they fit. */
export function spreadOut(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wanted.map((_, k) => k).sort((a, b) => wanted[a]! - wanted[b]!);
  const out = [...wanted];
  let floor = low;
  for (const k of order) {
    out[k] = Math.max(out[k]!, floor);
    floor = out[k]! + gap;
  }
  let ceiling = high;
  for (const k of order.toReversed()) {
    out[k] = Math.min(out[k]!, ceiling);
    ceiling = out[k]! - gap;
  }
  return out;
}

const round = (value: number): number => Math.round(value * 10) / 10;
