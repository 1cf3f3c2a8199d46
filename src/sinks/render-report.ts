import { figure, folded, heading, note, renderPage, table, tiles } from './page.js';

/** What the page of a report shows. */
export interface Report {
  /** Such as the run's directory. */
  title: string;
  /** One line below the title. */
  subtitle?: string;
  /** A word for how the run stands. */
  status: 'running' | 'completed' | 'stopped' | 'failed';
  /** Key numbers: label and value. */
  summary: readonly (readonly [label: string, value: string])[];
  /** `<svg>` elements from `lineChart`; the only part that is not escaped. */
  charts: readonly string[];
  /** Sample grids, oldest first. */
  images: readonly { caption: string; png: Uint8Array }[];
  /** Any JSON value; undefined: the section is left out. */
  config?: unknown;
  /** What happened, oldest first. */
  events: readonly { time: string; place: string; kind: string; text: string }[];
  /** A line above the events, such as how many were left out. */
  eventsNote?: string;
}

/** A report as one page of HTML that needs nothing else: style, charts and pictures are inside it. All text is escaped. */
export function renderReport({ title, subtitle, status, summary, charts, images, config, events, eventsNote }: Report): string {
  const picture = ({ caption, png }: Report['images'][number]): string => figure({ caption, png, alt: `samples, ${caption}` });
  const latest = images.at(-1);
  return renderPage({ title, ...(subtitle === undefined ? {} : { subtitle }), status }, [
    summary.length > 0 && tiles(summary),
    charts.length > 0 && `${heading('Curves')}<div class="charts">${charts.join('')}</div>`,
    latest !== undefined &&
      `${heading('Samples')}<div class="samples">${picture(latest)}<div class="strip">${images.slice(0, -1).map(picture).join('')}</div></div>`,
    config !== undefined && `${heading('Configuration')}${folded('Resolved options', config)}`,
    events.length > 0 &&
      `${heading('Events')}${eventsNote === undefined ? '' : note(eventsNote)}` +
        table(
          ['Time', 'Trained', 'Event', ''],
          events.map(({ time, place, kind, text }) => ({ cells: [time, place, kind, text], kind: kind === 'warning' ? 'warning' : '' })),
        ),
  ]);
}
