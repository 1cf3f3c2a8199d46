/**
 * Convolutions of the published networks and their gradients: Winograd's (src/core/native) beside oneDNN's, operation by operation.
 *
 *     npx tsx bench/convolutions.ts [--threads 2] [--repeats 5]
 *
 * Medians in milliseconds, the rate in 10^9 operations of the direct sum a second, the ratio, and the relative L2 distance of both.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { oneDnnConv2D, oneDnnConv2DBackpropFilter, oneDnnConv2DBackpropInput } from '../src/core/autodiff/kernels/onednn.js';
import { executeTensorflow } from '../src/core/autodiff/native.js';
import { winograd, winogradBackpropFilter, winogradBackpropInput } from '../src/core/native/winograd.js';
import { openBackend } from '../src/index.js';

const { values } = parseArgs({
  options: { threads: { type: 'string', default: '2' }, repeats: { type: 'string', default: '5' } },
});

/** Batch, height and width, input channels, output channels, stride. */
const SHAPES = [
  [64, 16, 32, 32, 1],
  [64, 8, 64, 64, 1],
  [4, 8, 256, 256, 1],
  [4, 16, 256, 256, 1],
  [4, 32, 256, 256, 1],
  [1, 64, 192, 192, 1],
  [4, 16, 576, 576, 1],
  [4, 8, 768, 768, 1],
  [4, 224, 64, 64, 1],
  [4, 112, 128, 128, 1],
  [4, 56, 256, 256, 1],
  [4, 28, 512, 512, 1],
  [4, 14, 512, 512, 1],
  [4, 7, 256, 256, 1],
  [4, 224, 64, 64, 2],
  [4, 112, 64, 128, 2],
  [4, 56, 128, 256, 2],
  [4, 28, 256, 512, 2],
  [4, 14, 256, 512, 2],
  [4, 14, 512, 512, 2],
] as const;

const { description } = await openBackend({ engine: 'tensorflow', threads: Number(values.threads) });
console.log(`${description}\n\n| B, H = W, C, K, stride | gradient | oneDNN | | Winograd | | ratio | distance |\n|${' --- |'.repeat(8)}`);
for (const [batch, size, inputs, outputs, stride] of SHAPES) {
  const side = stride === 1 ? 3 : 4;
  const [x, filter] = [tf.randomNormal([batch, size, size, inputs]), tf.randomNormal([side, side, inputs, outputs])];
  const dy = tf.randomNormal([batch, size / stride, size / stride, outputs]);
  const attrs = { strides: stride, pad: 'same', inputShape: x.shape, filterShape: filter.shape };
  const stock = { strides: [1, stride, stride, 1], padding: 'SAME' };
  const filterShape = tf.tensor1d(filter.shape, 'int32');
  const ways: [string, () => tf.Tensor | undefined, () => tf.Tensor | undefined][] = [
    ['', () => oneDnnConv2D(x, filter, attrs), () => winograd(x, filter, attrs)],
    ['images', () => oneDnnConv2DBackpropInput(dy, filter, attrs), () => winogradBackpropInput(dy, filter, attrs)],
    [
      'filter',
      () => oneDnnConv2DBackpropFilter(x, dy, attrs) ?? executeTensorflow('Conv2DBackpropFilter', [x, filterShape, dy], stock),
      () => winogradBackpropFilter(x, dy, attrs),
    ],
  ];
  for (const [name, theirs, ours] of ways) {
    const times: [number[], number[]] = [[], []];
    let distance = NaN;
    for (let repeat = -1; repeat < Number(values.repeats); repeat++) {
      const results = [theirs, ours].map((way, k) => {
        const start = performance.now();
        const result = way();
        if (repeat >= 0 && result) times[k]!.push(performance.now() - start);
        return result;
      });
      const [a, b] = results;
      if (a && b && repeat < 0) distance = tf.tidy(() => tf.div(tf.norm(tf.sub(a, b)), tf.norm(a)).dataSync()[0]!);
      tf.dispose(results.filter((result) => result !== undefined));
    }
    const [before, after] = times.map((list) => list.sort((a, b) => a - b)[list.length >> 1] ?? NaN) as [number, number];
    const operations = (2 * side * side * batch * (size / stride) ** 2 * inputs * outputs) / 1e6;
    const row = [before, after].flatMap((ms) => [ms.toFixed(1), (operations / ms).toFixed(0)]);
    const cells = [[batch, size, inputs, outputs, stride].join(', '), name, ...row, (before / after).toFixed(2), distance.toExponential(1)];
    console.log(`| ${cells.join(' | ')} |`);
  }
  tf.dispose([x, filter, dy, filterShape]);
}
