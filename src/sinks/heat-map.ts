/**
 * Heat maps as SVG text: numbers over rows and columns as colours, several maps of the same rows side by side.
 */
import { ArgumentError } from '../core/errors.js';
import { formatNumber } from '../core/format.js';
import { colourAt, type ColourScaleKind } from './colour-scale.js';
import { escapeHtml } from './escape.js';
import { axis } from './ticks.js';

/** What the colours of a map stand for. */
export interface HeatMapScale {
  kind: ColourScaleKind;
  /** Values of the first and the last colour; what lies beyond has theirs. `diverging`: usually -x and x. */
  low: number;
  high: number;
  /** Beside the legend, with the unit. */
  label: string;
}

/** One map. */
export interface HeatMapPanel {
  title: string;
  /** A row of values for each row, one for each column; what is not finite is left blank. */
  values: readonly (readonly number[])[];
  scale: HeatMapScale;
  /** For each row whether a dot stands before it; what it means is for the subtitle to say. */
  marks?: readonly boolean[];
}

/** A row's name, and the group that it belongs to: neighbours of one group stand together under its name. */
export interface HeatMapRow {
  label: string;
  group?: string;
}

/** Options of `heatMap`. */
export interface HeatMapOptions {
  title: string;
  /** Below the title, smaller; one entry a line. */
  subtitle?: string | readonly string[];
  rows: readonly HeatMapRow[];
  /** Names of the columns, the same for every panel. */
  columns: readonly string[];
  /** Below the columns. */
  xLabel?: string;
  panels: readonly HeatMapPanel[];
  /** Pixels of one cell. */
  cellWidth?: number;
  cellHeight?: number;
}

const style = `.onestep-heat{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:11px}
.onestep-heat .paper{fill:#fff}.onestep-heat text{fill:#444}.onestep-heat .title{fill:#1a1a1a;font-size:15px;font-weight:600}
.onestep-heat .head{fill:#1a1a1a;font-size:12px;font-weight:600}
.onestep-heat .group{fill:#777;font-weight:600}.onestep-heat .blank{fill:#8884}.onestep-heat .mark{fill:#1a1a1a}.onestep-heat .frame{fill:none;stroke:#999;stroke-width:.5}
@media (prefers-color-scheme:dark){.onestep-heat .paper{fill:#17191c}.onestep-heat text{fill:#b4b8be}.onestep-heat .group{fill:#8b9099}
.onestep-heat .title,.onestep-heat .head,.onestep-heat .mark{fill:#f0f1f2}}`;

/** Width of text of `size` pixels, about: what SVG text measures is known only where it is drawn. */
const textWidth = (text: string, size = 11) => text.length * size * 0.56;

/**
 * Draws maps side by side, with the rows' names to the left, the columns' below and a legend for each scale.
 *
 * Panels that share one scale object share a legend. A cell's value is its tooltip.
 *
 * @returns an `<svg>` element that stands alone or inside a page, and follows the reader's light or dark theme.
 * @throws ArgumentError `E_SHAPE` where a panel has not one row of values for each row and one value for each column.
 */
