/** Tables, and the file that keeps what the benchmarks found. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

export const RESULTS = fileURLToPath(new URL('../RESULTS.md', import.meta.url));

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

/** A table in Markdown. */
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');

/** The machine, in words. */
export const machine = (): string => `${cpus().length} x ${cpus()[0]!.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;

/** The middle of `numbers`: of an even count, the higher of both. */
export const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;

/** Puts a `##` section into the file at `path`, in the place of the one with the same title; the others stay as they are. */
export function writeSection(section: string, path = RESULTS): void {
  const former = existsSync(path) ? readFileSync(path, 'utf8') : '# What the benchmarks found\n';
  const [title] = section.split('\n', 1);
  const parts = former.trimEnd().split(/^(?=## )/m);
  const place = parts.findIndex((part) => part.startsWith(`${title}\n`));
  parts.splice(place < 0 ? parts.length : place, place < 0 ? 0 : 1, section);
  writeFileSync(path, `${parts.map((part) => part.trim()).join('\n\n')}\n`);
}
