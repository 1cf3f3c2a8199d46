/** Names of a few bytes are sorted at a time: 24 bits of name and 29 of rank fill the 53 of a number exactly. */
const BYTES = 3;
const RANKS = 2 ** 29;
/** Groups as small as this are sorted by comparing whole names. */
const SMALL = 24;

/**
 * Sorts entries of a directory by the bytes of their names, a prefix before what it begins; of equal names only the last entry is kept.
 *
 * Numbers made of three bytes and a rank are sorted natively, then each group of equal bytes by the next three: a million names take
 * a second, comparing them five.
 *
 * @param entries positions of entries in `directory`, in the order of the directory.
 * @param nameAt where a name begins, after its entry's position.
 */
export function sortNames(directory: Uint8Array, entries: Uint32Array, nameAt: number, nameLength: (entry: number) => number): Uint32Array {
  const compare = (a: number, b: number): number => {
    const [lengthA, lengthB] = [nameLength(a), nameLength(b)];
    for (let k = 0; k < lengthA && k < lengthB; k++) {
      const difference = directory[a + nameAt + k]! - directory[b + nameAt + k]!;
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  };
  const sorted = entries.slice();

  const sortGroup = (from: number, to: number, depth: number): void => {
    if (to - from <= SMALL) {
      const group = [...sorted.subarray(from, to)].sort((a, b) => compare(a, b) || a - b);
      sorted.set(group, from);
      return;
    }
    const group = sorted.slice(from, to);
    const keys = new Float64Array(group.length);
    group.forEach((entry, rank) => {
      const length = nameLength(entry);
      let key = 0;
      for (let k = depth; k < depth + BYTES; k++) key = key * 256 + (k < length ? directory[entry + nameAt + k]! : 0);
      keys[rank] = key * RANKS + rank;
    });
    keys.sort();
    let start = 0;
    for (let k = 0; k < keys.length; k++) {
      const key = Math.floor(keys[k]! / RANKS);
      sorted[from + k] = group[keys[k]! - key * RANKS]!;
      const last = k + 1 === keys.length || Math.floor(keys[k + 1]! / RANKS) !== key;
      if (!last) continue;
      if (k > start) sortEqual(from + start, from + k + 1, depth + BYTES);
      start = k + 1;
    }
  };
  /** Entries whose names are equal up to `depth`: those that end there are equal. */
  const sortEqual = (from: number, to: number, depth: number): void => {
    let longest = 0;
    for (let k = from; k < to; k++) longest = Math.max(longest, nameLength(sorted[k]!));
    if (longest > depth) sortGroup(from, to, depth);
    // A name may end in zero bytes: told apart from a shorter one only by its length.
    else if (to - from > 1)
      sorted.set(
        [...sorted.subarray(from, to)].sort((a, b) => compare(a, b) || a - b),
        from,
      );
  };

  let inOrder = true;
  for (let k = 1; k < sorted.length && inOrder; k++) inOrder = compare(sorted[k - 1]!, sorted[k]!) < 0;
  if (inOrder) return sorted;
  sortGroup(0, sorted.length, 0);

  let kept = 0;
  for (let k = 0; k < sorted.length; k++) {
    if (k + 1 < sorted.length && compare(sorted[k]!, sorted[k + 1]!) === 0) continue;
    sorted[kept++] = sorted[k]!;
  }
  return sorted.slice(0, kept);
}