export function heatMap(options: HeatMapOptions): string {
  const { title, rows, columns, panels, xLabel = '', cellWidth = 18, cellHeight = 13 } = options;
  checkShapes(options);
  const subtitles = [options.subtitle ?? []].flat();
  const gap = 26;
  const groupHeight = 18;

  // Where the rows stand: a group's name takes a line of its own.
  const heights: { at: number; group?: string }[] = [];
  let bottom = 34 + 16 * subtitles.length + 26;
  const top = bottom;
  rows.forEach(({ group }, k) => {
    const starts = group !== undefined && group !== rows[k - 1]?.group;
    if (starts) bottom += groupHeight;
    heights.push({ at: bottom, ...(starts && { group }) });
    bottom += cellHeight;
  });

  // Whole pixels: between cells that begin within one, renderers leave hairlines.
  const left = Math.ceil(16 + Math.max(60, ...rows.map(({ label }) => textWidth(label))) + 8);
  const mapWidth = columns.length * cellWidth;
  const panelWidth = Math.ceil(Math.max(mapWidth, ...panels.map((panel) => textWidth(panel.title, 12) + 8)));
  const columnHeight = Math.max(0, ...columns.map((name) => textWidth(name, 10)));
  const legendAt = bottom + 8 + columnHeight + (xLabel === '' ? 6 : 24);
  const width = Math.ceil(
    Math.max(left + panels.length * (panelWidth + gap) - gap + 20, ...[title, ...subtitles].map((text) => 32 + textWidth(text, 12.5))),
  );
  const height = Math.ceil(legendAt + 52);

  const body: string[] = [`<rect class="paper" width="${width}" height="${height}" rx="8"/>`];
  body.push(`<text class="title" x="16" y="26">${escapeHtml(title)}</text>`);
  subtitles.forEach((line, k) => body.push(`<text x="16" y="${44 + 16 * k}">${escapeHtml(line)}</text>`));
  rows.forEach(({ label }, k) => {
    const { at, group } = heights[k]!;
    if (group !== undefined) body.push(`<text class="group" x="16" y="${round(at - 5)}">${escapeHtml(group)}</text>`);
    body.push(`<text x="${round(left - 8)}" y="${round(at + cellHeight / 2)}" dy=".35em" text-anchor="end">${escapeHtml(label)}</text>`);
  });

  const seen = new Set<HeatMapScale>();
  panels.forEach((panel, p) => {
    const x0 = left + p * (panelWidth + gap);
    body.push(`<text class="head" x="${round(x0)}" y="${top - 8}">${escapeHtml(panel.title)}</text>`);
    panel.values.forEach((values, k) => body.push(...cells(values, round(x0), round(heights[k]!.at), panel.scale, options)));
    panel.marks?.forEach((mark, k) => {
      if (mark) body.push(`<circle class="mark" cx="${round(x0 - 6)}" cy="${round(heights[k]!.at + cellHeight / 2)}" r="2"/>`);
    });
    for (const { from, to } of runs(heights, cellHeight))
      body.push(`<rect class="frame" x="${round(x0)}" y="${round(from)}" width="${mapWidth}" height="${round(to - from)}"/>`);
    columns.forEach((name, c) => {
      const x = round(x0 + (c + 0.5) * cellWidth);
      const place = `transform="translate(${x} ${round(bottom + 7)}) rotate(-90)"`;
      body.push(`<text ${place} dy=".35em" text-anchor="end" font-size="10">${escapeHtml(name)}</text>`);
    });
    if (xLabel !== '')
      body.push(
        `<text x="${round(x0 + mapWidth / 2)}" y="${round(bottom + 20 + columnHeight)}" text-anchor="middle">${escapeHtml(xLabel)}</text>`,
      );
    if (!seen.has(panel.scale)) {
      seen.add(panel.scale);
      body.push(...legend(panel.scale, round(x0), round(legendAt), Math.min(220, Math.max(140, panelWidth))));
    }
  });

  const label = escapeHtml(`${title}: ${panels.map((panel) => panel.title).join(', ')}; ${rows.length} rows, ${columns.length} columns`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="onestep-heat" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ` +
    `aria-label="${label}"><style>${style}</style>${body.join('\n')}</svg>\n`
  );
}

function checkShapes({ rows, columns, panels }: HeatMapOptions): void {
  for (const { title, values } of panels) {
    const wrong = values.findIndex((row) => row.length !== columns.length);
    if (values.length === rows.length && wrong < 0) continue;
    const found = values.length === rows.length ? `${values[wrong]!.length} values in row ${wrong}` : `${values.length} rows`;
    throw new ArgumentError('E_SHAPE', `heatMap: ${title}: expected ${rows.length} rows of ${columns.length} values, found ${found}`, {
      help: 'every panel has the rows and columns of the map',
    });
  }
}

const place = (value: number, { low, high }: HeatMapScale) => (high > low ? (value - low) / (high - low) : 0.5);

/** One row of a panel. */
function cells(values: readonly number[], x0: number, y: number, scale: HeatMapScale, options: HeatMapOptions): string[] {
  const { columns, cellWidth = 18, cellHeight = 13 } = options;
  return values.map((value, c) => {
    const fill = Number.isFinite(value) ? `fill="${colourAt(scale.kind, place(value, scale))}"` : 'class="blank"';
    const shown = Number.isFinite(value) ? formatNumber(value, 3) : 'no value';
    const at = `x="${round(x0 + c * cellWidth)}" y="${y}" width="${cellWidth}" height="${cellHeight}"`;
    return `<rect ${at} ${fill}><title>${escapeHtml(columns[c]!)}: ${shown}</title></rect>`;
  });
}

/** Rows that stand together, for their frames. */
function runs(heights: readonly { at: number; group?: string }[], cellHeight: number): { from: number; to: number }[] {
  const out: { from: number; to: number }[] = [];
  for (const { at, group } of heights) {
    const last = out.at(-1);
    if (last === undefined || group !== undefined) out.push({ from: at, to: at + cellHeight });
    else last.to = at + cellHeight;
  }
  return out;
}

/** The scale's colours with ticks below and its label above. */
function legend(scale: HeatMapScale, x: number, y: number, width: number): string[] {
  const steps = 48;
  const out = [`<text x="${x}" y="${y + 8}">${escapeHtml(scale.label)}</text>`];
  for (let k = 0; k < steps; k++) {
    const colour = colourAt(scale.kind, k / (steps - 1));
    // Half a pixel of overlap: without it renderers leave hairlines between neighbours.
    out.push(
      `<rect x="${round(x + (k * width) / steps)}" y="${y + 14}" width="${round(width / steps + 0.5)}" height="9" fill="${colour}"/>`,
    );
  }
  for (const { value, label } of axis([scale.low, scale.high], { count: 4, tight: true }).ticks) {
    const at = round(x + place(value, scale) * width);
    out.push(`<text x="${at}" y="${y + 35}" text-anchor="middle" font-size="10">${label}</text>`);
  }
  return out;
}

const round = (value: number): number => Math.round(value * 10) / 10;
