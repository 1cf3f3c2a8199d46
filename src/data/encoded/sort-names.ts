import type { NameRecords } from './name-records.js';

/** Groups as small as this are sorted by comparing whole names. */
const SMALL = 48;
/** Columns of names that are looked at for one key, at most. */
const MOST_COLUMNS = 64;

/**
 * The same records in the order of their names' bytes; of equal names only the last is kept.
 *
 * Names that are not in order get keys: in each column where they differ the rank of the byte among those that stand there, the ranks as
 * digits of one number. With a name's place below them keys fill 64 bits, which are sorted natively; names whose keys are equal are
 * sorted by the columns that follow. A million names take a fifth of a second, comparing them in pairs five.
 */
export function sortNames(names: NameRecords): NameRecords {
  if (isSorted(names)) return names;
  const order = new Uint32Array(names.size);
  for (let index = 0; index < order.length; index++) order[index] = index;
  if (!sortGroup(names, order, 0)) return names.subset(order);

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

/** Sorts the records of `group`, whose names are equal up to `depth`; equal names stay in their order: whether there are some. */
function sortGroup(names: NameRecords, group: Uint32Array, depth: number): boolean {
  let repeated = false;
  if (group.length <= SMALL) {
    const compare = (a: number, b: number): number => {
      const difference = names.compare(a, b);
      repeated ||= difference === 0;
      return difference || a - b;
    };
    group.set([...group].sort(compare));
    return repeated;
  }
  const columns = chooseColumns(names, group, depth);
  const keys = keysOf(names, group, depth, columns);
  keys.sort();
  const equal = takeSorted(keys, group);
  for (let k = 0; k < equal.length; k += 2) {
    // Keys that hold the whole of the names are equal where these are.
    repeated = columns.whole || sortGroup(names, group.subarray(equal[k], equal[k + 1]), columns.next) || repeated;
  }
  return repeated;
}

/** Bits of a key for a name's place in its group of `count`. */
const placeBits = (count: number) => 32 - Math.clz32(count - 1);

interface Columns {
  /** Which columns differ, from the depth on, and how many bytes stand in each. */
  columns: Uint32Array;
  radices: Uint32Array;
  /** `[column][byte + 1]`, 0 for the end of a name: which of the column's bytes it is. */
  ranks: Uint32Array;
  /** The first column that is not held. */
  next: number;
  /** No name is longer than that. */
  whole: boolean;
}

/** As many columns as a key has room for. */
function chooseColumns(names: NameRecords, group: Uint32Array, depth: number): Columns {
  const seen = new Uint8Array(MOST_COLUMNS * 257);
  const longest = markBytes(names, group, depth, seen);
  const most = 2 ** Math.min(53, 64 - placeBits(group.length));
  const ranks = new Uint32Array(seen.length);
  const columns: number[] = [];
  const radices: number[] = [];
  let keys = 1;
  let column = 0;
  for (; column < MOST_COLUMNS && depth + column < longest; column++) {
    let radix = 0;
    for (let byte = 0; byte < 257; byte++) if (seen[column * 257 + byte] === 1) ranks[column * 257 + byte] = radix++;
    if (radix === 1) continue;
    if (keys * radix > most) break;
    keys *= radix;
    columns.push(column);
    radices.push(radix);
  }
  const next = depth + column;
  return { columns: Uint32Array.from(columns), radices: Uint32Array.from(radices), ranks, next, whole: next >= longest };
}

// Loops over millions stand in functions of their own: V8 compiles these while they run, and better than longer ones.

/** Marks in `seen[column][byte + 1]` which bytes stand in which column, 0 for the end of a name; gives the length of the longest name. */
function markBytes(names: NameRecords, group: Uint32Array, depth: number, seen: Uint8Array): number {
  const { bytes } = names;
  let longest = 0;
  for (let k = 0; k < group.length; k++) {
    const length = names.length(group[k]!);
    const from = names.start(group[k]!) + depth;
    const columns = Math.min(length - depth, MOST_COLUMNS);
    for (let column = 0; column < columns; column++) seen[column * 257 + bytes[from + column]! + 1] = 1;
    if (columns < MOST_COLUMNS) seen[columns * 257] = 1;
    if (length > longest) longest = length;
  }
  return longest;
}

/** Keys that are in order where the names are, each with its place in the group. */
function keysOf(names: NameRecords, group: Uint32Array, depth: number, { columns, radices, ranks }: Columns): BigUint64Array {
  const { bytes } = names;
  const bits = placeBits(group.length);
  const high = 2 ** (32 - bits);
  const low = 2 ** bits;
  const keys = new BigUint64Array(group.length);
  const halves = new Uint32Array(keys.buffer);
  for (let k = 0; k < group.length; k++) {
    const length = names.length(group[k]!) - depth;
    const from = names.start(group[k]!) + depth;
    let key = 0; // below 2⁵³
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c]!;
      // Beyond the end of a name stands the end.
      key = key * radices[c]! + (column < length ? ranks[column * 257 + bytes[from + column]! + 1]! : 0);
    }
    const upper = Math.floor(key / high);
    halves[2 * k] = (key - upper * high) * low + k;
    halves[2 * k + 1] = upper;
  }
  return keys;
}

/** Brings a group into the order of sorted keys; gives start and end of each run of equal ones, their places left out. */
function takeSorted(keys: BigUint64Array, group: Uint32Array): number[] {
  const bits = placeBits(group.length);
  const mask = 2 ** bits - 1;
  const halves = new Int32Array(keys.buffer);
  const unsorted = group.slice();
  const runs: number[] = [];
  let start = 0;
  for (let k = 0; k < group.length; k++) {
    const half = halves[2 * k]!;
    group[k] = unsorted[half & mask]!;
    if (k > 0 && half >>> bits === halves[2 * k - 2]! >>> bits && halves[2 * k + 1] === halves[2 * k - 1]) continue;
    if (k - start > 1) runs.push(start, k);
    start = k;
  }
  if (group.length - start > 1) runs.push(start, group.length);
  return runs;
}
