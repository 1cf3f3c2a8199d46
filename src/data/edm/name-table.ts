import type { NameRecords } from '../encoded/name-records.js';

const SLASH = 0x2f;
const BACKSLASH = 0x5c;

/** Whether the name of a record is that of the bytes start … end, where `\` is `/`. */
export function sameName(names: NameRecords, index: number, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (names.length(index) !== length) return false;
  const from = names.bytes;
  const at = names.start(index);
  for (let k = 0; k < length; k++) {
    const letter = from[at + k]!;
    if (letter !== bytes[start + k] && !(letter === BACKSLASH && bytes[start + k] === SLASH)) return false;
  }
  return true;
}

/** FNV-1a, its bits spread once more: equal for `\` and `/`, never 0. */
function hashName(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let k = start; k < end; k++) {
    const letter = bytes[k]!;
    hash = Math.imul(hash ^ (letter === BACKSLASH ? SLASH : letter), 0x01000193);
  }
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) | 1;
}

/**
 * From names to their indices: open addressing, the hash beside the place, so that nearly every name that is looked at is the one
 * sought: names lie all over a large buffer.
 */
export class NameTable {
  /** Indices in the order in which names lie in the buffer. */
  readonly #order: Uint32Array;
  /** Hash and position in the order of each place; a hash of 0: the place is free. */
  readonly #places: Int32Array;
  readonly #mask: number;
  /** Position after that of the name found last. */
  #next = 0;

  constructor(private readonly names: NameRecords) {
    const capacity = 2 ** Math.ceil(Math.log2(1.4 * names.size + 2));
    this.#order = names.byPlace();
    this.#mask = capacity - 1;
    this.#places = new Int32Array(2 * capacity);
    insertAll(names, this.#order, this.#places, this.#mask);
  }

  /** The index of the name from `bytes[start]` to before `bytes[end]`, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    const order = this.#order;
    // Lists in the order of the buffer are common, too.
    if (this.#next < order.length && sameName(this.names, order[this.#next]!, bytes, start, end)) return order[this.#next++]!;
    const hash = hashName(bytes, start, end);
    const places = this.#places;
    for (let place = (hash >>> 1) & this.#mask; ; place = (place + 1) & this.#mask) {
      const found = places[2 * place];
      if (found === 0) return -1;
      if (found !== hash) continue;
      const position = places[2 * place + 1]!;
      if (!sameName(this.names, order[position]!, bytes, start, end)) continue;
      this.#next = position + 1;
      return order[position]!;
    }
  }
}

function insertAll(names: NameRecords, order: Uint32Array, places: Int32Array, mask: number): void {
  const { bytes } = names;
  for (let position = 0; position < order.length; position++) {
    const start = names.start(order[position]!);
    const hash = hashName(bytes, start, start + names.length(order[position]!));
    let place = (hash >>> 1) & mask;
    while (places[2 * place] !== 0) place = (place + 1) & mask;
    places[2 * place] = hash;
    places[2 * place + 1] = position;
  }
}
