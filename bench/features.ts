/**
 * The frozen feature networks beside PyTorch with torchvision and timm, on the same threads.
 *
 *     npx tsx bench/features.ts [--batch 4] [--threads 2] [--repeats 5] [--python python3] [--networks vgg16_bn,…] [--rounds 1]
 *
 * Milliseconds, least and median, of: the four maps; those and the gradient for 32x32 images; R1, that is the gradient for a head on each
 * stage of the squared gradient for the images. Both sides take turns, a network at a time; without PyTorch only ours is printed.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { gradients, openBackend, PhiloxRandom, vectorJacobianProduct } from '../src/index.js';
import { Deit, EfficientNetLite, Vgg16Bn, type PretrainedFeatures } from '../src/models/index.js';

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '1' },
    python: { type: 'string', default: 'python3' },
    engine: { type: 'string', default: 'tensorflow' },
    networks: { type: 'string', default: 'vgg16_bn,tf_efficientnet_lite0,deit_base_distilled_patch16_224' },
  },
});
const networks: Record<string, () => PretrainedFeatures> = {
  vgg16_bn: () => new Vgg16Bn(),
  tf_efficientnet_lite0: () => new EfficientNetLite(),
  deit_tiny_distilled_patch16_224: () => new Deit({ variant: 'tiny' }),
  deit_base_distilled_patch16_224: () => new Deit(),
};
const PASSES = ['forward', 'gradient', 'r1'] as const;
type Times = Record<(typeof PASSES)[number], number[]>;

function measure(f: () => tf.TensorContainer): number[] {
  const once = () => {
    const start = performance.now();
    tf.dispose(tf.tidy(f));
    return performance.now() - start;
  };
  once();
  return Array.from({ length: Number(values.repeats) }, once);
}

function ours(create: () => PretrainedFeatures): Times {
  const network = create().initialize(new PhiloxRandom(0));
  const x = tf.randomUniform<tf.Rank.R4>([Number(values.batch), 32, 32, 3], -1, 1, 'float32', 1);
  const heads = network.stages.map(({ channels }) => tf.randomNormal<tf.Rank.R2>([channels, 1], 0, 1 / Math.sqrt(channels)));
  const judged = () =>
    tf.addN(
      network.features(x).map((map, k) => tf.mean(tf.softplus(tf.matMul(tf.reshape(map, [-1, map.shape[3]]), heads[k]!)))),
    ) as tf.Scalar;
  const penalty = () => tf.sum(tf.square(vectorJacobianProduct(judged, [x])[0]!));
  const times: Times = {
    forward: measure(() => {
      const maps = network.features(x);
      maps.at(-1)!.dataSync();
      return maps;
    }),
    gradient: measure(() => gradients(judged, [x])),
    r1: measure(() => gradients(penalty, heads)),
  };
  network.dispose();
  tf.dispose([x, heads]);
  return times;
}

const script = fileURLToPath(new URL('./features.py', import.meta.url));
function pytorch(network: string): Times | undefined {
  const flags = ['--batch', values.batch, '--threads', values.threads, '--repeats', values.repeats, '--network', network];
  const { status, stdout } = spawnSync(values.python, [script, ...flags], { encoding: 'utf8' });
  return status === 0 ? (JSON.parse(stdout.trim().split('\n').at(-1)!) as Times) : undefined;
}

const least = (times: number[]) => Math.min(...times);
const median = (times: number[]) => [...times].sort((a, b) => a - b)[times.length >> 1]!;

const backend = await openBackend({ engine: values.engine as 'tensorflow', threads: Number(values.threads) });
console.log(`${backend.description}; batch ${values.batch}, 224 px; milliseconds, least and median`);
for (const name of values.networks.split(',')) {
  const mine: Times = { forward: [], gradient: [], r1: [] };
  const theirs: Times = { forward: [], gradient: [], r1: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    const [a, b] = [ours(networks[name]!), pytorch(name)];
    for (const pass of PASSES) {
      mine[pass].push(...a[pass]);
      if (b) theirs[pass].push(...b[pass]);
    }
  }
  for (const pass of PASSES) {
    const shown = (times: number[]) =>
      times.length === 0 ? '        -        -' : [least(times), median(times)].map((ms) => ms.toFixed(0).padStart(9)).join('');
    const ratio =
      theirs[pass].length > 0 ? `   speed ${(least(theirs[pass]) / least(mine[pass])).toFixed(2)} of PyTorch's by the least` : '';
    console.log(`${name.padEnd(34)}${pass.padEnd(10)}onestep${shown(mine[pass])}   PyTorch${shown(theirs[pass])}${ratio}`);
  }
}
