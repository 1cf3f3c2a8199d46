/** A small distillation as a process of its own, for tests that interrupt it: `tiny-run.ts RUN_DIR IMAGES [CHECKPOINT_KIMG]`. */
import 'reflect-metadata';
import { distill, jsonlLog, OnestepError, openBackend, stopOnSignals } from '../../src/index.js';
import { tinyRun } from './tiny.js';

const [, , runDir, images, checkpoint = '0.016'] = process.argv;
await openBackend({ engine: 'wasm' });
const run = distill(
  tinyRun({
    images: Number(images),
    runDir,
    intervals: { checkpoint: Number(checkpoint), snapshot: 0, samples: 0, evaluation: 0 },
    sinks: [jsonlLog()],
  }),
);
stopOnSignals(run);
run.events$.subscribe((event) => {
  if (event.kind === 'step' || event.kind === 'started' || event.kind === 'checkpoint') console.log(event.kind, event.step);
});
try {
  const { reason } = await run.completed;
  console.log(reason);
} catch (error) {
  console.log(error instanceof OnestepError ? error.code : String(error));
  process.exitCode = 1;
}
