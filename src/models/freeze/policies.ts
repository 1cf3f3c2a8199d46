/**
 * Freeze policies: which parameters of the generator train (GDD, GDD-I; arXiv 2405.20750).
 */
import type { FreezePolicy, ParameterDescription, ParameterRole } from '../../core/contracts/parameter.js';
import { ArgumentError } from '../../core/errors.js';

/** Roles frozen at each published level; each level freezes what the one before does and more. */
const FROZEN_ROLES: readonly (readonly ParameterRole[])[] = [
  [],
  ['conv0', 'conv1', 'proj'],
  ['conv0', 'conv1', 'proj', 'qkv'],
  ['conv0', 'conv1', 'proj', 'qkv', 'skip'],
];

/** GDD: everything trains. */
export function freezeNothing(): FreezePolicy {
  return { name: 'GDD (nothing frozen)', trains: () => true };
}

/**
 * GDD-I: the published levels.
 *
 * 1 (default): every block's conv0 and conv1 and the attention's proj. 2: qkv as well. 3: the blocks' skip as well.
 * Norms, embedding layers, the mapping, the first and last convolutions and the aux convolutions always train.
 */
export function freezeConvolutions(options: { level?: 0 | 1 | 2 | 3 } = {}): FreezePolicy {
  const level = options.level ?? 1;
  const frozen = FROZEN_ROLES[level];
  if (!frozen) throw new ArgumentError('E_VALUE', `freezeConvolutions: level is 0, 1, 2 or 3, got ${String(level)}`);
  const set = new Set(frozen);
  return { name: level === 0 ? 'GDD (nothing frozen)' : `GDD-I (level ${level})`, trains: ({ role }) => !set.has(role) };
}

/** Freezes where `predicate` is true. */
export function freezeWhere(predicate: (parameter: ParameterDescription) => boolean, name = 'freezeWhere'): FreezePolicy {
  return { name, trains: (parameter) => !predicate(parameter) };
}

/** Trains only where `predicate` is true. */
export function trainOnly(predicate: (parameter: ParameterDescription) => boolean, name = 'trainOnly'): FreezePolicy {
  return { name, trains: predicate };
}
