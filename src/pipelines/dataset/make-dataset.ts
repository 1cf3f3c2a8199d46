/**
 * Any set of images to a zip in EDM's format: PNG entries `00000/img00000000.png`, labels in `dataset.json`.
 */
import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import { withLock } from '../../core/cache.js';
import { FileError, RunError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import { parseOptions } from '../../core/options.js';
import { openImages } from '../../data/dataset.js';
import { DATASET_FORMATS } from '../../data/detect-format.js';
import type { DecodedImage } from '../../data/encoded/encoded-images.js';
import type { OpenedImages } from '../../data/opened-images.js';
import { SQUARE_METHODS } from '../../data/square-images.js';
import { prepareImage } from './prepare-image.js';
import { hashSource } from './source-identity.js';
import { UnfinishedZip, type MakingState } from './unfinished.js';
import { writePng } from './write-png.js';

const makeOptions = z.strictObject({
  /** Pixels of a side; undefined: the images have one size already. */
  size: z.int().min(1).max(4096).optional(),
  /** Takes the middle square of each image first. */
  crop: z.boolean().default(false),
  /** How images come to `size`: ADM's way, which crops by itself, or a filter of Pillow's. */
  resize: z.enum(SQUARE_METHODS).default('lanczos'),
  /** 1 grey, 3 RGB; undefined: those of the first image. Greys become RGB, RGB becomes grey only where 1 is asked for. */
  channels: z.union([z.literal(1), z.literal(3)]).optional(),
  /** The first images alone. */
  max: z.int().min(1).optional(),
  /** What the source is; undefined: decided by content. */
  format: z.enum(DATASET_FORMATS).optional(),
  /** Of CIFAR-10 and Parquet. */
  split: z.string().min(1).optional(),
  /** The column or array of images, as `dataset` takes it. */
  images: z.string().min(1).optional(),
  /** Whether labels are kept, or the column or array that holds them; without them `dataset.json` says null. */
  labels: z.union([z.boolean(), z.string().min(1)]).default(true),
  /** What becomes of images that cannot be used. */
  onInvalid: z.enum(['stop', 'skip']).default('stop'),
  workers: z.int().min(1).max(256).optional(),
  /** Replaces a file that is there, and what is left of another. */
  force: z.boolean().default(false),
  /** Ends the work; it goes on from there when it is called again. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
  /** Called once where another process makes the same data set, which is waited for. */
  onWait: z.custom<(holder: { pid: number }) => void>((value) => typeof value === 'function', 'expected a function').optional(),
  /** Called after images, at most ten times a second. */
  onProgress: z.custom<(progress: MakingProgress) => void>((value) => typeof value === 'function', 'expected a function').optional(),
  /** Called with each image that is left out. */
  onSkip: z.custom<(error: FileError) => void>((value) => typeof value === 'function', 'expected a function').optional(),
});

/** How far a data set is. */
export interface MakingProgress {
  /** Images of the source that have been looked at, those of an earlier call among them. */
  done: number;
  total: number;
  skipped: number;
  bytes: number;
}

/** Options of `makeDataset`. @interface */
export type MakeDatasetOptions = z.input<typeof makeOptions>;

/** What `makeDataset` made. */
export interface MadeDataset {
  path: string;
  /** What the source was. */
  format: string;
  images: number;
  resolution: number;
  channels: number;
  classes: number;
  /** Images that were left out. */
  skipped: number;
  /** Images that an earlier, interrupted call had made. */
  resumed: number;
  bytes: number;
}

/** Images that are decoded together. */
const PART = 64;
/** How far the work is, is kept so often. */
const SAVE_MILLISECONDS = 2000;
const PROGRESS_MILLISECONDS = 100;

/** EDM's name of the image with that number. */
export function entryNameOf(index: number): string {
  const digits = String(index).padStart(8, '0');
  return `${digits.slice(0, 5)}/img${digits}.png`;
}

/** What decides every byte of the result. */
async function keyOf(images: OpenedImages, total: number, options: object, source: string, target: string): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify({ version: 2, format: images.format, size: images.size, total, options }));
  for (let k = 0; k < total; k++) hash.update(`${images.entryName(k)}\n`);
  if (images.labels) hash.update(images.labels);
  await hashSource(hash, resolve(source), target);
  return hash.digest('hex');
}

