/** A distillation over files: mid-epoch resume, images that cannot be used, workers that die, waiting for data. */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  dataset,
  distill,
  edmZip,
  encodedSource,
  shapes,
  type DataSource,
  type DistillOptions,
  type ImageBatch,
  type RunEvent,
} from '../src/index.js';
import { engines, useEngine } from './support/engines.js';
import { edmFiles, edmName, FileMaker, png } from './support/image-files.js';
import { tinyRun } from './support/tiny.js';

const files = new FileMaker('data-run');
/** Seven images more than two batches: epochs end within batches. */
const COUNT = 23;

const reads: Uint32Array[] = [];
afterEach(() => void reads.splice(0));

/** Records which images were asked for. */
const recorded = (source: DataSource): DataSource => ({
  open: () => source.open(),
  read: (indices, signal) => {
    reads.push(indices);
    return source.read(indices, signal);
  },
  close: () => source.close(),
});

async function finished(options: DistillOptions) {
  const run = distill(options);
  const events: RunEvent[] = [];
  run.events$.subscribe((event) => events.push(event));
  const { student } = await run.completed;
  const values = new Map(student.backbone.tensors().map((tensor) => [tensor.name, tensor.read()]));
  student.dispose();
  return { values, events, losses: events.flatMap((event) => (event.kind === 'step' ? [event.losses] : [])) };
}

describe('a distillation over files', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('stopped in the second epoch, it goes on with the very images that are due, to the same weights', async () => {
    const path = await files.zip(edmFiles(COUNT), { compress: true });
    const options = (runDir?: string) =>
      tinyRun({ images: 64, flip: true, data: recorded(edmZip(path, { workers: 2 })), ...(runDir !== undefined && { runDir }) });
    const whole = await finished(options());
    const order = reads.splice(0);
    expect(Array.from(order.flatMap((indices) => [...indices]).slice(0, COUNT)).sort((a, b) => a - b)).toEqual([...Array(COUNT).keys()]);

    const runDir = files.path('run');
    const run = distill(options(runDir));
    run.events$.subscribe((event) => event.kind === 'step' && event.step === 4 && void run.stop());
    (await run.completed).student.dispose();
    reads.splice(0);
    const resumed = await finished(options(runDir));
    expect(resumed.events[0]).toMatchObject({ kind: 'started', resumed: true, images: 32 });
    expect(reads).toEqual(order.slice(4, 4 + reads.length));
    expect(resumed.losses).toEqual(whole.losses.slice(4));
    expect(resumed.values).toEqual(whole.values);
  });

  it('tells how many images were left out, and of none where none were', async () => {
    const bad = await files.zip(edmFiles(COUNT, { [edmName(3)]: 'no image', [edmName(5)]: png(5, 16) }));
    const { events } = await finished(tinyRun({ images: 16, data: dataset(bad, { workers: 1, onInvalid: 'skip' }) }));
    expect(events.slice(0, 2)).toMatchObject([
      { kind: 'started' },
      { kind: 'warning', code: 'W_DATA_SKIPPED', message: expect.stringContaining('data.zip: 2 of 23 images are invalid') as string },
    ]);
    const good = await files.zip(edmFiles(COUNT));
    const { events: quiet } = await finished(tinyRun({ images: 16, data: dataset(good, { workers: 1, onInvalid: 'skip' }) }));
    expect(quiet.filter(({ kind }) => kind === 'warning')).toEqual([]);
  });

  it('ends with the name of an image that is damaged, and of one that a worker died with', async () => {
    const damaged = await files.zip(edmFiles(COUNT, { [edmName(9)]: png(9).subarray(0, 60) }));
    const dying = encodedSource(
      async () => ({
        name: 'set',
        size: COUNT,
        classes: 0,
        entryName: (index) => `${index}.png`,
        // What is no bytes at all is no image's fault: it ends the worker's task.
        location: (index) => ({ bytes: index === 9 ? (null as never) : png(index) }),
        close: () => Promise.resolve(),
      }),
      { workers: 2 },
    );
    for (const [data, code, name] of [
      [edmZip(damaged, { workers: 2 }), 'E_IMAGE_FORMAT', `data.zip: ${edmName(9)}: expected a whole PNG`],
      [dying, 'E_IMAGE_WORKER', 'set: 9.png: the worker that decoded it died'],
    ] as const) {
      const run = distill(tinyRun({ images: 64, data }));
      const events: RunEvent[] = [];
      run.events$.subscribe((event) => events.push(event));
      await expect(run.completed).rejects.toMatchObject({ code, message: expect.stringContaining(name) as string });
      expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: 'failed', error: { code } });
      // Its source was closed with the run.
      await expect(data.read(Uint32Array.of(0))).rejects.toMatchObject({ code: 'E_FILE_CLOSED' });
    }
  });

  it('says which share of its time it waits for data, and reads no more than it needs while it is slow', async () => {
    const slow = (milliseconds: number): DataSource => {
      const source = shapes({ resolution: 8, size: 100 });
      return recorded({
        open: () => source.open(),
        read: async (indices): Promise<ImageBatch> => {
          await new Promise((resolve) => setTimeout(resolve, milliseconds));
          return source.read(indices);
        },
        close: () => source.close(),
      });
    };
    const shares = async (milliseconds: number) =>
      (await finished(tinyRun({ images: 40, data: slow(milliseconds) }))).events.flatMap((event) =>
        event.kind === 'step' ? [event.waitShare] : [],
      );
    const waiting = await shares(3000);
    expect(waiting).toHaveLength(5);
    expect(Math.min(...waiting)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...waiting)).toBeLessThanOrEqual(1);
    // The first batch has all of its reading to wait for.
    expect(waiting[0]).toBeGreaterThan(0.3);
    reads.splice(0);

    const run = distill(tinyRun({ images: 40, data: slow(0) }));
    run.events$.subscribe((event) => event.kind === 'step' && event.step === 1 && run.pause());
    await new Promise((resolve) => run.events$.subscribe((event) => event.kind === 'paused' && setTimeout(resolve, 200)));
    expect(reads.length).toBeLessThanOrEqual(3);
    run.continue();
    (await run.completed).student.dispose();
  });
});
