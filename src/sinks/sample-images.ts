import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { concatMap, filter } from 'rxjs';
import type { SamplesEvent, Sink } from '../core/contracts/events.js';
import { withFileErrors, writeFileAtomic } from '../core/files.js';
import { kimgInFileName } from '../core/kimg.js';
import { imageGrid, type ImageGridOptions } from './image-grid.js';
import { encodePng } from './png.js';

/** The name of the file that `sampleImages` writes at that many images: `samples-000200.png` at 200 kimg. */
export function samplesFileName(images: number): string {
  return `samples-${kimgInFileName(images)}.png`;
}

/**
 * A sink that writes each grid of samples to `samples-<kimg>.png` in the run's directory. Does nothing in a run without a directory.
 *
 * @throws FileError from `attach` where a file cannot be written.
 */
export function sampleImages(options: ImageGridOptions = {}): Sink {
  return {
    name: 'sample-images',
    async attach(events$, { runDir }) {
      if (runDir === undefined) return;
      const written$ = events$.pipe(
        filter((event): event is SamplesEvent => event.kind === 'samples'),
        concatMap(async (event) => {
          await withFileErrors(runDir, 'write', () => mkdir(runDir, { recursive: true }));
          await writeFileAtomic(join(runDir, samplesFileName(event.images)), encodePng(imageGrid(event.batch, event.shape, options)));
        }),
      );
      await written$.forEach(() => {});
    },
  };
}
