/**
 * Training steps of the quickstart's network beside PyTorch's, in one run on the same cores.
 *
 *     npm run bench [-- --batch 64] [--threads 2] [--repeats 9] [--python python3] [--rounds 3] [--memory]
 *
 * Medians of the EDM training step, the GDD-I iteration, R1 and one-step sampling; the two sides take turns, `rounds`
 * times, and the median of the rounds counts. PyTorch's side is train_step.py; without PyTorch only ours is printed.
 * `--memory` runs 300 GDD-I iterations and prints the growth of the resident memory and of the number of tensors;
 * `--profile` prints where the time goes (`--shapes`: by the shapes of convolutions); `--rounds 0` leaves the comparison out.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {
  Adam,
  createBackbone,
  denoisingLoss,
  Distributional,
  noAugmentation,
  Ema,
  EncoderDiscriminator,
  applyFreezePolicy,
  freezeConvolutions,
  generateOneStep,
  nonSaturating,
  openBackend,
  PhiloxRandom,
  r1,
  valueAndGradients,
  type Objective,
  type RealImages,
} from '../src/index.js';
import { drawLatents, generatorStage } from '../src/pipelines/generator-stage.js';
import { backbone as config } from '../examples/support/shapes16.js';
import { profile } from './profile.js';

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '64' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '9' },
    rounds: { type: 'string', default: '3' },
    python: { type: 'string', default: 'python3' },
    engine: { type: 'string', default: 'tensorflow' },
    memory: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    shapes: { type: 'boolean', default: false },
  },
});
const [batch, threads, repeats, rounds] = [values.batch, values.threads, values.repeats, values.rounds].map(Number) as [
  number,
  number,
  number,
  number,
];
const SIGMAS = [0.1, 0.5, 2];

const backend = await openBackend({ engine: values.engine as 'tensorflow', threads });
console.log(backend.description);
const random = new PhiloxRandom(0);
const network = createBackbone(config).initialize(random);
const teacher = createBackbone(config).copyFrom(network);
const images = tf.randomUniform<tf.Rank.R4>([batch, 16, 16, 3], -1, 1, 'float32', 0);
const real: RealImages = { batch, images: () => images.clone(), classLabels: () => undefined };
const step = { step: 0, imagesSeen: 0, batchSize: batch, learningRateScale: 1, microBatches: [real], random };

/** EDM step: loss, gradients, Adam, EMA. */
function edm(): () => void {
  const adam = new Adam({ learningRate: 1e-4, beta1: 0.9, beta2: 0.999 });
  adam.bind(network.parameters());
  const ema = new Ema();
  ema.bind(network.parameters());
  return () =>
    tf.tidy(() => {
      const { value, gradients } = valueAndGradients(
        () => denoisingLoss(network, images, random),
        network.parameters().map((parameter) => parameter.value),
      );
      adam.step(gradients);
      ema.update(1_000_000, batch);
      value.dataSync();
    });
}

/** GDD-I iteration: generator, discriminator, EMA; and R1 by itself. */
function gdd(): { iteration: () => void; r1: () => void } {
  applyFreezePolicy(network.parameters(), freezeConvolutions());
  const discriminator = new EncoderDiscriminator({ name: 'teacher', backbone: teacher }, random, {
    sigmas: SIGMAS,
    levels: 'split',
    end: 4,
  });
  const generate = (_: unknown, count: number) => tf.tidy(() => generateOneStep(network, drawLatents(network, random, count)));
  const objective: Objective = new Distributional(
    discriminator,
    nonSaturating(),
    [r1()],
    noAugmentation,
    new Adam({ learningRate: 1e-4 }),
    generate,
    {
      reduction: 'mean',
      augmentRegularizers: false,
    },
  );
  const adam = new Adam({ learningRate: 1e-4 });
  adam.bind(network.parameters());
  const ema = new Ema();
  ema.bind(network.parameters());
  const stages = [generatorStage(network, objective, adam), objective.stages[0]!];
  return {
    iteration: () => {
      for (const stage of stages) stage.run(step);
      ema.update(1_000_000, batch);
    },
    r1: () => void objective.stages[1]!.run(step),
  };
}

function median(times: number[]): number {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

function measure(f: () => void, count = repeats, warmup = 3): number {
  for (let i = 0; i < warmup; i++) f();
  return median(
    Array.from({ length: count }, () => {
      const start = performance.now();
      f();
      return performance.now() - start;
    }),
  );
}

function memory(f: () => void): void {
  for (let i = 0; i < 20; i++) f();
  const [rss, tensors] = [process.memoryUsage().rss, tf.memory().numTensors];
  for (let i = 0; i < 300; i++) f();
  const growth = (process.memoryUsage().rss / rss - 1) * 100;
  console.log(
    `300 iterations: resident memory ${(rss / 2 ** 20).toFixed(0)} MiB, grew by ${growth.toFixed(1)}%; tensors grew by ${tf.memory().numTensors - tensors}`,
  );
}

type Figures = { edmStep: number; gddIteration: number; r1Step: number; oneStep: number };
const oneStep = () => {
  const latents = drawLatents(network, random, batch);
  tf.dispose([latents, generateOneStep(network, latents)]);
};
const edmStep = edm();
// Figures of the EDM step come first: GDD-I freezes most of the network.
const ours: Figures[] = [];
const theirs: Figures[] = [];
const script = fileURLToPath(new URL('./train_step.py', import.meta.url));
const pytorch = (): Figures | undefined => {
  const { status, stdout } = spawnSync(
    values.python,
    [script, '--threads', String(threads), '--batch', String(batch), '--repeats', String(repeats)],
    { encoding: 'utf8' },
  );
  return status === 0 ? (JSON.parse(stdout.trim().split('\n').at(-1)!) as Figures) : undefined;
};
for (let round = 0; round < rounds; round++) {
  for (const parameter of network.parameters()) parameter.trainable = true;
  const edmMilliseconds = measure(edmStep);
  const { iteration, r1: penalty } = gdd();
  ours.push({
    edmStep: edmMilliseconds,
    gddIteration: measure(iteration),
    r1Step: measure(penalty, Math.max(3, repeats / 3), 1),
    oneStep: measure(oneStep),
  });
  const other = pytorch();
  if (other) theirs.push(other);
}
if (rounds > 0) console.log(`batch ${batch}, ${threads} threads, medians of ${repeats}, median of ${rounds} rounds; milliseconds`);
for (const key of rounds > 0 ? (['edmStep', 'gddIteration', 'r1Step', 'oneStep'] as const) : []) {
  const mine = median(ours.map((figures) => figures[key]));
  const other = theirs.length > 0 ? median(theirs.map((figures) => figures[key])) : undefined;
  console.log(
    `${key.padEnd(14)} onestep ${mine.toFixed(1).padStart(8)}   ${other ? `PyTorch ${other.toFixed(1).padStart(8)}   speed ${(other / mine).toFixed(2)} of PyTorch's` : 'PyTorch not found'}`,
  );
}
const { iteration } = gdd();
if (values.profile) {
  for (const [name, f] of Object.entries({ 'EDM step': edmStep, 'GDD-I iteration': iteration })) {
    f();
    console.log(`${name}:`);
    profile(f, values.shapes ? 40 : 16, { shapes: values.shapes });
  }
}
if (values.memory) memory(iteration);
