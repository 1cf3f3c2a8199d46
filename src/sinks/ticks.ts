import { formatNumber } from '../core/format.js';

/** One axis: a range of values, and where on it the ticks stand. */
export interface Axis {
  low: number;
  high: number;
  log: boolean;
  ticks: { value: number; label: string }[];
  /** The place of a value, 0 at `low` and 1 at `high`. */
  at(value: number): number;
}

/**
 * An axis that holds `values`, with about `count` ticks at 1, 2 or 5 times a power of ten.
 *
 * A logarithmic axis leaves out values that are not positive, and becomes linear where none is left.
 */
export function axis(values: Iterable<number>, { log = false, count = 6, tight = false } = {}): Axis {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) [low, high, log] = [0, 1, false];
  return log ? logAxis(low, high, count) : linearAxis(low, high, count, tight);
}

function linearAxis(low: number, high: number, count: number, tight: boolean): Axis {
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
    const margin = low === 0 ? 1 : Math.abs(low) * 0.1;
    [low, high] = [low - margin, high + margin];
  }
  if (low > 0 && low < 0.05 * high) low = 0;
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999)! * power;
  if (!tight) [low, high] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    const value = k * step;
    const label = decimals > 6 || Math.abs(value) >= 1e9 ? formatNumber(value) : grouped(value, decimals);
    ticks.push({ value, label: k === 0 ? '0' : label });
  }
  return { low, high, log: false, ticks, at: (value) => (value - low) / (high - low) };
}

function logAxis(low: number, high: number, count: number): Axis {
  if (high / low < 1.5) [low, high] = [low / 1.3, high * 1.3];
  const margin = (high / low) ** 0.04;
  [low, high] = [low / margin, high * margin];
  const decades = Math.log10(high / low);
  const factors = decades <= 1 ? [1, 1.5, 2, 3, 5, 7] : decades <= 2.2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / (count + 2)));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    if (power % every !== 0) continue;
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(3));
      if (value < low / 1.001 || value > high * 1.001) continue;
      ticks.push({ value, label: value >= 1e-4 && value < 1e6 ? grouped(value) : formatNumber(value, 3) });
    }
  }
  const [from, span] = [Math.log(low), Math.log(high / low)];
  return { low, high, log: true, ticks, at: (value) => (Math.log(Math.max(value, low / 10)) - from) / span };
}

const grouped = (value: number, decimals?: number): string =>
  value.toLocaleString('en-US', { maximumFractionDigits: decimals ?? 6, minimumFractionDigits: decimals ?? 0 });
