import { encode } from 'fast-png';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { FileError } from '../../core/errors.js';
import { decodePool, decodePoolOf, type DecodePool } from './decode-pool.js';
import type { DecodeWorkerData } from './decode-task.js';
import type { EncodedImages } from './encoded-images.js';
import { startDecodeWorker } from './start-worker.js';

const pools: DecodePool[] = [];
const keep = (pool: DecodePool) => {
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

/** Images in memory, of growing size. */
const images = (count: number, bytes?: Uint8Array): EncodedImages => ({
  name: 'set',
  size: count,
  classes: 0,
  entryName: (index) => `${index}.png`,
  location: (index) => ({
    bytes: bytes ?? encode({ width: index + 1, height: 2, channels: 1, depth: 8, data: new Uint8Array(2 * (index + 1)).fill(index) }),
  }),
  close: () => Promise.resolve(),
});

/** A thread of a program of its own: `at` is the image that its first task has come to. */
const threadOf = (script: string) => (workerData: DecodeWorkerData) =>
  new Worker(`const { parentPort, workerData } = require('node:worker_threads'); ${script}`, { eval: true, workerData });

const range = (count: number) => Array.from({ length: count }, (_, k) => k);

describe('decodePool', () => {
  it('decodes images of different sizes in the order asked for', async () => {
    const pool = keep(decodePool({ workers: 3 }));
    const order = [5, 0, 29, 7, 7, 13];
    const decoded = await pool.decode(images(30), order);
    decoded.forEach((image, k) => {
      const number = order[k]!;
      expect(image).toEqual({ width: number + 1, height: 2, channels: 1, pixels: new Uint8Array(2 * (number + 1)).fill(number) });
    });
    expect(await pool.decode(images(30), [])).toEqual([]);
  });

  it('gives an error in the place of an image that cannot be decoded, and the others beside it', async () => {
    const set = images(4);
    const location: EncodedImages['location'] = (index) =>
      index === 2 ? { bytes: Buffer.from('none') } : index === 3 ? { path: '/absent/file.png' } : set.location(index);
    const [first, second, third, fourth] = await keep(decodePool({ workers: 1 })).decode({ ...set, location }, range(4));
    expect([first, second]).toMatchObject([{ width: 1 }, { width: 2 }]);
    expect(third).toMatchObject({ code: 'E_IMAGE_FORMAT', message: expect.stringMatching(/^set: 2\.png: expected a PNG/) as string });
    expect(fourth).toMatchObject({
      code: 'E_FILE_ABSENT',
      message: expect.stringMatching(/^set: 3\.png: cannot read \/absent\/file\.png/) as string,
    });
  });

  it.each([
    [
      'ends by itself',
      `parentPort.on('message', () => { Atomics.store(workerData.progress, 0, 2); process.exit(3); })`,
      'it ended with exit code 3',
    ],
    [
      'throws',
      `parentPort.on('message', () => { Atomics.store(workerData.progress, 0, 2); setImmediate(() => { throw new Error('oops'); }); })`,
      'oops',
    ],
  ])('names the image that a worker was at when it %s', async (_name, script, reason) => {
    const pool = keep(decodePoolOf(1, threadOf(script)));
    const error = await pool.decode(images(5), [4, 3, 1, 0]).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(FileError);
    expect(error).toMatchObject({
      code: 'E_IMAGE_WORKER',
      message: expect.stringContaining(`set: 1.png: the worker that decoded it died: ${reason}`) as string,
    });
  });

  it('names the image that a worker ran out of memory with, and goes on with new workers', async () => {
    let starts = 0;
    const pool = keep(
      decodePoolOf(2, (data) => {
        if (starts++ > 0) return startDecodeWorker(data);
        const script = `const { parentPort } = require('node:worker_threads'); parentPort.on('message', () => { const all = []; for (;;) all.push(new Array(1e4).fill({})); })`;
        return new Worker(script, { eval: true, workerData: data, resourceLimits: { maxOldGenerationSizeMb: 16 } });
      }),
    );
    await expect(pool.decode(images(3), [1])).rejects.toThrow(/^set: 1\.png: the worker that decoded it died: .*memory/);
    expect(await pool.decode(images(3), range(3))).toMatchObject([{ width: 1 }, { width: 2 }, { width: 3 }]);
  });

  it('abort ends every thread at once, also one that hangs, and leaves what others asked for', async () => {
    const threads: Worker[] = [];
    const hangs = threadOf(`parentPort.on('message', () => { for (;;); })`);
    let hanging = true;
    const pool = keep(
      decodePoolOf(2, (data) => {
        const thread = hanging ? hangs(data) : startDecodeWorker(data);
        threads.push(thread);
        return thread;
      }),
    );
    const controller = new AbortController();
    const aborted = pool.decode(images(8), range(8), controller.signal);
    const other = pool.decode(images(8), range(2), new AbortController().signal);
    await new Promise((resolve) => setTimeout(resolve, 50));
    hanging = false;
    const exits = threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve)));
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await Promise.all(exits);
    expect(await other).toMatchObject([{ width: 1 }, { width: 2 }]);
    await expect(pool.decode(images(1), [0], controller.signal)).rejects.toThrow('enough');
  });

  it('ends idle threads when a signal that was used aborts, and starts new ones for the next images', async () => {
    const threads: Worker[] = [];
    const pool = keep(
      decodePoolOf(2, (data) => {
        threads.push(startDecodeWorker(data));
        return threads.at(-1)!;
      }),
    );
    const controller = new AbortController();
    await pool.decode(images(4), range(4), controller.signal);
    const exits = threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve)));
    expect(exits).toHaveLength(2);
    controller.abort();
    await Promise.all(exits);
    expect(await pool.decode(images(1), [0])).toMatchObject([{ width: 1 }]);
    expect(threads.length).toBeGreaterThan(2);
  });

  it('close ends what is in progress, and may be called twice', async () => {
    const pool = decodePoolOf(1, threadOf(`parentPort.on('message', () => { for (;;); })`));
    const decoding = pool.decode(images(1), [0]);
    const closing = pool.close();
    await expect(decoding).rejects.toMatchObject({ code: 'E_FILE_CLOSED' });
    await closing;
    await pool.close();
    await expect(pool.decode(images(1), [0])).rejects.toMatchObject({ code: 'E_FILE_CLOSED' });
  });

  it('refuses wrong options', () => {
    expect(() => decodePool({ workers: 0 })).toThrow(/^decodePool: 1 problem\n {2}- workers: /);
    expect(() => decodePool({ worker: 2 } as never)).toThrow(/worker/);
  });
});
