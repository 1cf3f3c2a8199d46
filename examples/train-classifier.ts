/**
 * Trains the small classifier whose features measure the Fréchet distance on `shapes`.
 *
 *     npx tsx examples/train-classifier.ts [--images 150000] [--out assets/shapes16-classifier.safetensors] [--seed 0]
 *
 * Prints the accuracy on fresh images; it is written into the file's metadata with command, seed and images.
 */
import { openBackend } from 'onestep';
import { runExample } from './support/run-example.js';
import { trainClassifier } from './support/shapes-classifier.js';
import { evaluationSet, trainingSet } from './support/shapes16.js';

const USAGE = 'npx tsx examples/train-classifier.ts [--images 150000] [--out assets/shapes16-classifier.safetensors] [--seed 0]';

const options = {
  images: { type: 'string', default: '150000' },
  out: { type: 'string', default: 'assets/shapes16-classifier.safetensors' },
  seed: { type: 'string', default: '0' },
} as const;

await runExample(USAGE, options, async (values) => {
  const images = Number(values.images);

  await openBackend();
  const { classifier, accuracy } = await trainClassifier({
    name: 'shapes16-classifier',
    config: { channels: 3, classes: 10, widths: [16, 32, 64], features: 64 },
    images,
    seed: Number(values.seed),
    training: trainingSet(),
    evaluation: evaluationSet(),
    tested: 5_000,
    log: console.log,
  });
  const command = `npx tsx examples/train-classifier.ts --images ${images} --seed ${values.seed}`;
  await classifier.save(values.out, { command, images: String(images), accuracy: accuracy.toFixed(4) });
});
