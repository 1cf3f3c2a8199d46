/** What the contests found, in tables. */
import type { Outcome, SideOutcome } from './contest.js';
import { table } from './results.js';

/** PyTorch's better side; undefined without PyTorch. */
export function best({ sides: { eager, compiled } }: Outcome, key: 'median' | 'least' | 'peak'): number | undefined {
  const found = [eager, compiled].flatMap((side) => (side ? [side[key]] : []));
  return found.length > 0 ? Math.min(...found) : undefined;
}

const ratio = (outcome: Outcome, key: 'median' | 'least') => {
  const other = best(outcome, key);
  return other === undefined ? undefined : other / outcome.sides.onestep[key];
};

/** Whether the bars of a job are met: of its time, and of its memory. Empty where it has none, or without PyTorch. */
export function bars(outcome: Outcome): { fast?: boolean; small?: boolean } {
  const { bar } = outcome.job;
  const speed = ratio(outcome, 'median');
  if (bar === undefined || speed === undefined) return {};
  return { fast: speed >= bar, small: outcome.sides.onestep.peak <= best(outcome, 'peak')! };
}

/** How many bars there are, and how many are met. */
export function barsMet(outcomes: readonly Outcome[]): { met: number; all: number } {
  const found = outcomes.flatMap((outcome) => Object.values(bars(outcome)));
  return { met: found.filter(Boolean).length, all: found.length };
}

const time = (milliseconds: number | undefined) =>
  milliseconds === undefined ? '-' : `${milliseconds.toFixed(milliseconds < 1000 ? 1 : 0)} ms`;
const megabytes = (bytes: number | undefined) => (bytes === undefined ? '-' : `${Math.round(bytes / 1e6).toLocaleString('en')} MB`);
const mark = (met: boolean | undefined) => (met === undefined ? '' : met ? ' ✓' : ' ✗');
const factor = (value: number | undefined) => value?.toFixed(2) ?? '-';
const timeOf = (side: SideOutcome | undefined) => time(side?.median) + (side?.channelsLast ? ', channels last' : '');

/** Medians, and by how much we are faster. */
export const timeTable = (outcomes: readonly Outcome[]): string =>
  table(
    ['job', 'batch', 'onestep', 'PyTorch eager', 'compiled', 'speed', 'by the least', 'bar'],
    outcomes.map((outcome) => {
      const { job, batch, sides, cannot } = outcome;
      const compiled = cannot !== undefined && !sides.compiled ? 'cannot' : timeOf(sides.compiled);
      const speed = factor(ratio(outcome, 'median')) + mark(bars(outcome).fast);
      const times = [timeOf(sides.onestep), timeOf(sides.eager), compiled];
      return [job.title, String(batch), ...times, speed, factor(ratio(outcome, 'least')), job.bar?.toFixed(1) ?? '-'];
    }),
  );

export const memoryTable = (outcomes: readonly Outcome[]): string =>
  table(
    ['peak memory', 'onestep', 'PyTorch eager', 'compiled', 'before the job: onestep', 'PyTorch'],
    outcomes.map((outcome) => {
      const { onestep, eager, compiled } = outcome.sides;
      const others = [eager?.peak, compiled?.peak, onestep.idle, eager?.idle].map(megabytes);
      return [outcome.job.title, megabytes(onestep.peak) + mark(bars(outcome).small), ...others];
    }),
  );

/** How far both sides are from doing nothing but arithmetic at `rate` operations a millisecond. */
export const limitTable = (outcomes: readonly Outcome[], rate: number): string =>
  table(
    ['arithmetic', '10^9 operations', 'limit', 'onestep takes', 'PyTorch takes'],
    outcomes.map((outcome) => {
      const limit = outcome.operations / rate;
      const times = [outcome.sides.onestep.median, best(outcome, 'median')];
      const multiples = times.map((value) => (value === undefined ? '-' : `${(value / limit).toFixed(1)} limits`));
      return [outcome.job.title, (outcome.operations / 1e9).toFixed(1), time(limit), ...multiples];
    }),
  );
