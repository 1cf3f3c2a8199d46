import { decode } from 'fast-png';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EMPTY, Subject, of } from 'rxjs';
import { expect, it } from 'vitest';
import type { RunEvent } from '../core/contracts/events.js';
import { FileError } from '../core/errors.js';
import { imageGrid } from './image-grid.js';
import { sampleImages } from './sample-images.js';
import { ended, samples, step, temporaryDirectory } from './testing.js';

it('writes a grid for each samples event and nothing else, also when they come at once', async () => {
  const runDir = join(await temporaryDirectory(), 'new');
  const first = samples(0);
  await sampleImages().attach(of<RunEvent[]>(first, step(100), samples(12_800), ended(12_800)), { runDir });
  expect((await readdir(runDir)).sort()).toEqual(['samples-000000.png', 'samples-000012.8.png']);
  const decoded = decode(await readFile(join(runDir, 'samples-000000.png')));
  const grid = imageGrid(first.batch, first.shape);
  expect([decoded.width, decoded.height]).toEqual([grid.width, grid.height]);
  expect(new Uint8Array(decoded.data)).toEqual(grid.data);
});

it('listens before attach returns', async () => {
  const runDir = await temporaryDirectory();
  const events$ = new Subject<RunEvent>();
  const attached = sampleImages({ scale: 1 }).attach(events$, { runDir });
  events$.next(samples(1000));
  events$.complete();
  await attached;
  expect(await readdir(runDir)).toEqual(['samples-000001.png']);
});

it('does nothing without a directory or without samples', async () => {
  await sampleImages().attach(of(samples(0)), { runDir: undefined });
  const runDir = await temporaryDirectory();
  await sampleImages().attach(EMPTY, { runDir });
  expect(await readdir(runDir)).toEqual([]);
});

it('passes on what goes wrong', async () => {
  const runDir = await temporaryDirectory();
  const odd = { ...samples(0), shape: [1, 2, 3, 3] as const };
  await expect(sampleImages().attach(of(odd), { runDir })).rejects.toThrow('imageGrid: expected');
  await sampleImages().attach(of(samples(0)), { runDir });
  await expect(sampleImages().attach(of(samples(0)), { runDir: join(runDir, 'samples-000000.png') })).rejects.toThrow(FileError);
});
