/**
 * What the decoding pool and its workers say to each other. A message for many images: one for each would cost as much as decoding it.
 */
import type { DecodedImage, ImageLocation } from './encoded-images.js';
import { ImageProblem } from './image-problem.js';

/** Images for a worker. */
export interface DecodeTask {
  id: number;
  /** Of the files; each once. */
  paths: string[];
  /** {@link FIELDS} numbers an image. */
  places: Float64Array;
  /** Images that came as bytes. */
  bytes: Uint8Array[];
}

/** What a worker found; its buffers are transferred. */
export interface DecodeResult {
  id: number;
  pixels: Uint8Array;
  /** Height, width, channels for each image; zeros for one that failed. */
  shapes: Uint32Array;
  problems: { position: number; code: string; problem: string; help: string }[];
  /** An error that is none of an image's: a mistake here, or no memory. */
  failure?: string;
}

/** Given to a worker when it starts: it writes here which image of its task it is at. */
export interface DecodeWorkerData {
  progress: Int32Array;
}

/** Path, or -1 - its place among the bytes; then offset, length, compressed, size, checksum or -1, name length or -1. A length of -1: a whole file. */
const FIELDS = 7;

/** Packs locations into a task. */
export function packTask(id: number, locations: readonly ImageLocation[]): DecodeTask {
  const task: DecodeTask = { id, paths: [], places: new Float64Array(locations.length * FIELDS), bytes: [] };
  const numbers = new Map<string, number>();
  locations.forEach((location, position) => {
    const at = position * FIELDS;
    if ('bytes' in location) {
      task.places[at] = -task.bytes.push(location.bytes);
      return;
    }
    let path = numbers.get(location.path);
    if (path === undefined) numbers.set(location.path, (path = task.paths.push(location.path) - 1));
    task.places[at] = path;
    if (!('length' in location)) {
      task.places[at + 2] = -1;
      return;
    }
    task.places[at + 1] = location.offset;
    task.places[at + 2] = location.length;
    task.places[at + 3] = location.compression === 'deflate' ? 1 : 0;
    task.places[at + 4] = location.size;
    task.places[at + 5] = location.crc32 ?? -1;
    task.places[at + 6] = location.zipHeader ?? -1;
  });
  return task;
}

/** Number of images in a task. */
export const taskSize = ({ places }: DecodeTask): number => places.length / FIELDS;

/** The location of an image of a task. */
export function unpackLocation({ paths, places, bytes }: DecodeTask, position: number): ImageLocation {
  const at = position * FIELDS;
  const first = places[at]!;
  if (first < 0) return { bytes: bytes[-1 - first]! };
  const path = paths[first]!;
  if (places[at + 2] === -1) return { path };
  return {
    path,
    offset: places[at + 1]!,
    length: places[at + 2]!,
    compression: places[at + 3] === 1 ? 'deflate' : 'none',
    size: places[at + 4]!,
    crc32: places[at + 5] === -1 ? undefined : places[at + 5]!,
    zipHeader: places[at + 6] === -1 ? undefined : places[at + 6]!,
  };
}

/** The images of a result, in order. */
export function unpackResult({ pixels, shapes, problems }: DecodeResult): (DecodedImage | ImageProblem)[] {
  const images: (DecodedImage | ImageProblem)[] = [];
  for (let k = 0, from = 0; k < shapes.length / 3; k++) {
    const [height, width, channels] = [shapes[3 * k]!, shapes[3 * k + 1]!, shapes[3 * k + 2]!];
    const bytes = height * width * channels;
    images.push({ pixels: pixels.subarray(from, from + bytes), height, width, channels });
    from += bytes;
  }
  for (const { position, code, problem, help } of problems) images[position] = new ImageProblem(code, problem, help);
  return images;
}
