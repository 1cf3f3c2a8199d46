import type { Evaluation, NearestSummary } from '../core/contracts/evaluation.js';
import { formatDuration, formatNumber } from '../core/format.js';
import { figure, folded, heading, note, renderPage, table, tiles } from './page.js';

/** A picture of an evaluation. */
export interface EvaluationPicture {
  /** `nearest`: the table of the nearest images stands below it. */
  name: string;
  title: string;
  caption: string;
  png: Uint8Array;
}

/** An evaluation as one page of HTML that needs nothing else. All text is escaped. */
export function renderEvaluation(evaluation: Evaluation, pictures: readonly EvaluationPicture[], title = evaluation.subject.name): string {
  const { subject, images, seeds, metrics, extractors, nearest, notes, versions, finished, seconds, ...rest } = evaluation;
  const several = seeds.length > 1;
  const main = Object.entries(metrics).filter(([, { better }]) => better !== undefined);
  const value = ({ mean, spread }: Evaluation['metrics'][string]) =>
    `${formatNumber(mean)}${several ? ` ± ${formatNumber(spread, 2)}` : ''}`;
  const count = (n: number) => formatNumber(n, 1);
  const facts: [string, string][] = [
    ['Images', `${count(images)}${several ? ` × ${seeds.length} seeds` : ''}`],
    ['Evaluations an image', subject.evaluations === undefined ? 'none: a data set' : String(subject.evaluations)],
    ['Resolution', `${subject.resolution} px`],
    ['Time', formatDuration(seconds)],
  ];
  const arrow = { lower: 'lower', higher: 'higher' };
  const rows = Object.entries(metrics).map(([name, metric]) => ({
    cells: [
      name,
      metric.better === undefined ? '' : arrow[metric.better],
      formatNumber(metric.mean, 5),
      ...(several ? [formatNumber(metric.spread, 3), formatNumber(metric.min, 5), formatNumber(metric.max, 5)] : []),
      metric.extractor,
    ],
  }));
  const what = { student: 'a student', teacher: 'a teacher by its sampler', data: 'a data set' }[subject.kind];
  return renderPage(
    { title, subtitle: `${what} · ${versions.engine} · ${finished.slice(0, 19).replace('T', ' ')} UTC`, status: 'completed' },
    [
      tiles([...main.map(([name, metric]): [string, string] => [name, value(metric)]), ...facts]),
      heading('Metrics') +
        table(
          ['Metric', 'Better', several ? 'Mean' : 'Value', ...(several ? ['Spread', 'Lowest', 'Highest'] : []), 'Extractor'],
          rows,
          'numbers',
        ) +
        notes.map(note).join(''),
      ...pictures.map(
        ({ name, title: what, caption, png }) =>
          `${heading(what)}<div class="samples pixels">${figure({ caption, png, alt: what })}</div>` +
          (name === 'nearest' && nearest !== undefined ? nearestTable(nearest) : ''),
      ),
      nearest !== undefined &&
        !pictures.some(({ name }) => name === 'nearest') &&
        heading('Nearest reference images') + nearestTable(nearest),
      heading('How it was made') + folded('Extractors, references, versions', { subject, seeds, extractors, versions, ...rest }),
    ],
  );
}

function nearestTable({ rows, median, medianOfReferences, extractor }: NearestSummary): string {
  const most = Math.max(...rows.map(({ matches }) => matches.length));
  return (
    table(
      ['Image', ...Array.from({ length: most }, (_, i) => `Nearest ${i + 1}`)],
      rows.map(({ image, matches }) => ({
        cells: [String(image), ...matches.map(({ reference, distance }) => `${reference} at ${formatNumber(distance, 3)}`)],
      })),
      'numbers',
    ) +
    note(
      `Distances between features of ${extractor}. Half of the images have their nearest reference image within ${formatNumber(median, 3)}; ` +
        `half of the reference images have another one within ${formatNumber(medianOfReferences, 3)}. Far smaller distances of generated images are a sign of memorised ones.`,
    )
  );
}
