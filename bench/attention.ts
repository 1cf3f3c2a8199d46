/**
 * Attention of the networks at their shapes, and its gradient: the fused operation (src/core/native) beside the composed one.
 *
 *     npx tsx bench/attention.ts [--threads 2] [--repeats 9]
 *
 * Medians in milliseconds, the rate in 10^9 operations of the products a second (two forward; four for the gradient, without the
 * scores that the fused one computes again), the ratio, and the relative L2 distance of both.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { attention } from '../src/core/autodiff/index.js';
import { withoutFused } from '../src/core/native/fused.js';
import { openBackend, vectorJacobianProduct } from '../src/index.js';

const { values } = parseArgs({
  options: { threads: { type: 'string', default: '2' }, repeats: { type: 'string', default: '9' } },
});

/** Batch, positions, heads, channels of a head. */
const SHAPES = [
  ['quickstart', 64, 64, 1, 64],
  ['CIFAR-10 NCSN++', 4, 256, 1, 256],
  ['ImageNet-64 ADM, 32 px', 4, 1024, 6, 64],
  ['ImageNet-64 ADM, 16 px', 4, 256, 9, 64],
  ['ImageNet-64 ADM, 8 px', 4, 64, 12, 64],
  ['DeiT base', 4, 198, 12, 64],
  ['DINOv2 ViT-L/14', 4, 257, 16, 64],
] as const;

const { description } = await openBackend({ engine: 'tensorflow', threads: Number(values.threads) });
console.log(`${description}\n\n| network | B, N, heads, C | | composed | | fused | | ratio | distance |\n|${' --- |'.repeat(9)}`);
for (const [name, batch, positions, heads, perHead] of SHAPES) {
  const qkv = tf.randomNormal<tf.Rank.R3>([batch, positions, 3 * heads * perHead]);
  const dy = tf.randomNormal([batch, positions, heads * perHead]);
  const forward = () => attention(qkv, { heads });
  const both = () => vectorJacobianProduct(forward, [qkv], dy)[0]!;
  for (const [what, run, products] of [
    ['forward', forward, 2],
    ['forward, gradient', both, 6],
  ] as const) {
    const times: [number[], number[]] = [[], []];
    let distance = NaN;
    for (let repeat = -1; repeat < Number(values.repeats); repeat++) {
      const [a, b] = [() => withoutFused(run), run].map((way, k) => {
        const start = performance.now();
        const result = way();
        if (repeat >= 0) times[k]!.push(performance.now() - start);
        return result;
      }) as [tf.Tensor, tf.Tensor];
      if (repeat < 0) distance = tf.tidy(() => tf.div(tf.norm(tf.sub(a, b)), tf.norm(a)).dataSync()[0]!);
      tf.dispose([a, b]);
    }
    const [before, after] = times.map((list) => list.sort((a, b) => a - b)[list.length >> 1]!) as [number, number];
    const operations = (2 * products * batch * heads * positions ** 2 * perHead) / 1e6;
    const row = [before, after].flatMap((ms) => [ms.toFixed(2), (operations / ms).toFixed(0)]);
    const cells = [
      name,
      [batch, positions, heads, perHead].join(', '),
      what,
      ...row,
      (before / after).toFixed(2),
      distance.toExponential(1),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  tf.dispose([qkv, dy]);
}
