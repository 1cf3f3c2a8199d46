/**
 * The main job, small: distils a diffusion teacher into a one-step generator (GDD-I) and compares them.
 *
 *     npm run quickstart [-- --images 6400] [--run-dir runs/quickstart] [--seed 0] [--fresh]
 *
 * The teacher (NCSN++, 1.04 million parameters, 16 px) and the classifier behind the Fréchet distance come with the
 * package. Leaves report.json, report.html, comparison.png, charts, events and the student in the run directory.
 * Ctrl-C leaves a checkpoint; the same command goes on from it.
 */
import { rm } from 'node:fs/promises';
import { charts, consoleProgress, distill, htmlReport, jsonlLog, loadImageClassifier, openBackend, sampleImages } from 'onestep';
import { compare } from './support/compare.js';
import { recipe } from './support/recipe.js';
import { writeResults } from './support/results.js';
import { finished, runExample } from './support/run-example.js';
import { asset } from './support/shapes16.js';

const USAGE =
  'npm run quickstart [-- --images 6400] [--run-dir runs/quickstart] [--seed 0] [--fresh]\n\n--fresh removes the run directory first; without it an interrupted run goes on.';

const options = {
  images: { type: 'string' },
  'run-dir': { type: 'string', default: 'runs/quickstart' },
  seed: { type: 'string', default: '0' },
  fresh: { type: 'boolean', default: false },
} as const;

await runExample(USAGE, options, async (values) => {
  const runDir = values['run-dir'];
  if (values.fresh) await rm(runDir, { recursive: true, force: true });

  const backend = await openBackend();
  console.log(`engine: ${backend.description}`);
  const start = performance.now();
  // On engines without native TensorFlow the same recipe runs on a smaller budget.
  const images = Number(values.images ?? (backend.name === 'tensorflow' ? 6_400 : 1_280));
  const evaluated = backend.name === 'tensorflow' ? 2_000 : 256;

  const run = distill({
    ...recipe({ images, seed: Number(values.seed) }),
    intervals: { checkpoint: 5, snapshot: 0, samples: images / 5_000, evaluation: 0 },
    sinks: [consoleProgress(), jsonlLog(), sampleImages({ scale: 4 }), charts(), htmlReport({ title: 'onestep quickstart' })],
    runDir,
  });
  const { student, freeze } = await finished(run);
  const trained = performance.now();

  const classifier = await loadImageClassifier(asset('shapes16-classifier.safetensors'));
  const comparison = await compare({ student, classifier, images: evaluated, log: console.log });
  await writeResults({
    runDir,
    student,
    comparison,
    report: { backend: backend.name, seconds: (performance.now() - start) / 1000, images },
    training: images / ((trained - start) / 1000),
    frozenShare: freeze.frozenShare,
  });
  student.dispose();
  classifier.dispose();
});
