/**
 * Data sources: where real images come from. Streams carry plain values, never tensors.
 */

/** A batch of images as stored: `images` is `[B, H, W, C]` in uint8. */
export interface ImageBatch {
  images: Uint8Array;
  /** `[B, H, W, C]`. */
  shape: readonly [number, number, number, number];
  /** One class index per image; undefined where the set has no labels. */
  labels?: Uint32Array;
}

/** What a data source says of itself when it is opened. */
export interface DataDescription {
  /** A short name for logs and reports, such as `shapes-16`. */
  name: string;
  /** Height and width in pixels. */
  resolution: number;
  channels: number;
  /** Number of classes; 0 where the set has no labels. */
  classes: number;
  /** Number of images. */
  size: number;
  /** Images that were found invalid and left out, and are no part of `size`; undefined where a source does not leave out any. */
  skipped?: number;
}

/**
 * A set of images that can be read in any order.
 *
 * The same indices always give the same bytes. `read` may be called again before the last call has ended.
 */
export interface DataSource {
  /** Opens files and validates them; called once before the first `read`. */
  open(): Promise<DataDescription>;
  /** Reads images by index, `0 <= index < size`, in the given order. */
  read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch>;
  /** Frees files and workers; safe to call twice. */
  close(): Promise<void>;
}