async function checkTarget(source: string, target: string, force: boolean): Promise<void> {
  const there = await stat(target).catch(() => undefined);
  if (!there) return;
  if (!there.isFile())
    throw new FileError('E_FILE_NOT_WRITABLE', `${target}: expected the name of a zip to write, found a folder or a device`, {
      help: 'give the name of a file',
    });
  const input = await stat(source).catch(() => undefined);
  if (input && input.dev === there.dev && input.ino === there.ino)
    throw new FileError('E_FILE_EXISTS', `${target}: expected another file than the source`, { help: 'write to another name' });
  if (!force)
    throw new FileError('E_FILE_EXISTS', `${target}: expected no file of that name, found one`, {
      help: 'give another name, or say --force (force: true) to replace it',
    });
}

/**
 * Makes a zip in EDM's format of the data set at `source`, which is anything that `dataset` reads; its sizes may differ.
 *
 * The zip has its name when it is whole; until then `OUT.part` and `OUT.part.json` hold what there is, and the same call goes on from
 * there, after whatever ended it. An interrupted zip that was continued equals an uninterrupted one byte by byte.
 *
 * Throws as `dataset`; FileError `E_IMAGE_…` with the image's name where `onInvalid` is `stop`, `E_IMAGE_NONE`, `E_FILE_EXISTS`,
 * `E_FILE_NO_SPACE` and what else writing may end with; `E_RUN_STOPPED` after `signal`.
 *
 * ```ts
 * await makeDataset('ILSVRC2012/train', 'imagenet-64x64.zip', { size: 64, resize: 'adm', onInvalid: 'skip' });
 * ```
 */
export async function makeDataset(source: string, out: string, options: MakeDatasetOptions = {}): Promise<MadeDataset> {
  const parsed = parseOptions(makeOptions, options, 'makeDataset');
  const target = resolve(out);
  await checkTarget(source, target, parsed.force);
  const { format, split, images: column, labels, workers, onInvalid } = parsed;
  const images = await openImages(source, {
    onInvalid,
    labels,
    ...(column !== undefined && { images: column }),
    ...(format !== undefined && { format }),
    ...(split !== undefined && { split }),
    ...(workers !== undefined && { workers }),
  });
  try {
    return await withFileErrors(out, 'write', () =>
      withLock(
        `${target}.part.lock`,
        { ...(parsed.signal && { signal: parsed.signal }), ...(parsed.onWait && { onWait: parsed.onWait }) },
        async (waited) => {
          if (waited) await checkTarget(source, target, parsed.force); // by now another call may have made it
          return make(source, target, images, parsed);
        },
      ),
    );
  } catch (error) {
    throw parsed.signal?.aborted === true && !(error instanceof FileError) ? stopped(out) : error;
  } finally {
    await images.close();
  }
}

/** An error of writing says that nothing is lost. */
const continued = (error: unknown) =>
  error instanceof FileError && error.code.startsWith('E_FILE_')
    ? new FileError(error.code, error.message.split('\nhelp: ')[0]!, {
        help: `${error.help ?? 'see above'}; then the same command goes on`,
        cause: error,
      })
    : error;

const stopped = (out: string) =>
  new RunError('E_RUN_STOPPED', `${out}: stopped before it was whole`, { help: 'the same command goes on from here' });

