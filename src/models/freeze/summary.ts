/**
 * What a freeze policy does to a network, counted.
 */
import type { FreezePolicy, ParameterDescription } from '../../core/contracts/parameter.js';
import type { Parameter } from '../../core/parameter.js';

/** What a policy freezes, in numbers of values. */
export interface FreezeSummary {
  policy: string;
  /** Numbers of values. */
  total: number;
  frozen: number;
  trained: number;
  /** frozen / total. */
  frozenShare: number;
  /** One row a role, in the order of first appearance. */
  roles: { role: string; tensors: number; total: number; frozen: number }[];
}

/** Sets `trainable` on every parameter. */
export function applyFreezePolicy(parameters: readonly Parameter[], policy: FreezePolicy): void {
  for (const parameter of parameters) parameter.trainable = policy.trains(parameter);
}

/** Counts what `policy` freezes; needs descriptions only, so nothing is allocated. */
export function summarizeFreeze(parameters: readonly ParameterDescription[], policy: FreezePolicy): FreezeSummary {
  const roles = new Map<string, FreezeSummary['roles'][number]>();
  let total = 0;
  let frozen = 0;
  for (const parameter of parameters) {
    const row = roles.get(parameter.role) ?? { role: parameter.role, tensors: 0, total: 0, frozen: 0 };
    roles.set(parameter.role, row);
    row.tensors++;
    row.total += parameter.size;
    total += parameter.size;
    if (!policy.trains(parameter)) {
      row.frozen += parameter.size;
      frozen += parameter.size;
    }
  }
  return {
    policy: policy.name,
    total,
    frozen,
    trained: total - frozen,
    frozenShare: total === 0 ? 0 : frozen / total,
    roles: [...roles.values()],
  };
}

/** The summary as a text table. */
export function formatFreezeSummary({ policy, total, frozen, roles }: FreezeSummary): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const share = (part: number, whole: number) => `${whole === 0 ? 0 : ((100 * part) / whole).toFixed(1)}%`;
  const rows = [
    ['role', 'tensors', 'parameters', 'frozen', 'share'],
    ...roles.map((row) => [row.role, String(row.tensors), number(row.total), number(row.frozen), share(row.frozen, row.total)]),
    ['all', String(roles.reduce((sum, row) => sum + row.tensors, 0)), number(total), number(frozen), share(frozen, total)],
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
  );
  return [policy, ...lines].join('\n');
}
