import fc from 'fast-check';
import { EMPTY, NEVER, Subject, firstValueFrom, of, range, take, throwError, toArray, type Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { DataSource, ImageBatch } from '../core/contracts/data.js';
import { ConfigError, FileError } from '../core/errors.js';
import { batchStream, type BatchStreamOptions, type PositionedBatch } from './batch-stream.js';
import { shapes } from './shapes.js';

/** A set of 2-pixel images whose bytes tell their index: [index, 255 - index]. Reads wait for `release` where `held`. */
class Numbers implements DataSource {
  opened = 0;
  closed = 0;
  started: number[][] = [];
  signals: AbortSignal[] = [];
  releases: (() => void)[] = [];
  failAt = -1;

  constructor(
    private readonly size: number,
    private readonly held = false,
  ) {}

  async open() {
    this.opened++;
    return { name: 'numbers', resolution: 2, channels: 1, classes: 0, size: this.size };
  }

  async read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    const turn = this.started.push(Array.from(indices)) - 1;
    this.signals.push(signal!);
    if (this.held) await new Promise<void>((resolve) => (this.releases[turn] = resolve));
    if (turn === this.failAt) throw new Error('disk on fire');
    const images = new Uint8Array(indices.length * 2);
    indices.forEach((index, k) => images.set([index, 255 - index], 2 * k));
    return { images, shape: [indices.length, 1, 2, 1] };
  }

  async close() {
    this.closed++;
  }
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));
const indicesOf = (batch: PositionedBatch) => Array.from({ length: batch.shape[0] }, (_, k) => batch.images[2 * k]!);
/** Both bytes of each image: they tell its index and whether it is mirrored. */
const imagesOf = (batch: PositionedBatch) =>
  Array.from({ length: batch.shape[0] }, (_, k) => `${batch.images[2 * k]} ${batch.images[2 * k + 1]}`);
const times = (count: number) => range(0, count) as unknown as Observable<void>;
const collect = (source: DataSource, count: number, options: Partial<BatchStreamOptions> = {}) =>
  firstValueFrom(batchStream(source, { batchSize: 4, seed: 1, ...options, demand$: times(count) }).pipe(toArray()));

/** Subscribes and records. */
function watch(stream: Observable<PositionedBatch>) {
  const seen = { batches: [] as PositionedBatch[], error: undefined as unknown, completed: false };
  const subscription = stream.subscribe({
    next: (batch) => seen.batches.push(batch),
    error: (error: unknown) => (seen.error = error),
    complete: () => (seen.completed = true),
  });
  return Object.assign(seen, { subscription });
}

