import type { NameRecords } from './name-records.js';

/** Bytes sorted at a time: 24 bits of name and 29 of rank fill the 53 of a number exactly. */
const BYTES = 3;
const RANKS = 2 ** 29;
/** Groups as small as this are sorted by comparing whole names. */
const SMALL = 24;

/**
 * The same records in the order of their names' bytes; of equal names only the last is kept.
 *
 * Numbers made of three bytes and a rank are sorted natively, then each group of equal bytes by the next three: a million names take
 * a second, comparing them in pairs five.
 */
export function sortNames(names: NameRecords): NameRecords {
  if (isSorted(names)) return names;
  const { bytes } = names;
  /** Indices of records. */
  const order = Uint32Array.from({ length: names.size }, (_, index) => index);
  let repeated = false;
  const byName = (from: number, to: number): void => {
    const compare = (a: number, b: number): number => {
      const difference = names.compare(a, b);
      repeated ||= difference === 0;
      return difference || a - b;
    };
    order.set([...order.subarray(from, to)].sort(compare), from);
  };

  /** Sorts places from … to, whose names are equal up to `depth`. */
  const sort = (from: number, to: number, depth: number): void => {
    if (to - from <= SMALL) return byName(from, to);
    const group = order.slice(from, to);
    const keys = new Float64Array(group.length);
    let longest = 0;
    let same = true;
    for (let rank = 0; rank < group.length; rank++) {
      const start = names.start(group[rank]!);
      const length = names.length(group[rank]!);
      longest = Math.max(longest, length);
      let key = 0;
      for (let k = depth; k < depth + BYTES; k++) key = key * 256 + (k < length ? bytes[start + k]! : 0);
      keys[rank] = key * RANKS + rank;
      same &&= Math.floor(keys[0]! / RANKS) === key;
    }
    // Where the names end they are equal, but for zero bytes at their ends.
    if (longest <= depth) return byName(from, to);
    if (same) return sort(from, to, depth + BYTES);
    keys.sort();
    let start = 0;
    for (let k = 0; k < keys.length; k++) {
      const key = Math.floor(keys[k]! / RANKS);
      order[from + k] = group[keys[k]! - key * RANKS]!;
      if (k + 1 < keys.length && Math.floor(keys[k + 1]! / RANKS) === key) continue;
      if (k > start) sort(from + start, from + k + 1, depth + BYTES);
      start = k + 1;
    }
  };
  sort(0, names.size, 0);

  if (!repeated) return names.subset(order);
  let kept = 0;
  for (let k = 0; k < order.length; k++) {
    if (k + 1 < order.length && names.compare(order[k]!, order[k + 1]!) === 0) continue;
    order[kept++] = order[k]!;
  }
  return names.subset(order.subarray(0, kept));
}

function isSorted(names: NameRecords): boolean {
  for (let k = 1; k < names.size; k++) if (names.compare(k - 1, k) >= 0) return false;
  return true;
}
