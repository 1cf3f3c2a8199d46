/**
 * Sets of images whose sizes may differ, looked at one by one: what data sets are made from and described by.
 */
import type { DecodedImage } from './encoded/encoded-images.js';

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
  /** Throws {@link FileError} with the image's name where it cannot be decoded. */
  image(index: number): Promise<DecodedImage>;
  /** Frees files; safe to call twice. */
  close(): Promise<void>;
}
