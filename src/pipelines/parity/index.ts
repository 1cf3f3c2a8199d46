/**
 * Parity with golden vectors: everything of a directory that can be compared is compared.
 */
import { z } from 'zod';
import { basename } from 'node:path';
import { ConfigError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { checkDiscriminatorHead } from './discriminator-head.js';
import { checkFrechet } from './frechet.js';
import { openGoldenDirectory } from './golden-directory.js';
import { checkNetwork } from './network.js';
import { checkProjection } from './projection.js';
import { Report, type ParityRow } from './report.js';
import { checkSampler } from './sampler.js';
import { checkStateDict } from './state-dict.js';

export type { ParityRow } from './report.js';
export { formatParity } from './table.js';

const listener = <F>() => z.custom<F>((value) => typeof value === 'function', 'expected a function').optional();

const schema = z.strictObject({
  /** Only networks and files whose name contains this; undefined: all. */
  only: z.string().optional(),
  /** Called as a check begins: those of large networks take minutes. */
  onStart: listener<(subject: string, check: string) => void>(),
  onRow: listener<(row: ParityRow) => void>(),
});

/**
 * Options of `parity`.
 *
 * @interface
 */
export type ParityOptions = z.input<typeof schema>;

/**
 * Compares this package with a directory of golden vectors, on the engine that is open: networks (architecture, freeze levels, F, D, G
 * and gradients), discriminator heads, random projections, samples, Fréchet distances, snapshots and state dicts.
 *
 * Files are recognised by name and content, see the guide on parity. A file that cannot be read is a failed row, a piece that is not there an
 * absent one; the rest goes on. One network is in memory at a time, and nothing is left of it.
 * Throws `E_CONFIG` for wrong options and where `only` leaves nothing, `FileError` for a directory that cannot be read or holds nothing to check.
 */
export async function parity(directory: string, options: ParityOptions = {}): Promise<ParityRow[]> {
  const { only = '', ...listeners } = parseOptions(schema, options, 'parity');
  const golden = await openGoldenDirectory(directory);
  const report = new Report(listeners);
  const checks: [subject: string, run: () => Promise<void>][] = [
    ...golden.networks.map((files) => [files.name, () => checkNetwork(report, files)] as [string, () => Promise<void>]),
    ...golden.stateDicts.map((path) => [basename(path), () => checkStateDict(report, path, golden)] as [string, () => Promise<void>]),
    ...golden.samplers.map((path) => [basename(path), () => checkSampler(report, path, golden.networks)] as [string, () => Promise<void>]),
    ...golden.heads.map((files) => [files.name, () => checkDiscriminatorHead(report, files)] as [string, () => Promise<void>]),
    ...golden.projections.map((files) => [files.name, () => checkProjection(report, files)] as [string, () => Promise<void>]),
  ];
  if (golden.frechet !== undefined || golden.frechetSets.length > 0) checks.push(['frechet', () => checkFrechet(report, golden)]);
  const chosen = checks.filter(([subject]) => subject.includes(only));
  if (chosen.length === 0)
    throw new ConfigError('parity', [`only: expected a part of a name in ${directory}, got '${only}'`], {
      help: `the names are ${checks.map(([subject]) => subject).join(', ')}`,
    });
  for (const [, run] of chosen) await run();
  return report.rows;
}
