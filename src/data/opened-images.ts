/**
 * Sets of images whose sizes may differ, looked at one by one: what data sets are made from and described by.
 */
import type { FileError } from '../core/errors.js';
import { decodePool } from './encoded/decode-pool.js';
import type { DecodedImage, EncodedImages } from './encoded/encoded-images.js';

/** An opened set of images, in an order of its own that never changes. */
export interface OpenedImages {
  /** A short name for logs and errors. */
  readonly name: string;
  /** What it was found to be, such as `EDM zip`. */
  readonly format: string;
  /** Number of images. */
  readonly size: number;
  /** Number of classes; 0 where the set has no labels. */
  readonly classes: number;
  /** Class index of each image; undefined where the set has none. */
  readonly labels?: Uint32Array | undefined;
  /** Names of the classes, by index; undefined where they have none. */
  readonly classNames?: readonly string[] | undefined;
  /** Images left out when the set was opened with `onInvalid: 'skip'`. */
  readonly skipped?: number | undefined;
  /** What an error calls an image. */
  entryName(index: number): string;
  /** The images of the given indices, in their order; one that cannot be used gives its FileError, with its name. */
  decode(indices: ArrayLike<number>, signal?: AbortSignal): Promise<(DecodedImage | FileError)[]>;
  /** Frees files and workers; safe to call twice. */
  close(): Promise<void>;
}

/** A set of encoded images with the workers that decode them. */
export function decodedImages(images: EncodedImages, format: string, workers: number | undefined): OpenedImages {
  const pool = decodePool(workers === undefined ? {} : { workers });
  const { name, size, classes, labels, classNames, skipped } = images;
  return {
    ...{ name, format, size, classes, labels, classNames, skipped },
    entryName: (index) => images.entryName(index),
    decode: (indices, signal) => pool.decode(images, indices, signal),
    async close() {
      await pool.close();
      await images.close();
    },
  };
}