describe('batchStream: demand', () => {
  it('never: without demand it reads ahead and emits nothing', async () => {
    const source = new Numbers(20);
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, prefetch: 3, demand$: NEVER }));
    await tick();
    expect(source.started).toHaveLength(3);
    expect(seen.batches).toEqual([]);
    expect(seen.completed).toBe(false);
    seen.subscription.unsubscribe();
  });

  it('empty: completes without a read when demand completes', async () => {
    const source = new Numbers(20);
    expect(await collect(source, 0)).toEqual([]);
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, demand$: EMPTY }));
    expect(seen.completed).toBe(true);
    await tick();
    expect(source.started).toEqual([]);
  });

  it('one: meets a single demand with a single read, then completes', async () => {
    const source = new Numbers(20);
    const [batch, ...rest] = await collect(source, 1);
    expect(rest).toEqual([]);
    expect(batch).toMatchObject({ shape: [4, 1, 2, 1], cursor: 4 });
    expect(indicesOf(batch!)).toEqual(source.started[0]);
    expect(source.started).toHaveLength(1);
    expect(source.closed).toBe(0);
  });

  it('many: demands that come at once are met in order, exactly once each', async () => {
    const source = new Numbers(20);
    const batches = await collect(source, 7);
    expect(batches.map((batch) => batch.cursor)).toEqual([4, 8, 12, 16, 20, 24, 28]);
    expect(batches.map(indicesOf)).toEqual(source.started);
    expect(source.started).toHaveLength(7);
  });

  it('slow consumer: never more than prefetch reads beyond what was taken', async () => {
    const source = new Numbers(1000);
    const demand$ = new Subject<void>();
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, prefetch: 2, demand$ }));
    for (let taken = 0; taken <= 20; taken++) {
      await tick();
      expect(seen.batches).toHaveLength(taken);
      expect(source.started).toHaveLength(taken + 2);
      demand$.next();
    }
    seen.subscription.unsubscribe();
  });

  it('a buffered batch is emitted during the demand, also to a subscriber that asks again at once', async () => {
    const demand$ = new Subject<void>();
    const cursors: number[] = [];
    const subscription = batchStream(new Numbers(100), { batchSize: 4, seed: 1, prefetch: 3, demand$ }).subscribe((batch) => {
      cursors.push(batch.cursor);
      if (cursors.length < 6) demand$.next();
    });
    await tick();
    demand$.next();
    expect(cursors).toEqual([4, 8, 12]);
    await tick();
    expect(cursors).toEqual([4, 8, 12, 16, 20, 24]);
    subscription.unsubscribe();
  });

  it('keeps the order when a later read ends first', async () => {
    const source = new Numbers(20, true);
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, demand$: times(2) }));
    await tick();
    source.releases[1]!();
    await tick();
    expect(seen.batches).toEqual([]);
    source.releases[0]!();
    await tick();
    expect(seen.batches.map((batch) => batch.cursor)).toEqual([4, 8]);
    expect(seen.completed).toBe(true);
  });

  it('opens the source unless given its description', async () => {
    const source = new Numbers(20);
    await collect(source, 1);
    expect(source.opened).toBe(1);
    await collect(source, 1, { description: await source.open() });
    expect(source.opened).toBe(2);
  });
});

describe('batchStream: the end', () => {
  it('early unsubscribe: aborts the reads, emits nothing more and starts nothing more', async () => {
    const source = new Numbers(20, true);
    const demand$ = new Subject<void>();
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, demand$ }));
    await tick();
    seen.subscription.unsubscribe();
    expect(source.signals.map((signal) => signal.aborted)).toEqual([true, true]);
    expect(demand$.observed).toBe(false);
    source.releases.forEach((release) => release());
    await tick();
    expect(seen.batches).toEqual([]);
    expect(source.started).toHaveLength(2);
  });

  it('take(n) stops the reads inside the emission', async () => {
    const source = new Numbers(20);
    const batches = await firstValueFrom(batchStream(source, { batchSize: 4, seed: 1, demand$: times(100) }).pipe(take(2), toArray()));
    expect(batches).toHaveLength(2);
    expect(source.signals.every((signal) => signal.aborted)).toBe(true);
    expect(source.started.length).toBeLessThanOrEqual(4);
  });

  it('abort: errors with the reason at once, also where aborted before', async () => {
    const source = new Numbers(20, true);
    const controller = new AbortController();
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, demand$: times(3), signal: controller.signal }));
    await tick();
    controller.abort('enough');
    expect(seen.error).toBe('enough');
    expect(source.signals.every((signal) => signal.aborted)).toBe(true);

    const untouched = new Numbers(20);
    expect(watch(batchStream(untouched, { batchSize: 4, seed: 1, demand$: times(3), signal: controller.signal })).error).toBe('enough');
    await tick();
    expect(untouched.opened + untouched.started.length).toBe(0);
  });

  it('read error: names the source, after the batches before it, and stops the other reads', async () => {
    const source = new Numbers(20);
    source.failAt = 2;
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, prefetch: 3, demand$: times(5) }));
    await tick();
    expect(seen.batches.map((batch) => batch.cursor)).toEqual([4, 8]);
    expect(seen.error).toBeInstanceOf(FileError);
    expect(seen.error).toMatchObject({ code: 'E_FILE_READ', message: 'numbers: reading the batch at cursor 8: disk on fire' });
    expect(source.signals.every((signal) => signal.aborted)).toBe(true);
  });

  it('an error of ours keeps its code and its help', async () => {
    const error = new FileError('E_IMAGE_FORMAT', 'set.zip: a.png: damaged', { help: 'mend it' });
    const source = Object.assign(new Numbers(20), { read: () => Promise.reject(error) });
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, demand$: times(1) }));
    await tick();
    expect(seen.error).toMatchObject({ code: 'E_IMAGE_FORMAT', help: 'mend it', cause: error });
    expect(seen.error).toHaveProperty('message', 'numbers: reading the batch at cursor 0: set.zip: a.png: damaged\nhelp: mend it');
  });

  it('a read error is not told before its batch is asked for', async () => {
    const source = new Numbers(20);
    source.failAt = 0;
    const demand$ = new Subject<void>();
    const seen = watch(batchStream(source, { batchSize: 4, seed: 1, demand$ }));
    await tick();
    expect(seen.error).toBeUndefined();
    demand$.next();
    expect(seen.error).toBeInstanceOf(FileError);
  });

  it('errors of demand, of open and of a source with wrong batches go to the stream', async () => {
    const stream = (source: DataSource, demand$: Observable<never | void>) => batchStream(source, { batchSize: 4, seed: 1, demand$ });
    expect(
      watch(
        stream(
          new Numbers(20),
          throwError(() => 'no demand'),
        ),
      ).error,
    ).toBe('no demand');
    const broken = Object.assign(new Numbers(20), { open: () => Promise.reject(new Error('no such file')) });
    await expect(firstValueFrom(stream(broken, of(undefined)))).rejects.toThrow('no such file');
    await expect(firstValueFrom(stream(new Numbers(0), of(undefined)))).rejects.toThrow('expected images in numbers, got none');
    const short = Object.assign(new Numbers(20), {
      read: async (): Promise<ImageBatch> => ({ images: new Uint8Array(2), shape: [1, 1, 2, 1] }),
    });
    await expect(firstValueFrom(stream(short, of(undefined)))).rejects.toThrow(
      'numbers: reading the batch at cursor 0: expected 4 images, got shape [1, 1, 2, 1] and 2 bytes',
    );
  });

  it('reports every wrong option at once', () => {
    const wrong = { batchSize: 0, seed: 1, prefetch: 0, demand: NEVER } as unknown as BatchStreamOptions;
    expect(() => batchStream(new Numbers(1), wrong)).toThrow(ConfigError);
    expect(() => batchStream(new Numbers(1), wrong)).toThrow(/batchSize.*\n.*prefetch.*\n.*demand\$: expected an Observable\n.*demand/);
  });
});

