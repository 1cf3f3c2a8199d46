/**
 * An analysis of activations as text and as CSV.
 */
import { formatNumber } from '../../core/format.js';
import { decibels } from '../../metrics/radial-spectrum.js';
import type { ActivationAnalysis, LayerActivations } from './analyze-activations.js';
import { activationChange, activationsOf, rangeOf, rowsOf, summarizeActivations, type ActivationMeasure } from './compare.js';

/** Columns as wide as their widest cell; the first to the left, numbers to the right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

const shortName = ({ name }: LayerActivations) => name.replace(/^model\./, '');
const signed = (value: number) =>
  Number.isFinite(value) ? `${value > 0 ? '+' : ''}${value.toFixed(2)}`.replace(/^[+-](?=0\.00$)/, '') : '-';

/**
 * The analysis as text: a row for each block (or layer), with where each network is most active, how much the noise level matters to it, and
 * how it differs from the first network at the largest noise level; then the medians, and the outputs at each noise level.
 */
export function formatActivations(
  analysis: ActivationAnalysis,
  {
    rows: kind = 'block',
    measure = kind === 'block' ? 'contribution' : 'rms',
  }: { rows?: LayerActivations['kind']; measure?: ActivationMeasure } = {},
): string {
  const { networks, sigmas } = analysis;
  const last = sigmas.length - 1;
  const [first, ...others] = networks;
  const table = rowsOf(first!, kind).map((row, k) => {
    const all = networks.map((network) => rowsOf(network, kind)[k]!);
    const cells = all.map((layer) => {
      const values = activationsOf(layer, measure);
      const peak = values.indexOf(Math.max(...values));
      return [String(sigmas[peak]), `${rangeOf(values).toFixed(2)}x`, formatNumber(values[last]!, 3)];
    });
    const changes = all
      .slice(1)
      .map((layer) => [signed(activationChange(row, layer, measure)[last]!), layer.unchanged ? 'same' : 'trained']);
    return [shortName(row), ...cells.flat(), ...changes.flat()];
  });
  const at = `at ${sigmas[last]}`;
  const head = [
    ['', ...networks.flatMap(({ name }) => [name, '', '']), ...others.flatMap(({ name }) => [`${name}/${first!.name}`, ''])],
    [kind, ...networks.flatMap(() => ['peak', 'range', at]), ...others.flatMap(() => [`log2 ${at}`, 'weights'])],
  ];
  const levels = ['sigma', ...sigmas.map(String)];

  const medians = summarizeActivations(analysis, kind, measure).slice(1);
  const medianRows = medians.flatMap(({ network, change, unchanged, rows }) => [
    [`${network}, all ${rows}`, ...change.all.map((value) => value.toFixed(2))],
    ...(change.unchanged ? [[`${network}, same weights ${unchanged}`, ...change.unchanged.map((value) => value.toFixed(2))]] : []),
    ...(change.changed ? [[`${network}, trained ${rows - unchanged}`, ...change.changed.map((value) => value.toFixed(2))]] : []),
  ]);
  const sections = [
    [
      `${measure} of each ${kind}; ${analysis.images} images of ${analysis.data}`,
      'peak: the sigma at which it is largest; range: largest over smallest; log2: of the ratio of the two networks',
      ...columns([...head, ...table]),
    ],
    ...(medianRows.length > 0 ? [[`median |log2 ratio to ${first!.name}| of the ${kind}s`, ...columns([levels, ...medianRows])]] : []),
    [
      'outputs: mean squared distance to the clean image',
      ...columns([levels, ...networks.map(({ name, denoisingError }) => [name, ...denoisingError.map((value) => formatNumber(value, 3))])]),
    ],
    [
      'outputs: spectrum against that of real images: mean over frequencies of |dB|',
      ...columns([
        levels,
        ...networks.map(({ name, spectra }) => [
          name,
          ...spectra.map(({ power }) => spectralDistance(power, analysis.real.power).toFixed(2)),
        ]),
      ]),
    ],
  ];
  return sections.map((lines) => lines.join('\n')).join('\n\n');
}

/** Mean over the rings but the first, which is the mean colour, of |10 log10(power / reference)|: in dB. */
export function spectralDistance(power: readonly number[], reference: readonly number[]): number {
  const differences = power.slice(1).map((value, ring) => Math.abs(decibels(value / reference[ring + 1]!)));
  return differences.reduce((sum, value) => sum + value, 0) / Math.max(1, differences.length);
}

/** Cells that hold commas, quotes or line ends are quoted (RFC 4180). */
const csv = (rows: readonly (readonly (string | number | undefined)[])[]): string =>
  `${rows.map((row) => row.map((cell) => quoted(String(cell ?? ''))).join(',')).join('\n')}\n`;

const quoted = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

/** A row for each network, layer and noise level, with a header; what a row does not have is empty. */
export function activationsCsv({ networks, sigmas }: ActivationAnalysis): string {
  const header = 'network,name,kind,role,block,level,resolution,channels,unchanged,sigma,rms,mean_absolute,contribution'.split(',');
  const rows = networks.flatMap((network) =>
    network.layers.flatMap((layer) => {
      const { name, kind, role, block, level, resolution, channels, unchanged } = layer;
      return sigmas.map((sigma, s) => [
        ...[network.name, name, kind, role, block, level, resolution, channels, String(unchanged), sigma],
        ...[layer.rms[s], layer.meanAbsolute[s], layer.contribution?.[s]],
      ]);
    }),
  );
  return csv([header, ...rows]);
}

/** A row for each network, noise level and frequency (cycles per pixel); the real images' rows have no noise level. */
export function spectraCsv({ networks, sigmas, real }: ActivationAnalysis): string {
  const rows = (name: string, sigma: number | undefined, { frequencies, power }: ActivationAnalysis['real']) =>
    frequencies.map((frequency, ring) => [name, sigma, frequency, power[ring], decibels(power[ring]!)]);
  return csv([
    ['images', 'sigma', 'frequency', 'power', 'decibels'],
    ...rows('real', undefined, real),
    ...networks.flatMap(({ name, spectra }) => spectra.flatMap((spectrum, s) => rows(name, sigmas[s], spectrum))),
  ]);
}
