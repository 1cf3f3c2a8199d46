import { readLabels } from './label-file.js';

/** What stands for an image without a label. */
export const NO_LABEL = 0xffffffff;

/** Names that are looked up. */
export interface Names {
  readonly size: number;
  /** In UTF-8. */
  nameBytes(index: number): Uint8Array;
}

/**
 * The label of each image from a `dataset.json`, by name; {@link NO_LABEL} where the file has none for it. Undefined: there are no labels.
 *
 * Files that list images in their own order, as EDM's tool writes them, are matched by comparing neighbours; a table of names is made
 * where one is not. Names that no image has are passed over, and of a name that stands twice the last label counts, as in EDM.
 *
 * @throws FileError as `readLabels`.
 */
export function matchLabels(names: Names, chunks: Iterable<Uint8Array>, where: string): Uint32Array | undefined {
  const labels = new Uint32Array(names.size).fill(NO_LABEL);
  let table: NameTable | undefined;
  let next = 0;
  const found = readLabels(chunks, where, (name, label) => {
    if (next >= names.size || !sameName(names.nameBytes(next), name)) {
      table ??= new NameTable(names);
      const index = table.find(name);
      if (index === -1) return;
      next = index;
    }
    labels[next++] = label;
  });
  return found ? labels : undefined;
}

const SLASH = 0x2f;
const BACKSLASH = 0x5c;

/** Equal names, where `\` is `/`. */
function sameName(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let k = 0; k < a.length; k++) if (a[k] !== b[k] && !(a[k] === BACKSLASH && b[k] === SLASH)) return false;
  return true;
}

/** From names to indices: open addressing over hashes, four bytes a place. */
class NameTable {
  readonly #places: Int32Array;

  constructor(private readonly names: Names) {
    this.#places = new Int32Array(2 ** Math.ceil(Math.log2(2 * names.size + 2))).fill(-1);
    for (let index = 0; index < names.size; index++) {
      let place = this.#hash(names.nameBytes(index));
      while (this.#places[place] !== -1) place = (place + 1) & (this.#places.length - 1);
      this.#places[place] = index;
    }
  }

  find(name: Uint8Array): number {
    let place = this.#hash(name);
    for (;;) {
      const index = this.#places[place]!;
      if (index === -1 || sameName(this.names.nameBytes(index), name)) return index;
      place = (place + 1) & (this.#places.length - 1);
    }
  }

  /** FNV-1a. */
  #hash(name: Uint8Array): number {
    let hash = 0x811c9dc5;
    for (let k = 0; k < name.length; k++) hash = Math.imul(hash ^ (name[k] === BACKSLASH ? SLASH : name[k]!), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#places.length - 1);
  }
}