async function make(source: string, target: string, images: OpenedImages, options: z.output<typeof makeOptions>): Promise<MadeDataset> {
  const { size, crop, resize, channels, max, images: column, labels: keepsLabels, onInvalid, force, signal, onProgress, onSkip } = options;
  const total = Math.min(images.size, max ?? Infinity);
  const none = (why: string) =>
    new FileError('E_IMAGE_NONE', `${images.name}: expected images, found ${why}`, { help: 'check the path and the options' });
  if (total === 0) throw none('none');
  const key = await keyOf(images, total, { size, crop, resize, channels, column, keepsLabels, onInvalid }, source, target);
  const unfinished = await UnfinishedZip.open(target, key, force);
  const { zip, found } = unfinished;
  const state: Omit<MakingState, 'entries' | 'bytes'> = { ...found, skipped: [...found.skipped] };
  const leaveOut = (error: FileError, index: number) => {
    if (onInvalid === 'stop') throw error;
    state.skipped.push(index);
    onSkip?.(error);
  };

  let saved = performance.now();
  let shown = -Infinity;
  let finishing = false;
  const show = (last: boolean) => {
    if (!onProgress || (!last && performance.now() - shown < PROGRESS_MILLISECONDS)) return;
    shown = performance.now();
    onProgress({ done: state.next, total, skipped: state.skipped.length, bytes: zip.bytes });
  };
  const decode = (from: number) => {
    const decoded = images.decode(
      Array.from({ length: Math.max(0, Math.min(PART, total - from)) }, (_, k) => from + k),
      signal,
    );
    decoded.catch(() => undefined); // it is awaited one part later
    return decoded;
  };

  const one = async (image: DecodedImage | FileError, index: number): Promise<void> => {
    if (image instanceof FileError) return leaveOut(image, index);
    const name = `${images.name}: ${images.entryName(index)}`;
    try {
      const colours = (state.channels ??= channels ?? (image.channels < 3 ? 1 : 3));
      if (channels === undefined && colours === 1 && image.channels > 2)
        throw new FileError('E_IMAGE_CHANNELS', `${name}: expected grey as the first image, found ${image.channels} channels`, {
          help: '--channels 3 makes all of them RGB, --channels 1 grey',
        });
      const made = prepareImage(image, { size, crop, method: resize, channels: colours }, name);
      state.side ??= made.width;
      if (made.width !== state.side)
        throw new FileError(
          'E_IMAGE_SIZE',
          `${name}: expected ${state.side} x ${state.side} as the first image, found ${made.width} x ${made.height}`,
          {
            help: '--size N brings all of them to one size',
          },
        );
      await zip.add(entryNameOf(zip.entries), await writePng(made));
    } catch (error) {
      if (!(error instanceof FileError) || !error.code.startsWith('E_IMAGE_')) throw error;
      leaveOut(error, index);
    }
  };

  try {
    let waiting = decode(state.next);
    while (state.next < total) {
      const part = await waiting;
      waiting = decode(state.next + part.length);
      for (const image of part) {
        if (signal?.aborted) throw stopped(target);
        await one(image, state.next);
        state.next++;
        show(false);
        if (performance.now() - saved > SAVE_MILLISECONDS) {
          await unfinished.save(state);
          saved = performance.now();
        }
      }
    }
    if (zip.entries === 0) throw none(`none of ${total} that can be used`);
    const count = zip.entries;
    await unfinished.save(state);
    finishing = true;
    const labels = images.labels ? labelsOf(images.labels, total, new Set(state.skipped)) : undefined;
    await zip.add('dataset.json', Buffer.concat(labelFile(labels)));
    await unfinished.commit();
    show(true);
    return {
      path: target,
      format: images.format,
      images: count,
      resolution: state.side!,
      channels: state.channels!,
      classes: labels ? images.classes : 0,
      skipped: state.skipped.length + (images.skipped ?? 0),
      resumed: found.entries,
      bytes: zip.bytes,
    };
  } catch (error) {
    // What there is stays for the next call; where even that cannot be written, the last that could.
    if (!finishing && state.next > 0) await unfinished.save(state).catch(() => undefined);
    await zip.close().catch(() => undefined);
    if (zip.entries === 0) {
      await rm(`${target}.part`, { force: true }).catch(() => undefined);
      await rm(`${target}.part.json`, { force: true }).catch(() => undefined);
    }
    throw continued(error);
  }
}

/** Labels of the images that were not left out. */
function labelsOf(labels: Uint32Array, total: number, skipped: ReadonlySet<number>): Uint32Array {
  return labels.subarray(0, total).filter((_, index) => !skipped.has(index));
}

/** `dataset.json`: `{"labels": [["00000/img00000000.png", 6], …]}` or null. */
function labelFile(labels: Uint32Array | undefined): Buffer[] {
  if (labels === undefined) return [Buffer.from('{"labels": null}')];
  const parts = [Buffer.from('{"labels": [')];
  for (let from = 0; from < labels.length; from += 10_000) {
    const rows = Array.from(labels.subarray(from, from + 10_000), (label, k) => `["${entryNameOf(from + k)}", ${label}]`);
    parts.push(Buffer.from(`${from > 0 ? ', ' : ''}${rows.join(', ')}`));
  }
  return [...parts, Buffer.from(']}')];
}