describe('batchStream: the order', () => {
  it('visits every image once per epoch, in another order each time; batches run over the ends', async () => {
    const batches = await collect(new Numbers(10), 5);
    const order = batches.flatMap(indicesOf);
    const all = Array.from({ length: 10 }, (_, k) => k);
    expect(order.slice(0, 10).sort((a, b) => a - b)).toEqual(all);
    expect(order.slice(10).sort((a, b) => a - b)).toEqual(all);
    expect(order.slice(10)).not.toEqual(order.slice(0, 10));
    expect(order.slice(0, 10)).not.toEqual(all);
  });

  it('a batch may be larger than the set', async () => {
    const [batch] = await collect(new Numbers(3), 1, { batchSize: 9 });
    expect(indicesOf(batch!).sort()).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
  });

  it('resumes exactly, in the middle of an epoch and across its end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 17 }),
        fc.nat(12),
        fc.nat(),
        async (size, batchSize, skip, seed) => {
          const options = { batchSize, seed, flip: true };
          const whole = await collect(new Numbers(size), skip + 3, options);
          const resumed = await collect(new Numbers(size), 3, { ...options, cursor: skip * batchSize });
          expect(resumed).toEqual(whole.slice(skip));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('does not depend on prefetch, and does on the seed', async () => {
    const first = await collect(new Numbers(200), 5, { prefetch: 1 });
    expect(await collect(new Numbers(200), 5, { prefetch: 7 })).toEqual(first);
    expect(await collect(new Numbers(200), 5, { seed: 2 })).not.toEqual(first);
  });
});

describe('batchStream: processes', () => {
  it('share each epoch without overlap: their union, in turn, is the stream of one process', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 5 }), fc.nat(), async (size, processes, seed) => {
        const batchSize = 4;
        const whole = (await collect(new Numbers(size), 5, { batchSize: batchSize * processes, seed, flip: true })).flatMap(imagesOf);
        const parts = await Promise.all(
          Array.from({ length: processes }, (_, rank) => collect(new Numbers(size), 5, { batchSize, seed, flip: true, rank, processes })),
        );
        const own = parts.map((batches) => batches.flatMap(imagesOf));
        expect(whole).toEqual(whole.map((_, position) => own[position % processes]![Math.floor(position / processes)]));
        for (const batches of parts)
          expect(batches.map(({ cursor }) => cursor)).toEqual([1, 2, 3, 4, 5].map((k) => k * batchSize * processes));
      }),
      { numRuns: 40 },
    );
  });

  it('resume at the cursor of all of them, also as another number of processes', async () => {
    const options = { batchSize: 6, seed: 3 };
    const whole = (await collect(new Numbers(50), 8, { ...options, batchSize: 12 })).flatMap(imagesOf);
    const [, second] = await collect(new Numbers(50), 2, { ...options, rank: 1, processes: 2 });
    const [third] = await collect(new Numbers(50), 1, { batchSize: 4, seed: 3, rank: 2, processes: 3, cursor: second!.cursor });
    expect(imagesOf(second!)).toEqual(Array.from({ length: 6 }, (_, k) => whole[12 + 2 * k + 1]));
    expect(imagesOf(third!)).toEqual(Array.from({ length: 4 }, (_, k) => whole[24 + 3 * k + 2]));
  });

  it('refuses a rank that is none of them', () => {
    expect(() => batchStream(new Numbers(1), { batchSize: 1, seed: 0, rank: 2, processes: 2, demand$: NEVER })).toThrow(
      'rank: expected less than processes',
    );
  });
});

