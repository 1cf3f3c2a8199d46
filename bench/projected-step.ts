/**
 * The three steps of the CIFAR-10 recipe at full size beside PyTorch's with torchvision and timm, on the same threads.
 *
 *     npx tsx bench/projected-step.ts [--batch 4] [--micro-batch 4] [--threads 2] [--repeats 5] [--python python3] [--networks vgg16_bn,…] [--profile [--shapes]]
 *
 * NCSN++ at 32 px with GDD-I's frozen convolutions, VGG16-BN and EfficientNet-lite0 at 224 px, projections, heads, Adam; random
 * weights. Both sides live at the same time and take turns, a step at a time; milliseconds, least and median. PyTorch's side
 * is projected_step.py; without PyTorch only ours is printed. `--profile` prints where our time goes instead,
 * with `--shapes` by the shapes of convolutions. `--repeats 0` runs each step once, ours alone: for the memory of a large batch.
 */
import { spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {
  Adam,
  applyFreezePolicy,
  createBackbone,
  Distributional,
  freezeConvolutions,
  generateOneStep,
  noAugmentation,
  nonSaturating,
  openBackend,
  PhiloxRandom,
  r1,
  type RealImages,
} from '../src/index.js';
import { EfficientNetLite, ProjectedDiscriminator, publishedBackbones, Vgg16Bn } from '../src/models/index.js';
import { drawLatents, generatorStage } from '../src/pipelines/generator-stage.js';
import { profile } from './profile.js';

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '4' },
    'micro-batch': { type: 'string' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '5' },
    python: { type: 'string', default: 'python3' },
    networks: { type: 'string', default: 'vgg16_bn,tf_efficientnet_lite0' },
    profile: { type: 'boolean', default: false },
    shapes: { type: 'boolean', default: false },
  },
});
const batch = Number(values.batch);
const STEPS = ['generator', 'discriminator', 'r1'] as const;
type Step = (typeof STEPS)[number];

const backend = await openBackend({ engine: 'tensorflow', threads: Number(values.threads) });
console.log(`${backend.description}; batch ${batch}; load average ${loadavg()[0]!.toFixed(1)} before`);
const random = new PhiloxRandom(0);
const generator = createBackbone({ ...publishedBackbones['cifar10-ncsnpp-uncond'], augment_dim: 0 }).initialize(random);
applyFreezePolicy(generator.parameters(), freezeConvolutions());
const create = { vgg16_bn: () => new Vgg16Bn(), tf_efficientnet_lite0: () => new EfficientNetLite() };
const features = values.networks.split(',').map((name) => create[name as keyof typeof create]().initialize(random));
const discriminator = new ProjectedDiscriminator({ name: 'teacher', backbone: generator }, random, { features, nominalSize: 128 });
const objective = new Distributional(
  discriminator,
  nonSaturating(),
  [r1()],
  noAugmentation,
  new Adam({ learningRate: 1e-4 }),
  (_, count) => tf.tidy(() => generateOneStep(generator, drawLatents(generator, random, count))),
  { reduction: 'mean', augmentRegularizers: false },
);
const adam = new Adam({ learningRate: 1e-4 });
adam.bind(generator.parameters());
const images = tf.randomUniform<tf.Rank.R4>([batch, 32, 32, 3], -1, 1, 'float32', 0);
const microBatch = Number(values['micro-batch'] ?? batch);
const microBatches = Array.from({ length: Math.ceil(batch / microBatch) }, (_, i): RealImages => {
  const count = Math.min(microBatch, batch - i * microBatch);
  return {
    batch: count,
    images: () => tf.slice(images, [i * microBatch, 0, 0, 0], [count, -1, -1, -1]),
    classLabels: () => undefined,
  };
});
const context = { step: 0, imagesSeen: 0, batchSize: batch, learningRateScale: 1, microBatches, random };
const stages = [generatorStage(generator, objective, adam), ...objective.stages];
const ours = (step: Step) => {
  const start = performance.now();
  void stages[STEPS.indexOf(step)]!.run(context);
  return performance.now() - start;
};

/** PyTorch's side, which runs a step when it is told to; undefined without PyTorch. */
async function pytorch(): Promise<{ run(step: Step): Promise<number>; end(): void } | undefined> {
  const script = fileURLToPath(new URL('./projected_step.py', import.meta.url));
  const flags = ['--batch', values.batch, '--threads', values.threads, '--networks', values.networks];
  const child = spawn(values.python, [script, ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.on('error', () => undefined);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) return undefined;
  if (first.value !== sizes) throw new Error(`PyTorch trains ${first.value} parameters`);
  return {
    run: async (step) => {
      child.stdin.write(`${step}\n`);
      const line = await lines.next();
      if (line.done) throw new Error(`PyTorch's ${step} step failed`);
      return Number(line.value);
    },
    end: () => child.stdin.end(),
  };
}

const trained = (parameters: readonly { trainable: boolean; shape: readonly number[] }[]) =>
  parameters.filter(({ trainable }) => trainable).reduce((sum, { shape }) => sum + tf.util.sizeFromShape([...shape]), 0);
const sizes = [generator, discriminator].map((module) => trained(module.parameters())).join(' ');
console.log(`trained parameters, generator and discriminator: ${sizes}`);

if (values.profile) {
  for (const step of STEPS) {
    ours(step);
    console.log(`${step}: ${ours(step).toFixed(0)} ms`);
    profile(() => void ours(step), values.shapes ? 40 : 16, { shapes: values.shapes });
  }
} else {
  const other = Number(values.repeats) > 0 ? await pytorch() : undefined;
  const times = { onestep: new Map<Step, number[]>(), PyTorch: new Map<Step, number[]>() };
  // The first round makes what is kept: primitives, memory.
  for (let round = -1; round < Number(values.repeats); round++)
    for (const step of STEPS) {
      const [mine, theirs] = [ours(step), await other?.run(step)];
      if (round < 0) {
        if (Number(values.repeats) === 0) console.log(`${step}: ${(mine / 1000).toFixed(1)} s`);
        continue;
      }
      times.onestep.set(step, [...(times.onestep.get(step) ?? []), mine]);
      if (theirs !== undefined) times.PyTorch.set(step, [...(times.PyTorch.get(step) ?? []), theirs]);
    }
  other?.end();
  if (Number(values.repeats) > 0) table();
  console.log(
    `load average ${loadavg()[0]!.toFixed(1)} after; peak memory of ours ${(process.resourceUsage().maxRSS / 2 ** 10).toFixed(0)} MiB`,
  );

  function table(): void {
    const summary = (list: number[]) => ({ least: Math.min(...list), median: [...list].sort((a, b) => a - b)[list.length >> 1]! });
    console.log(`| step | onestep: least | median | PyTorch: least | median | speed of PyTorch's, by medians |\n|${' --- |'.repeat(6)}`);
    for (const step of STEPS) {
      const [mine, theirs] = [times.onestep.get(step)!, times.PyTorch.get(step)].map((list) => list && summary(list));
      const row = [mine!.least, mine!.median, theirs?.least, theirs?.median].map((ms) => (ms === undefined ? '-' : `${ms.toFixed(0)} ms`));
      console.log(`| ${[step, ...row, theirs ? (theirs.median / mine!.median).toFixed(2) : '-'].join(' | ')} |`);
    }
  }
}
