/**
 * Sets of images whose pixels lie in a file or in memory as they are, one after another: CIFAR-10, arrays.
 */
import { open, type FileHandle } from 'node:fs/promises';
import type { DataDescription, DataSource, ImageBatch } from '../../core/contracts/data.js';
import { ArgumentError, FileError } from '../../core/errors.js';
import { toFileError } from '../../core/files.js';
import type { DecodedImage } from '../encoded/encoded-images.js';
import type { OpenedImages } from '../opened-images.js';

/** Images at equal distances in one file or array. */
export interface RawRun {
  /** What errors call it: a path, with the entry of a container. */
  name: string;
  from: { path: string } | { bytes: Uint8Array };
  /** Where the first image begins, in bytes. */
  offset: number;
  /** Bytes from one image to the next; undefined: as many as an image has. */
  stride?: number;
  count: number;
}

/** What a set of raw images is made of. */
export interface RawLayout {
  name: string;
  format: string;
  runs: readonly RawRun[];
  height: number;
  width: number;
  channels: number;
  /** `planes`: `[C, H, W]`, as PyTorch and CIFAR-10; `pixels`: `[H, W, C]`. */
  order: 'planes' | 'pixels';
  classes: number;
  labels?: Uint32Array | undefined;
  classNames?: readonly string[] | undefined;
  /** Which images of the runs are in the set, in order; undefined: all. */
  kept?: Uint32Array | undefined;
  skipped?: number | undefined;
}

/** Reads in flight at a time. */
const PARALLEL_READS = 64;

/** Images of one size, read by range. */
export class RawImages implements OpenedImages {
  readonly name: string;
  readonly format: string;
  readonly size: number;
  readonly classes: number;
  readonly labels: Uint32Array | undefined;
  readonly classNames: readonly string[] | undefined;
  readonly skipped: number | undefined;
  readonly #starts: number[] = [];
  readonly #handles = new Map<string, Promise<FileHandle>>();

  constructor(readonly layout: RawLayout) {
    let total = 0;
    for (const { count } of layout.runs) {
      this.#starts.push(total);
      total += count;
    }
    this.size = layout.kept?.length ?? total;
    ({
      name: this.name,
      format: this.format,
      classes: this.classes,
      labels: this.labels,
      classNames: this.classNames,
      skipped: this.skipped,
    } = { labels: undefined, classNames: undefined, skipped: undefined, ...layout });
    if (this.labels && this.labels.length !== this.size)
      throw new ArgumentError('E_SHAPE', `${this.name}: expected ${this.size} labels, got ${this.labels.length}`);
  }

  #place(index: number): { run: RawRun; within: number } {
    const at = this.layout.kept?.[index] ?? index;
    let run = this.#starts.length - 1;
    while (this.#starts[run]! > at) run--;
    return { run: this.layout.runs[run]!, within: at - this.#starts[run]! };
  }

  entryName(index: number): string {
    const { run, within } = this.#place(index);
    return `${run.name}[${within}]`;
  }

  async #read(index: number, into: Uint8Array): Promise<void> {
    const { run, within } = this.#place(index);
    const begin = run.offset + within * (run.stride ?? into.length);
    if ('bytes' in run.from) return into.set(run.from.bytes.subarray(begin, begin + into.length));
    const { path } = run.from;
    let handle = this.#handles.get(path);
    if (!handle) this.#handles.set(path, (handle = open(path, 'r')));
    try {
      for (let at = 0; at < into.length;) {
        const { bytesRead } = await (await handle).read(into, at, into.length - at, begin + at);
        if (bytesRead === 0)
          throw new FileError('E_FILE_TRUNCATED', `${this.entryName(index)}: expected ${into.length} bytes, found the end of the file`, {
            help: 'the file was changed after it was opened; open it again',
          });
        at += bytesRead;
      }
    } catch (error) {
      throw toFileError(error, path, 'read');
    }
  }

  async decode(indices: ArrayLike<number>, signal?: AbortSignal): Promise<(DecodedImage | FileError)[]> {
    const { images, shape } = await this.read(Uint32Array.from(indices), signal);
    const [count, height, width, channels] = shape;
    const bytes = height * width * channels;
    return Array.from({ length: count }, (_, k) => ({ pixels: images.slice(k * bytes, (k + 1) * bytes), height, width, channels }));
  }

  /** `[B, H, W, C]` in the given order. */
  async read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    const { height, width, channels, order } = this.layout;
    const bytes = height * width * channels;
    const images = new Uint8Array(indices.length * bytes);
    for (let from = 0; from < indices.length; from += PARALLEL_READS) {
      signal?.throwIfAborted();
      await Promise.all(
        [...indices.subarray(from, from + PARALLEL_READS)].map(async (index, k) => {
          if (!(index < this.size)) throw new ArgumentError('E_VALUE', `${this.name}: expected an index below ${this.size}, got ${index}`);
          const into = images.subarray((from + k) * bytes, (from + k + 1) * bytes);
          await this.#read(index, into);
          if (order === 'planes') into.set(interleave(into, channels));
        }),
      );
    }
    const { labels } = this;
    return {
      images,
      shape: [indices.length, height, width, channels],
      ...(labels && { labels: Uint32Array.from(indices, (index) => labels[index]!) }),
    };
  }

  async close(): Promise<void> {
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    for (const handle of handles)
      await handle.then(
        (opened) => opened.close(),
        () => undefined,
      );
  }
}

/** Planes `[C, ...]` to pixels `[..., C]`, a new array. */
function interleave(planes: Uint8Array, channels: number): Uint8Array {
  const out = new Uint8Array(planes.length);
  const count = planes.length / channels;
  for (let c = 0, from = 0; c < channels; c++) for (let k = 0, to = c; k < count; k++, to += channels) out[to] = planes[from++]!;
  return out;
}

/** A source of raw images; files are looked at when it is opened. */
export class RawSource implements DataSource {
  #images: RawImages | undefined;

  constructor(
    readonly description: { part: string; options: unknown },
    private readonly load: () => Promise<RawImages>,
  ) {}

  get name(): string {
    return this.description.part;
  }

  async open(): Promise<DataDescription> {
    this.#images ??= await this.load();
    const { name, layout, classes, size, skipped } = this.#images;
    if (layout.height !== layout.width)
      throw new FileError('E_IMAGE_SIZE', `${name}: expected square images, found ${layout.width} x ${layout.height}`, {
        help: 'onestep dataset make --crop --size N makes a zip of squares',
      });
    const { height: resolution, channels } = layout;
    return { name, resolution, channels, classes, size, ...(skipped !== undefined && { skipped }) };
  }

  async read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    if (!this.#images) await this.open();
    return this.#images!.read(indices, signal);
  }

  async close(): Promise<void> {
    await this.#images?.close();
  }
}
