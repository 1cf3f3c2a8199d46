/**
 * Trains the quickstart's teacher from nothing: NCSN++ at 16 px on `shapes`, with EDM's denoising loss.
 *
 *     npx tsx examples/train-teacher.ts [--images 50048] [--cool-down 0] [--run-dir runs/teacher] [--out teacher.safetensors] [--seed 0]
 *
 * About a million parameters. Ctrl-C leaves a checkpoint; the same command goes on from it. With --out it also writes a
 * JSON file of the same name: command, seed, images seen, and the Fréchet distances at one evaluation and at 35.
 */
import {
  Adam,
  charts,
  consoleProgress,
  htmlReport,
  jsonlLog,
  loadImageClassifier,
  openBackend,
  sampleImages,
  saveBackbone,
  stopOnSignals,
  trainTeacher,
  writeFileAtomic,
} from 'onestep';
import { scoreTeacher } from './support/compare.js';
import { runExample } from './support/run-example.js';
import { asset, backbone, trainingSet } from './support/shapes16.js';

const USAGE =
  'npx tsx examples/train-teacher.ts [--images 50048] [--cool-down 0] [--run-dir runs/teacher] [--out teacher.safetensors] [--seed 0]';

const options = {
  images: { type: 'string', default: '50048' },
  'cool-down': { type: 'string', default: '0' },
  'run-dir': { type: 'string', default: 'runs/teacher' },
  out: { type: 'string' },
  seed: { type: 'string', default: '0' },
  'learning-rate': { type: 'string', default: '1e-3' },
} as const;

await runExample(USAGE, options, async (values) => {
  const images = Number(values.images);

  await openBackend();
  const run = trainTeacher({
    backbone,
    data: trainingSet(),
    schedule: { images, batchSize: 64, warmUp: 5_000, coolDown: Number(values['cool-down']) },
    optimizer: new Adam({ learningRate: Number(values['learning-rate']), beta1: 0.9, beta2: 0.999 }),
    seed: Number(values.seed),
    intervals: { checkpoint: 10, snapshot: 50, samples: 20, evaluation: 0 },
    sinks: [consoleProgress(), jsonlLog(), sampleImages({ scale: 4 }), charts(), htmlReport({ title: 'Teacher of the quickstart' })],
    runDir: values['run-dir'],
  });
  stopOnSignals(run);

  const { teacher, reason } = await run.completed;
  if (values.out !== undefined && reason === 'completed') {
    await saveBackbone(values.out, teacher.backbone, { metadata: { onestep: 'teacher' } });
    const classifier = await loadImageClassifier(asset('shapes16-classifier.safetensors'));
    const frechet = await scoreTeacher(teacher.backbone, classifier, 2_000);
    const command = `npx tsx examples/train-teacher.ts --images ${images} --cool-down ${values['cool-down']} --seed ${values.seed} --learning-rate ${values['learning-rate']}`;
    const about = { command, seed: Number(values.seed), images, parameters: teacher.backbone.parameterCount(), frechet };
    await writeFileAtomic(values.out.replace(/\.safetensors$/, '.json'), `${JSON.stringify(about, null, 2)}\n`);
    console.log(about);
  }
  teacher.backbone.dispose();
});