describe('batchStream: flip', () => {
  it('mirrors about half of the images, by position, and leaves the order alone', async () => {
    const size = 100;
    const straight = await collect(new Numbers(size), 50);
    const flipped = await collect(new Numbers(size), 50, { flip: true });
    let mirrored = 0;
    const byImage = new Map<number, Set<boolean>>();
    straight.forEach((batch, b) => {
      for (let k = 0; k < 4; k++) {
        const [left, right] = [batch.images[2 * k]!, batch.images[2 * k + 1]!];
        const pair = [flipped[b]!.images[2 * k], flipped[b]!.images[2 * k + 1]];
        const isMirrored = pair[0] === right;
        expect(pair).toEqual(isMirrored ? [right, left] : [left, right]);
        mirrored += Number(isMirrored);
        byImage.set(left, (byImage.get(left) ?? new Set()).add(isMirrored));
      }
    });
    expect(mirrored).toBeGreaterThan(75);
    expect(mirrored).toBeLessThan(125);
    // Two epochs: some images were seen both ways.
    expect([...byImage.values()].some((ways) => ways.size === 2)).toBe(true);
  });

  it('mirrors columns of colour pixels, row by row, and never the bytes of the source', async () => {
    const source = shapes({ resolution: 8, size: 8 });
    const kept = await source.read(Uint32Array.from({ length: 8 }, (_, k) => k));
    const before = kept.images.slice();
    const caching: DataSource = { open: () => source.open(), close: () => source.close(), read: async () => kept };
    const [batch] = await collect(caching, 1, { batchSize: 8, flip: true });
    expect(kept.images).toEqual(before);
    const pixel = (images: Uint8Array, image: number, row: number, column: number) => {
      const at = ((image * 8 + row) * 8 + column) * 3;
      return Array.from(images.subarray(at, at + 3));
    };
    let mirrored = 0;
    for (let image = 0; image < 8; image++) {
      const isMirrored = pixel(batch!.images, image, 0, 0).join() === pixel(before, image, 0, 7).join();
      mirrored += Number(isMirrored);
      for (let p = 0; p < 64; p++) {
        const [row, column] = [p >> 3, p & 7];
        expect(pixel(batch!.images, image, row, column)).toEqual(pixel(before, image, row, isMirrored ? 7 - column : column));
      }
    }
    expect(mirrored).toBeGreaterThan(0);
    expect(mirrored).toBeLessThan(8);
  });
});
