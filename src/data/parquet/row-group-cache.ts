/**
 * Row groups that have been read, as many as fit into a number of bytes; the one used longest ago goes first.
 */

/** Encoded images of a row group; undefined where a row has none. */
export type GroupImages = readonly (Uint8Array | undefined)[];

export class RowGroupCache {
  readonly #groups = new Map<string, Promise<GroupImages>>();
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  constructor(private readonly capacity: number) {}

  /** Bytes of images that are held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The group of that key; `load` is called where it is not held, once for all who wait. */
  get(key: string, load: () => Promise<GroupImages>): Promise<GroupImages> {
    const held = this.#groups.get(key);
    if (held) {
      // The end of the map is what was used last.
      this.#groups.delete(key);
      this.#groups.set(key, held);
      return held;
    }
    const loading = load();
    this.#groups.set(key, loading);
    loading.then(
      (images) => this.#keep(key, loading, images),
      () => this.#groups.get(key) === loading && this.#groups.delete(key),
    );
    return loading;
  }

  #keep(key: string, loading: Promise<GroupImages>, images: GroupImages): void {
    if (this.#groups.get(key) !== loading) return;
    const size = images.reduce((sum, image) => sum + (image?.byteLength ?? 0), 0);
    this.#sizes.set(key, size);
    this.#bytes += size;
    for (const [old] of this.#groups) {
      if (this.#bytes <= this.capacity) break;
      const oldSize = this.#sizes.get(old);
      // One that is being read, or was just read, stays.
      if (oldSize === undefined || old === key) continue;
      this.#groups.delete(old);
      this.#sizes.delete(old);
      this.#bytes -= oldSize;
    }
  }

  clear(): void {
    this.#groups.clear();
    this.#sizes.clear();
    this.#bytes = 0;
  }
}
