import { escapeHtml } from './escape.js';

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

const style = `:root{color-scheme:light dark;--ink:#1a1a1a;--soft:#5c6066;--paper:#f5f6f7;--card:#fff;--line:#e3e5e8;--good:#00693e;--bad:#b3261e;--busy:#005a9e}
@media (prefers-color-scheme:dark){:root{--ink:#f0f1f2;--soft:#a4a9b0;--paper:#0e1012;--card:#17191c;--line:#2c3036;--good:#3ecf8e;--bad:#ff8a80;--busy:#6cb8f0}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}h1{font-size:24px;line-height:1.25;margin:0;overflow-wrap:anywhere}h2{font-size:17px;margin:36px 0 12px}
header p,.note,figcaption{color:var(--soft);margin:4px 0 0}.status{display:inline-block;font-size:13px;font-weight:600;padding:1px 10px;border:1.5px solid;border-radius:99px;vertical-align:3px;margin-left:8px}
.running{color:var(--busy)}.completed{color:var(--good)}.stopped{color:var(--soft)}.failed{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:12px;margin:24px 0 0}.tiles div,.card,figure{background:var(--card);border:1px solid var(--line);border-radius:8px}
.tiles div{padding:12px 14px}dl{margin:0}dt{color:var(--soft);font-size:13px}dd{margin:2px 0 0;font-size:19px;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:12px}.charts svg{display:block;width:100%;height:auto;border:1px solid var(--line);border-radius:8px}
.samples{display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start}.strip{flex:1 1 400px;display:grid;grid-template-columns:repeat(auto-fill,minmax(160px,1fr));gap:12px}
figure{margin:0;padding:10px;max-width:100%}figure img{display:block;max-width:100%;max-height:80vh}.strip img{width:100%}
details{padding:12px 14px}summary{cursor:pointer;font-weight:600}pre{overflow:auto;font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:12px 0 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;padding:6px 14px;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}th{border-top:0;color:var(--soft);font-weight:600}
td:nth-child(-n+3){white-space:nowrap;font-variant-numeric:tabular-nums}tr.warning td{color:var(--bad)}`;

/** A report as one page of HTML that needs nothing else: style, charts and pictures are inside it. All text is escaped. */
export function renderReport(report: Report): string {
  const { title, subtitle, status, summary, charts, images, config, events, eventsNote } = report;
  const text = escapeHtml;
  const figure = ({ caption, png }: Report['images'][number]): string =>
    `<figure><img alt="${text(`samples, ${caption}`)}" src="data:image/png;base64,${Buffer.from(png).toString('base64')}"><figcaption>${text(caption)}</figcaption></figure>`;
  const latest = images.at(-1);

  const sections = [
    `<header><h1>${text(title)} <span class="status ${status}">${status}</span></h1>${subtitle === undefined ? '' : `<p>${text(subtitle)}</p>`}</header>`,
    summary.length > 0 &&
      `<dl class="tiles">${summary.map(([label, value]) => `<div><dt>${text(label)}</dt><dd>${text(value)}</dd></div>`).join('')}</dl>`,
    charts.length > 0 && `<h2>Curves</h2><div class="charts">${charts.join('')}</div>`,
    latest !== undefined &&
      `<h2>Samples</h2><div class="samples">${figure(latest)}<div class="strip">${images.slice(0, -1).map(figure).join('')}</div></div>`,
    config !== undefined &&
      `<h2>Configuration</h2><details class="card"><summary>Resolved options</summary><pre>${text(JSON.stringify(config, null, 2))}</pre></details>`,
    events.length > 0 &&
      `<h2>Events</h2>${eventsNote === undefined ? '' : `<p class="note">${text(eventsNote)}</p>`}<div class="card scroll"><table>` +
        `<tr><th>Time</th><th>Trained</th><th>Event</th><th></th></tr>` +
        events
          .map(
            ({ time, place, kind, text: what }) =>
              `<tr class="${kind === 'warning' ? 'warning' : ''}"><td>${text(time)}</td><td>${text(place)}</td><td>${text(kind)}</td><td>${text(what)}</td></tr>`,
          )
          .join('') +
        `</table></div>`,
  ].filter((section): section is string => typeof section === 'string');

  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${text(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${sections.join('\n')}
</main>
</body>
</html>
`;
}
