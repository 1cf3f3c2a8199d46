/**
 * What lies between the convolutions of a U-Net, operation by operation, beside PyTorch's eager ones on the same threads.
 *
 *     npx tsx bench/memory-bound.ts [--threads 2] [--repeats 41] [--python python3]
 *
 * Milliseconds, median and least; PyTorch's (bench/pytorch/memory_bound.py) in its faster memory format. Without PyTorch only
 * ours is printed.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { runFused } from '../src/core/native/fused.js';
import { openBackend } from '../src/index.js';
import { median } from './support/results.js';

const { values } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '41' },
    python: { type: 'string', default: 'python3' },
  },
});

/** Batch, height and width, channels: the quickstart's levels, a concatenation, CIFAR-10's and ImageNet-64's first. */
const SHAPES = [
  [64, 16, 32],
  [64, 8, 64],
  [64, 16, 96],
  [4, 32, 128],
  [4, 64, 192],
] as const;

type Times = Record<string, [median: number, least: number]>;

function measure(f: () => tf.TensorContainer): [number, number] {
  const times: number[] = [];
  for (let i = -5; i < Number(values.repeats); i++) {
    const start = performance.now();
    const result = f();
    if (i >= 0) times.push(performance.now() - start);
    tf.dispose(result);
  }
  return [median(times), Math.min(...times)];
}

function ours(batch: number, size: number, channels: number): Times {
  const shape = [batch, size, size, channels];
  const [x, dy] = [tf.randomNormal(shape), tf.randomNormal(shape)];
  const half = tf.randomNormal([batch, size / 2, size / 2, channels]);
  const modulation = [tf.randomNormal([batch, 1, 1, channels]), tf.randomNormal([batch, 1, 1, channels])];
  const [gamma, beta] = [tf.ones([channels]), tf.zeros([channels])];
  const averages = tf.tensor2d(
    Array.from({ length: size / 2 }, (_, o) => Array.from({ length: size }, (_, i) => (i >> 1 === o ? 0.5 : 0))),
  );
  const attributes = (modulated: boolean) => ({
    integers: { groups: Math.min(32, channels / 4), N: modulated ? 2 : 0 },
    floats: { epsilon: 1e-5 },
    flags: { silu: true, has_scale: modulated, has_shift: modulated, has_offset: false },
  });
  const norm = (modulated: boolean) =>
    runFused('OnestepGroupNorm', [x, gamma, beta, ...(modulated ? modulation : [])], attributes(modulated), 3);
  const resample = (of: tf.Tensor, transposed: boolean) =>
    runFused('OnestepResample', [of, averages, averages], { flags: { transposed } }, 1);
  const [, mean, rstd] = norm(false) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const times: Times = {
    'group norm, SiLU': measure(() => norm(false)),
    'group norm, scale, shift, SiLU': measure(() => norm(true)),
    'group norm, SiLU: gradient': measure(() => runFused('OnestepGroupNormGrad', [dy, x, gamma, beta, mean, rstd], attributes(false), 3)),
    '(a + b + bias) scale': measure(() => runFused('OnestepResidual', [x, dy, beta], { floats: { scale: Math.SQRT1_2 } }, 1)),
    'half the size': measure(() => resample(x, false)),
    'twice the size': measure(() => resample(half, true)),
    concatenation: measure(() => tf.concat([x, dy], 3)),
    'a half of the channels': measure(() => tf.slice(x, [0, 0, 0, 0], [-1, -1, -1, channels / 2])),
    'sum over pixels': measure(() => tf.sum(dy, [0, 1, 2])),
  };
  return times;
}

function pytorch(...shape: number[]): Times | undefined {
  const script = fileURLToPath(new URL('./pytorch/memory_bound.py', import.meta.url));
  const { status, stdout } = spawnSync(values.python, [script, values.threads, values.repeats, ...shape.map(String)], { encoding: 'utf8' });
  return status === 0 ? (JSON.parse(stdout.trim().split('\n').at(-1)!) as Times) : undefined;
}

const { description } = await openBackend({ engine: 'tensorflow', threads: Number(values.threads) });
console.log(description);
const show = (times?: [number, number]) => (times ? times.map((ms) => ms.toFixed(3)).join(' | ') : ' | ');
for (const [batch, size, channels] of SHAPES) {
  const [mine, theirs] = [tf.tidy(() => ours(batch, size, channels)), pytorch(batch, size, channels)];
  console.log(`\n| [${[batch, size, size, channels].join(', ')}] | onestep | least | PyTorch | least |\n|${' --- |'.repeat(5)}`);
  for (const [name, times] of Object.entries(mine)) console.log(`| ${name} | ${show(times)} | ${show(theirs?.[name])} |`);
}
