/**
 * The rows of a parity run as text.
 */
import type { ParityRow } from './report.js';

const number = (value: number | undefined) => (value === undefined ? '' : Number.isFinite(value) ? value.toExponential(1) : String(value));

/** A table with one line a check, and a last line that counts them. */
export function formatParity(rows: readonly ParityRow[]): string {
  const lines = [
    ['', 'check', 'error', 'allowed', ''],
    ...rows.map(({ subject, check, status, error, tolerance, note = '' }, at) => [
      rows[at - 1]?.subject === subject ? '' : subject,
      check,
      error === undefined ? (status === 'failed' ? '' : '-') : number(error),
      number(tolerance),
      `${status === 'failed' ? 'FAILED' : status}${note && `  ${note}`}`,
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => (column === 4 ? cell : column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
  const count = (status: ParityRow['status']) => rows.filter((row) => row.status === status).length;
  return [...text, '', `${count('ok')} ok, ${count('failed')} failed, ${count('absent')} absent`].join('\n');
}
