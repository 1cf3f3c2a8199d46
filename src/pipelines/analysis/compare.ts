/**
 * What an analysis of activations says in few numbers: where layers are active, and what training has changed.
 */
import { ArgumentError } from '../../core/errors.js';
import type { ActivationAnalysis, LayerActivations, NetworkActivations } from './analyze-activations.js';

/** What can be compared of a layer or a block; `contribution` is a block's alone. */
export type ActivationMeasure = 'rms' | 'meanAbsolute' | 'contribution';

/** A layer's values over the noise levels. Throws `E_VALUE` where it has no contribution. */
export function activationsOf(layer: LayerActivations, measure: ActivationMeasure): number[] {
  const values = layer[measure];
  if (values === undefined)
    throw new ArgumentError('E_VALUE', `activations: expected a block for its contribution, got the layer ${layer.name}`, {
      help: "layers have 'rms' and 'meanAbsolute'",
    });
  return values;
}

/** Values over a layer's own noise levels relative to its largest: 1 where it is most active. All 0 for a layer that is never active. */
export function relativeToPeak(values: readonly number[]): number[] {
  const peak = Math.max(...values);
  return values.map((value) => (peak > 0 ? value / peak : 0));
}

/** log2(network / first network) at each noise level: 1 is twice as active, -1 half, 0 also where neither is active at all. */
export function activationChange(first: LayerActivations, layer: LayerActivations, measure: ActivationMeasure): number[] {
  const reference = activationsOf(first, measure);
  return activationsOf(layer, measure).map((value, s) => (value === reference[s] ? 0 : Math.log2(value / reference[s]!)));
}

/** The layers or the blocks of a network. */
export const rowsOf = (network: NetworkActivations, kind: LayerActivations['kind']): LayerActivations[] =>
  network.layers.filter((layer) => layer.kind === kind);

/** How a network differs from the first one, over one kind of rows. */
export interface ActivationSummary {
  network: string;
  kind: LayerActivations['kind'];
  measure: ActivationMeasure;
  /** How many rows, and of how many weights and biases are the first network's. */
  rows: number;
  unchanged: number;
  /** Median over the rows of largest / smallest value over the noise levels: how much the noise level matters to a layer. */
  medianRange: number;
  /** How many rows are most active at each noise level. */
  peaks: number[];
  /** Median over the rows of |log2(network / first)| at each noise level; of rows that are unchanged and of those that are not, null for none. */
  change: { all: number[]; unchanged: number[] | null; changed: number[] | null };
}

/** A row for each network: the first one's changes are all 0. */
export function summarizeActivations(
  analysis: ActivationAnalysis,
  kind: LayerActivations['kind'],
  measure: ActivationMeasure = kind === 'block' ? 'contribution' : 'rms',
): ActivationSummary[] {
  const first = rowsOf(analysis.networks[0]!, kind);
  const overSigmas = (value: (s: number) => number) => analysis.sigmas.map((_, s) => value(s));
  return analysis.networks.map((network) => {
    const rows = rowsOf(network, kind).map((layer, k) => ({
      values: activationsOf(layer, measure),
      change: activationChange(first[k]!, layer, measure).map(Math.abs),
      unchanged: layer.unchanged,
    }));
    const medianChange = (some: typeof rows) =>
      some.length === 0 ? null : overSigmas((s) => median(some.map(({ change }) => change[s]!)));
    const kept = rows.filter(({ unchanged }) => unchanged);
    return {
      network: network.name,
      kind,
      measure,
      rows: rows.length,
      unchanged: kept.length,
      medianRange: median(rows.map(({ values }) => rangeOf(values))),
      peaks: overSigmas((s) => rows.filter(({ values }) => values.indexOf(Math.max(...values)) === s).length),
      change: {
        all: medianChange(rows)!,
        unchanged: medianChange(kept),
        changed: medianChange(rows.filter(({ unchanged }) => !unchanged)),
      },
    };
  });
}

/** Largest over smallest; 1 of values that are all the same. */
export function rangeOf(values: readonly number[]): number {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? 1 : high / low;
}

/** The middle value; the mean of the two of an even number. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return sorted.length === 0 ? NaN : (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
