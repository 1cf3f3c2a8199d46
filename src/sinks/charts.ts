import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { filter, tap } from 'rxjs';
import type { RunEvent, Sink } from '../core/contracts/events.js';
import { withFileErrors, writeFileAtomic } from '../core/files.js';
import { coalesce } from './coalesce.js';
import { formatKimg, formatNumber } from '../core/format.js';
import { EVENTS_FILE, readEvents } from './jsonl-log.js';
import { lineChart, type ChartSeries } from './line-chart.js';
import { RunHistory } from './run-history.js';
import { smooth, type Series } from './series.js';

const names: Record<string, string> = { frechet: 'Fréchet distance' };

/** A chart of a run and its name, such as `losses`; fit for file names. */
export interface NamedChart {
  name: string;
  svg: string;
}

/**
 * The charts of a run: each metric, the losses of generator and discriminator, and the penalties where there are any.
 * Empty before the first step.
 */
export function runCharts(history: RunHistory): NamedChart[] {
  const charts: NamedChart[] = [];
  for (const [name, series] of history.metrics) {
    const points = series.toArray();
    if (points.length === 0) continue;
    const lowest = history.lowest.get(name);
    charts.push({
      name: name.replace(/[^\w-]+/g, '-'),
      svg: lineChart({
        title: names[name] ?? name,
        ...(lowest === undefined ? {} : { subtitle: `lowest ${formatNumber(lowest.value)} at ${formatKimg(lowest.images)} kimg` }),
        xLabel: 'kimg',
        yLog: wantsLog(points.map(({ y }) => y)),
        series: [{ name, points, markers: points.length <= 60 }],
      }),
    });
  }

  const losses = [...history.losses].filter(([, series]) => series.toArray().length > 0);
  const adversarial = losses.filter(([name]) => name === 'generator' || name === 'discriminator');
  const main = adversarial.length > 0 ? adversarial : losses;
  const penalties = losses.filter((one) => !main.includes(one));
  const subtitle = 'smoothed; faint: as measured';
  if (main.length > 0)
    charts.push({ name: 'losses', svg: lineChart({ title: 'Losses', subtitle, xLabel: 'kimg', series: main.map(smoothed) }) });
  if (penalties.length > 0) {
    const series = penalties.map(smoothed);
    const yLog = wantsLog(series.flatMap(({ points }) => points.map(({ y }) => y)));
    charts.push({ name: 'penalties', svg: lineChart({ title: 'Penalties', subtitle, xLabel: 'kimg', yLog, series }) });
  }
  return charts;
}

function smoothed([name, series]: [string, Series]): ChartSeries {
  const raw = series.toArray();
  return raw.length < 20 ? { name, points: raw } : { name, raw, points: smooth(raw, Math.max(2, raw.length / 40)) };
}

/** True for positive values over more than a factor of ten. */
function wantsLog(values: readonly number[]): boolean {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low > 0 && high / low > 10;
}

/** What earlier processes of this run have logged; empty where there is no log. */
export function historyOf(runDir: string): RunHistory {
  const history = new RunHistory();
  for (const event of readEvents(join(runDir, EVENTS_FILE))) history.add(event);
  return history;
}

/** True for events after which charts and reports are written anew. */
export const isMilestone = ({ kind }: RunEvent): boolean => kind === 'evaluation' || kind === 'samples' || kind === 'ended';

/**
 * A sink that keeps `losses.svg`, `penalties.svg` and a chart per metric (`frechet.svg`) in the run's directory,
 * written anew at evaluations, samples and the end. A resumed run goes on from `events.jsonl`. Does nothing in a run without a directory.
 *
 * @throws FileError from `attach` where a file cannot be read or written.
 */
export function charts(): Sink {
  return {
    name: 'charts',
    async attach(events$, { runDir }) {
      if (runDir === undefined) return;
      const history = historyOf(runDir);
      const write = async (): Promise<void> => {
        await withFileErrors(runDir, 'write', () => mkdir(runDir, { recursive: true }));
        for (const { name, svg } of runCharts(history)) await writeFileAtomic(join(runDir, `${name}.svg`), svg);
      };
      await events$
        .pipe(
          tap((event) => history.add(event)),
          filter(isMilestone),
          coalesce(write),
        )
        .forEach(() => {});
    },
  };
}
