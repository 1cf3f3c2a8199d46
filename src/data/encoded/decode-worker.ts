/**
 * A worker thread of the decoding pool: reads and decodes the images of a task, one after the other.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { decodeBytes } from './decode-image.js';
import { taskSize, unpackLocation, type DecodeResult, type DecodeTask, type DecodeWorkerData } from './decode-task.js';
import { ImageProblem } from './image-problem.js';
import { LocationReader } from './read-location.js';

const { progress } = workerData as DecodeWorkerData;
/** Each image is decoded before the next one is read. */
const reader = new LocationReader(true);
/** Bytes of the last task's pixels: what the next one is likely to need. */
let likely = 0;

async function decodeTask(task: DecodeTask): Promise<DecodeResult> {
  const count = taskSize(task);
  const shapes = new Uint32Array(3 * count);
  const problems: DecodeResult['problems'] = [];
  let pixels = new Uint8Array(likely);
  let filled = 0;
  for (let position = 0; position < count; position++) {
    Atomics.store(progress, 0, position);
    try {
      const decoding = decodeBytes(reader.read(unpackLocation(task, position)));
      const image = decoding instanceof Promise ? await decoding : decoding;
      if (filled + image.pixels.length > pixels.length) {
        // As if the rest were as large as this one, within reason.
        const needed = filled + image.pixels.length;
        const rest = Math.min(image.pixels.length * (count - position - 1), Math.max(needed, 1 << 24));
        const grown = new Uint8Array(needed + rest);
        grown.set(pixels.subarray(0, filled));
        pixels = grown;
      }
      pixels.set(image.pixels, filled);
      filled += image.pixels.length;
      shapes.set([image.height, image.width, image.channels], 3 * position);
    } catch (error) {
      if (!(error instanceof ImageProblem)) throw error;
      problems.push({ position, code: error.code, problem: error.problem, help: error.help });
    }
  }
  likely = filled;
  return { id: task.id, pixels: pixels.length === filled ? pixels : pixels.slice(0, filled), shapes, problems };
}

let last: Promise<void> = Promise.resolve();
parentPort!.on('message', (task: DecodeTask) => {
  last = last.then(async () => {
    const result = await decodeTask(task).catch((error: unknown): DecodeResult => {
      const failure = error instanceof Error ? error.message : String(error);
      return { id: task.id, pixels: new Uint8Array(0), shapes: new Uint32Array(0), problems: [], failure };
    });
    parentPort!.postMessage(result, [result.pixels.buffer as ArrayBuffer, result.shapes.buffer as ArrayBuffer]);
  });
});
