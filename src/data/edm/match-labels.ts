import type { NameRecords } from '../encoded/name-records.js';
import { readLabels } from './label-file.js';

/** What stands for an image without a label. */
export const NO_LABEL = 0xffffffff;

/**
 * The label of each image from a `dataset.json`, by name; {@link NO_LABEL} where the file has none for it. Undefined: there are no labels.
 *
 * Files that list images in their own order, as EDM's tool writes them, are matched by comparing neighbours; a table of names is made
 * where one is not. Names that no image has are passed over, and of a name that stands twice the last label counts, as in EDM.
 *
 * @throws FileError as `readLabels`.
 */
export function matchLabels(names: NameRecords, chunks: Iterable<Uint8Array>, where: string): Uint32Array | undefined {
  const labels = new Uint32Array(names.size).fill(NO_LABEL);
  let table: NameTable | undefined;
  let next = 0;
  const found = readLabels(chunks, where, (bytes, start, end, label) => {
    if (next >= names.size || !sameName(names, next, bytes, start, end)) {
      table ??= new NameTable(names);
      const index = table.find(bytes, start, end);
      if (index === -1) return;
      next = index;
    }
    labels[next++] = label;
  });
  return found ? labels : undefined;
}

const SLASH = 0x2f;
const BACKSLASH = 0x5c;

/** Whether the name of a record is that of the bytes start … end, where `\` is `/`. */
function sameName(names: NameRecords, index: number, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (names.length(index) !== length) return false;
  const at = names.start(index);
  for (let k = 0; k < length; k++) {
    const [a, b] = [names.bytes[at + k], bytes[start + k]];
    if (a !== b && !(a === BACKSLASH && b === SLASH)) return false;
  }
  return true;
}

/** From names to indices: open addressing over hashes, four bytes a place. */
class NameTable {
  readonly #places: Int32Array;

  constructor(private readonly names: NameRecords) {
    this.#places = new Int32Array(2 ** Math.ceil(Math.log2(2 * names.size + 2))).fill(-1);
    for (let index = 0; index < names.size; index++) {
      const start = names.start(index);
      let place = this.#hash(names.bytes, start, start + names.length(index));
      while (this.#places[place] !== -1) place = (place + 1) & (this.#places.length - 1);
      this.#places[place] = index;
    }
  }

  find(bytes: Uint8Array, start: number, end: number): number {
    let place = this.#hash(bytes, start, end);
    for (;;) {
      const index = this.#places[place]!;
      if (index === -1 || sameName(this.names, index, bytes, start, end)) return index;
      place = (place + 1) & (this.#places.length - 1);
    }
  }

  /** FNV-1a, its bits spread once more. */
  #hash(bytes: Uint8Array, start: number, end: number): number {
    let hash = 0x811c9dc5;
    for (let k = start; k < end; k++) hash = Math.imul(hash ^ (bytes[k] === BACKSLASH ? SLASH : bytes[k]!), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#places.length - 1);
  }
}
