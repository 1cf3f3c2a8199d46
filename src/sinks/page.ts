import { escapeHtml } from './escape.js';

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
figure{margin:0;padding:10px;max-width:100%}figure img{display:block;max-width:100%;max-height:80vh}.strip img{width:100%}.pixels img{image-rendering:pixelated}
details{padding:12px 14px}summary{cursor:pointer;font-weight:600}pre{overflow:auto;font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:12px 0 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;padding:6px 14px;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}th{border-top:0;color:var(--soft);font-weight:600}
td:nth-child(-n+3){white-space:nowrap;font-variant-numeric:tabular-nums}tr.warning td{color:var(--bad)}.numbers td,.numbers th{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}.numbers td:first-child,.numbers th:first-child{text-align:left}`;

/** What every page begins with. */
export interface PageHeader {
  title: string;
  /** A line below the title. */
  subtitle?: string;
  /** A word for how it stands. */
  status: 'running' | 'completed' | 'stopped' | 'failed';
}

/** One page of HTML that needs nothing else; `sections` are HTML as the functions below make it, false ones are left out. */
export function renderPage({ title, subtitle, status }: PageHeader, sections: readonly (string | false)[]): string {
  const text = escapeHtml;
  const header = `<header><h1>${text(title)} <span class="status ${status}">${status}</span></h1>${subtitle === undefined ? '' : `<p>${text(subtitle)}</p>`}</header>`;
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
${[header, ...sections.filter((section) => section !== false)].join('\n')}
</main>
</body>
</html>
`;
}

/** Key numbers: label and value. */
export const tiles = (summary: readonly (readonly [label: string, value: string])[]): string =>
  `<dl class="tiles">${summary.map(([label, value]) => `<div><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>`;

/** A PNG inside the page. */
export const figure = ({ caption, png, alt }: { caption: string; png: Uint8Array; alt: string }): string =>
  `<figure><img alt="${escapeHtml(alt)}" src="data:image/png;base64,${Buffer.from(png).toString('base64')}"><figcaption>${escapeHtml(caption)}</figcaption></figure>`;

/** A table; `kind` is a class of the style: `numbers` aligns all columns but the first to the right. */
export function table(headings: readonly string[], rows: readonly { cells: readonly string[]; kind?: string }[], kind = ''): string {
  const row = (cells: readonly string[], tag: string) => cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('');
  const body = rows.map((entry) => `<tr class="${escapeHtml(entry.kind ?? '')}">${row(entry.cells, 'td')}</tr>`).join('');
  return `<div class="card scroll"><table class="${escapeHtml(kind)}"><tr>${row(headings, 'th')}</tr>${body}</table></div>`;
}

/** A section that is folded away: any JSON value. */
export const folded = (summary: string, value: unknown): string =>
  `<details class="card"><summary>${escapeHtml(summary)}</summary><pre>${escapeHtml(JSON.stringify(value, null, 2))}</pre></details>`;

export const heading = (text: string): string => `<h2>${escapeHtml(text)}</h2>`;

export const note = (text: string): string => `<p class="note">${escapeHtml(text)}</p>`;
