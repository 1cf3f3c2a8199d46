import { mkdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { filter, tap } from 'rxjs';
import { z } from 'zod';
import type { RunEvent, Sink } from '../core/contracts/events.js';
import { withFileErrors, writeFileAtomic } from '../core/files.js';
import { parseOptions } from '../core/options.js';
import { historyOf, isMilestone, runCharts } from './charts.js';
import { coalesce } from './coalesce.js';
import { formatDuration, formatKimg, formatNumber } from '../core/format.js';
import { imageGrid } from './image-grid.js';
import { encodePng } from './png.js';
import { renderReport, type Report } from './render-report.js';
import { trainingTime, type RunHistory } from './run-history.js';
import { samplesFileName } from './sample-images.js';

const reportOptions = z.strictObject({
  /** Undefined: the name of the run's directory. */
  title: z.string().optional(),
  /** Images of each sample grid, at most. */
  imagesPerGrid: z.int().min(1).default(64),
  /** Between two versions of the page while nothing but steps happens. */
  everySeconds: z.number().positive().default(60),
});

/**
 * Options of `htmlReport`.
 *
 * @interface
 */
export type HtmlReportOptions = z.input<typeof reportOptions>;

/**
 * A sink that keeps `report.html` in the run's directory: key numbers, curves, samples through training, configuration and events
 * on one page that opens from the file system without anything else.
 *
 * Written anew at the start, at evaluations, samples, the end, and every minute. A resumed run's page includes its earlier history from
 * `events.jsonl` and `samples-<kimg>.png`; the configuration comes from `config.json`. Does nothing in a run without a directory.
 *
 * @throws ConfigError for wrong options; FileError from `attach` where a file cannot be read or written.
 */
export function htmlReport(options: HtmlReportOptions = {}): Sink {
  const { title, imagesPerGrid, everySeconds } = parseOptions(reportOptions, options, 'htmlReport');
  return {
    name: 'html-report',
    async attach(events$, { runDir }) {
      if (runDir === undefined) return;
      const history = historyOf(runDir);
      let lastWritten = -Infinity;

      const gather = (event: RunEvent): void => {
        if (event.kind !== 'samples') return history.add(event);
        const [count, height, width, channels] = event.shape;
        const shown = Math.min(count, imagesPerGrid);
        const batch = event.batch.subarray(0, shown * height * width * channels);
        history.add(event, () => encodePng(imageGrid(batch, [shown, height, width, channels])));
      };
      const isDue = (event: RunEvent): boolean => {
        if (!isMilestone(event) && event.kind !== 'started' && event.time - lastWritten < everySeconds * 1000) return false;
        lastWritten = event.time;
        return true;
      };
      const write = async (): Promise<void> => {
        await withFileErrors(runDir, 'write', () => mkdir(runDir, { recursive: true }));
        const report = await reportOf(history, runDir, title ?? basename(resolve(runDir)));
        await writeFileAtomic(join(runDir, 'report.html'), renderReport(report));
      };
      await events$.pipe(tap(gather), filter(isDue), coalesce(write)).forEach(() => {});
    },
  };
}

async function reportOf(history: RunHistory, runDir: string, title: string): Promise<Report> {
  const images: { caption: string; png: Uint8Array }[] = [];
  for (const grid of [...history.grids]) {
    const png = grid.png ?? (await readFile(join(runDir, samplesFileName(grid.images))).catch(() => undefined));
    if (png !== undefined) images.push({ caption: `${formatKimg(grid.images)} kimg`, png });
  }
  const config = await readFile(join(runDir, 'config.json'), 'utf8')
    .then((text): unknown => JSON.parse(text))
    .catch(() => undefined);

  const { started, ended, begin } = history;
  return {
    title,
    ...(started === undefined || begin === undefined
      ? {}
      : { subtitle: `${started.backend} · started ${when(begin)} · updated ${when(Date.now())}` }),
    status: ended?.reason ?? 'running',
    summary: summaryOf(history),
    charts: runCharts(history).map(({ svg }) => svg),
    images,
    ...(config === undefined ? {} : { config }),
    events: history.notes.map(({ time, images: seen, kind, text }) => ({
      time: when(time),
      place: `${formatKimg(seen)} kimg`,
      kind,
      text,
    })),
    ...(history.olderNotes === 0
      ? {}
      : { eventsNote: `The last ${history.notes.length}; ${history.olderNotes} older ones are in events.jsonl.` }),
  };
}

function summaryOf(history: RunHistory): [string, string][] {
  const { started, ended, step, dataWait } = history;
  const summary: [string, string][] = [];
  const images = ended?.images ?? step?.images ?? started?.images ?? 0;
  if (started !== undefined) summary.push(['Trained', `${formatKimg(images)} of ${formatKimg(started.totalImages)} kimg`]);
  summary.push(['Training time', trainingTime(history)]);
  if (step !== undefined && ended === undefined) summary.push(['Time left', formatDuration(step.remainingSeconds)]);
  if (step !== undefined) summary.push(['Speed', `${formatNumber(step.imagesPerSecond, 3)} images/s`]);
  if (dataWait.text !== undefined) summary.push(['Waiting for data', `${dataWait.text} of the time`]);
  for (const [name, { value, images: at }] of history.lowest) {
    const label = name === 'frechet' ? 'Fréchet distance' : name;
    summary.push([label, formatNumber(history.latest.get(name)!)]);
    summary.push([`${label}, lowest`, `${formatNumber(value)} at ${formatKimg(at)} kimg`]);
  }
  if (started !== undefined) {
    const { generator, frozen, discriminator } = started.parameters;
    const millions = (count: number) => `${formatNumber(count / 1e6, 3)}M`;
    summary.push(['Generator', `${millions(generator)} (${millions(frozen)} frozen)`], ['Discriminator', millions(discriminator)]);
    summary.push(['Batch', String(started.batchSize)]);
  }
  if (history.warnings > 0) summary.push(['Warnings', String(history.warnings)]);
  return summary;
}

/** `2025-01-31 17:05:09 UTC`. */
const when = (time: number): string => new Date(time).toISOString().slice(0, 19).replace('T', ' ') + ' UTC';
