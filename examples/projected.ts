/**
 * The paper's discriminator at a size for two CPU cores: GDD-I judged by projected features of a network that is trained here.
 *
 *     npx tsx examples/projected.ts [--images 6400] [--teacher REFERENCE] [--run-dir runs/projected] [--fresh] …
 *
 * From nothing, on `shapes` at 32 px: a classifier whose feature maps the discriminator judges, a second one behind the Fréchet
 * distance (so that the student is not measured by what it was trained against), a teacher (NCSN++, 0.72 million parameters), and
 * the student. What exists is reused. Leaves report.json, report.html, comparison.png, samples, events and the student in RUN-DIR/gdd-i.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  charts,
  classifierFeatures,
  consoleProgress,
  distill,
  htmlReport,
  jsonlLog,
  openBackend,
  projected,
  sampleImages,
  teacher,
} from 'onestep';
import { compare } from './support/compare.js';
import { recipe } from './support/recipe.js';
import { writeResults } from './support/results.js';
import { count, finished, runExample } from './support/run-example.js';
import { keptClassifier } from './support/shapes-classifier.js';
import { keptTeacher } from './support/shapes-teacher.js';
import * as shapes32 from './support/shapes32.js';

const USAGE = `npx tsx examples/projected.ts [--images 6400] [--teacher REFERENCE] [--run-dir runs/projected] [--fresh]

--images             images of the distillation
--teacher            a teacher of 32 px, by path, published name, address or hf:owner/name; default: one is trained
--teacher-images     images that the trained teacher sees
--classifier-images  images that each of the two classifiers sees
--evaluated          images of each generator that are compared
--batch-size         images of an iteration; those given are a multiple of it
--run-dir            where everything lies; --seed chooses what is random
--fresh              distils anew; classifiers and teacher stay (remove the run directory for new ones)

Ctrl-C leaves a checkpoint of teacher or student; the same command goes on from it.`;

const options = {
  images: { type: 'string' },
  teacher: { type: 'string' },
  'teacher-images': { type: 'string' },
  'classifier-images': { type: 'string', default: '25600' },
  evaluated: { type: 'string' },
  'batch-size': { type: 'string', default: '32' },
  'run-dir': { type: 'string', default: 'runs/projected' },
  seed: { type: 'string', default: '0' },
  fresh: { type: 'boolean', default: false },
} as const;

await runExample(USAGE, options, async (values) => {
  const start = performance.now();
  const backend = await openBackend();
  console.log(`engine: ${backend.description}`);
  const fast = backend.name === 'tensorflow';
  // On engines without native TensorFlow the same recipe runs on a smaller budget.
  const images = count('images', values.images ?? (fast ? '6400' : '640'), 1);
  const teacherImages = count('teacher-images', values['teacher-images'] ?? (fast ? '16000' : '1600'), 1);
  const evaluated = count('evaluated', values.evaluated ?? (fast ? '500' : '128'), 32);
  const batchSize = count('batch-size', values['batch-size'], 1);
  const seed = count('seed', values.seed, 0);
  const runDir = join(values['run-dir'], 'gdd-i');
  if (values.fresh) await rm(runDir, { recursive: true, force: true });

  const kept = (name: string, widths: number[], own: number) =>
    keptClassifier(join(values['run-dir'], `${name}.safetensors`), {
      name,
      config: { channels: 3, classes: 10, widths, features: 64 },
      colours: true,
      images: count('classifier-images', values['classifier-images'], 128),
      seed: seed + own,
      training: shapes32.trainingSet(),
      evaluation: shapes32.evaluationSet(),
      tested: 2_000,
      log: console.log,
    });
  const features = await kept('features', [16, 32, 64, 64], 1_000);
  const judge = await kept('judge', [16, 32, 64], 2_000);

  const reference =
    values.teacher ?? (await keptTeacher({ path: join(values['run-dir'], 'teacher.safetensors'), images: teacherImages, batchSize, seed }));
  const loader = teacher(reference);

  const began = performance.now();
  // Maps of 32, 16, 8 and 4 px, which the projection doubles. The finest matters: what sees no single pixels lets noise pass.
  const discriminator = projected([classifierFeatures(features, { size: 32 })], { nominalSize: 128, widths: [16, 32, 64, 64] });
  const run = distill({
    ...recipe({ images, seed, teacher: loader, data: shapes32.trainingSet(), discriminator, batchSize, learningRate: 1e-3 }),
    intervals: { checkpoint: 2, snapshot: 0, samples: images / 5_000, evaluation: 0 },
    sinks: [consoleProgress(), jsonlLog(), sampleImages({ scale: 3 }), charts(), htmlReport({ title: 'GDD-I, projected discriminator' })],
    sampleCount: 32,
    runDir,
  });
  const { student, freeze } = await finished(run);
  const training = images / ((performance.now() - began) / 1000);

  const comparison = await compare({ student, classifier: judge, teacher: loader, sets: shapes32, images: evaluated, log: console.log });
  const report = { backend: backend.name, seconds: (performance.now() - start) / 1000, images };
  await writeResults({ runDir, student, comparison, report, training, frozenShare: freeze.frozenShare });
  for (const network of [student, features, judge]) network.dispose();
});
