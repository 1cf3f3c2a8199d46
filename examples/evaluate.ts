/**
 * Scores the shipped teacher, or a student of the quickstart, on the procedural shapes: in figures, and on a page to look at.
 *
 *     npx tsx examples/evaluate.ts [STUDENT] [--images 256] [--steps 10] [--seeds 0,1] [--out runs/evaluation]
 *
 * STUDENT is a path such as runs/quickstart/student.safetensors; without one the teacher is scored, by its sampler.
 * Ctrl-C leaves what is done; the same command goes on from it.
 */
import { join } from 'node:path';
import { evaluate, loadImageClassifier, openBackend, OnestepError, shapes } from 'onestep';
import { count, runExample } from './support/run-example.js';
import { asset } from './support/shapes16.js';

const USAGE = 'npx tsx examples/evaluate.ts [STUDENT] [--images 256] [--steps 10] [--seeds 0,1] [--out runs/evaluation]';

const options = {
  images: { type: 'string', default: '256' },
  steps: { type: 'string', default: '10' },
  seeds: { type: 'string', default: '0,1' },
  out: { type: 'string', default: 'runs/evaluation' },
} as const;

await runExample(
  USAGE,
  options,
  async (values, [student]) => {
    const backend = await openBackend();
    console.log(`engine: ${backend.description}`);
    const classifier = await loadImageClassifier(asset('shapes16-classifier.safetensors'));
    const interruption = new AbortController();
    process.once('SIGINT', () => interruption.abort());
    try {
      const { metrics, seconds } = await evaluate({
        ...(student === undefined
          ? { teacher: asset('shapes16-teacher.safetensors'), steps: count('steps', values.steps, 1) }
          : { student }),
        against: shapes({ resolution: 16, size: 2_000, split: 'evaluation' }),
        extractors: classifier,
        metrics: ['fid', 'is', 'precision', 'coverage'],
        images: count('images', values.images, 10),
        seeds: values.seeds.split(',').map((seed) => count('seeds', seed, 0)),
        gallery: { nearest: 100 },
        outDir: values.out,
        signal: interruption.signal,
        onProgress: ({ phase, name, done, count: of }) => {
          if (done === of) console.log(`${phase}: ${name}`);
        },
      });
      for (const [name, { mean, spread, min }] of Object.entries(metrics))
        console.log(`${name.padEnd(24)}${mean.toFixed(3).padStart(10)} ± ${spread.toFixed(3)}, lowest ${min.toFixed(3)}`);
      console.log(`${seconds.toFixed(0)} s; see ${join(values.out, 'evaluation.html')}`);
    } catch (error) {
      if (!(error instanceof OnestepError) || error.code !== 'E_RUN_STOPPED') throw error;
      console.log('stopped; the same command goes on from here');
      process.exitCode = 130;
    } finally {
      classifier.dispose();
    }
  },
  1,
);
