/**
 * Sets of encoded images (PNG, JPEG, WebP): where the bytes of each one are, so that a worker can read and decode it by itself.
 */

/** A part of a file. */
export interface FileRange {
  path: string;
  /** Where the data begins, in bytes; with `zipHeader`, where the zip's local header before it begins. */
  offset: number;
  /** Bytes in the file. */
  length: number;
  compression: 'none' | 'deflate';
  /** Bytes after decompression. */
  size: number;
  /** Checksum of the decompressed bytes; undefined where the container has none. */
  crc32?: number;
  /** Length of the entry's name in the zip's directory: a local header of 30 bytes, a name and an extra field lie before the data. */
  zipHeader?: number;
}

/** Where a worker finds one encoded image: a part of a file, a whole file, or the bytes themselves. */
export type ImageLocation = FileRange | { path: string } | { bytes: Uint8Array };

/** An opened set of encoded images, in an order of its own that never changes. */
export interface EncodedImages {
  /** A short name for logs and errors, such as `cifar10-32x32.zip`. */
  readonly name: string;
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
  /** What an error calls an image: its name in the container. */
  entryName(index: number): string;
  location(index: number): ImageLocation | Promise<ImageLocation>;
  /** Frees files; safe to call twice. */
  close(): Promise<void>;
}

/** A decoded image: `pixels` is `[height, width, channels]` in uint8; channels are 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
export interface DecodedImage {
  pixels: Uint8Array;
  height: number;
  width: number;
  channels: number;
}

/** What is done with an image that cannot be used: the error stops the reader, or the image is left out and counted. */
export type OnInvalid = 'stop' | 'skip';
