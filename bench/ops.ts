/**
 * Milliseconds of single operations, composed of stock ones and ours, on every engine of this machine.
 *
 *     npx tsx bench/ops.ts [engine ...]
 */
import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import { groupNorm, installAutodiff, leakyRelu, silu, vectorJacobianProduct } from '../src/core/autodiff/index.js';

createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu');

type T4 = tf.Tensor4D;

/** The median and, since others may use the machine too, the least of some runs. */
function measure(f: () => tf.TensorContainer): string {
  const times: number[] = [];
  const end = performance.now() + 1500;
  for (let i = 0; i < 3 || (i < 30 && performance.now() < end); i++) {
    const start = performance.now();
    tf.dispose(f());
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return [times[times.length >> 1]!, times[0]!].map((ms) => ms.toFixed(2).padStart(9)).join('');
}

/** Group norm and SiLU as one would write them with tf.moments. */
function composedGroupNorm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, groups: number): tf.Tensor {
  const [B, H, W, C] = x.shape as [number, number, number, number];
  const x5 = tf.reshape(x, [B, H * W, groups, C / groups]);
  const { mean, variance } = tf.moments(x5, [1, 3], true);
  const normal = tf.reshape(tf.mul(tf.sub(x5, mean), tf.rsqrt(tf.add(variance, 1e-5))), x.shape);
  const z = tf.add(tf.mul(normal, gamma), beta);
  return tf.mul(z, tf.sigmoid(z));
}

const both = (f: () => tf.Tensor, xs: tf.Tensor[], dy: tf.Tensor) => vectorJacobianProduct(f, xs, dy);

installAutodiff();
const engines = process.argv.length > 2 ? process.argv.slice(2) : ['tensorflow', 'wasm'];
for (const engine of engines) {
  await tf.setBackend(engine);
  installAutodiff();
  for (const shape of <[number, number, number, number][]>[
    [64, 16, 16, 32],
    [64, 8, 8, 64],
  ]) {
    const C = shape[3]!;
    const x = tf.randomNormal(shape) as T4;
    const dy = tf.randomNormal(shape) as T4;
    const [gamma, beta] = [tf.ones([C]), tf.zeros([C])];
    const scale = tf.randomNormal([shape[0]!, 1, 1, C]);
    const w = tf.randomNormal([3, 3, C, C]) as T4;
    const dw = tf.randomNormal([3, 3, C, 1]) as T4;
    const options = { groups: 8, silu: true };
    const rows: Record<string, () => tf.TensorContainer> = {
      'add (one pass)': () => tf.add(x, dy),
      'group norm + SiLU, composed: forward': () => tf.tidy(() => composedGroupNorm(x, gamma, beta, 8)),
      'group norm + SiLU, ours: forward': () => groupNorm(x, gamma, beta, options),
      'group norm + SiLU, composed: forward and backward': () => both(() => composedGroupNorm(x, gamma, beta, 8), [x, gamma, beta], dy),
      'group norm + SiLU, ours: forward and backward': () => both(() => groupNorm(x, gamma, beta, options), [x, gamma, beta], dy),
      'group norm + scale, shift + SiLU, ours: forward and backward': () =>
        both(() => groupNorm(x, gamma, beta, { ...options, scale, shift: scale }), [x, gamma, beta, scale], dy),
      'SiLU, composed: forward and backward': () => both(() => tf.mul(x, tf.sigmoid(x)), [x], dy),
      'SiLU, ours: forward and backward': () => both(() => silu(x), [x], dy),
      'leaky ReLU, stock forward, forward and backward': () => both(() => tf.leakyRelu(x, 0.2), [x], dy),
      'leaky ReLU, ours: forward and backward': () => both(() => leakyRelu(x, 0.2), [x], dy),
      'ReLU: forward and backward': () => both(() => tf.relu(x), [x], dy),
      'conv2d 3x3: forward': () => tf.conv2d(x, w, 1, 'same'),
      'conv2d 3x3: forward, input gradient': () => both(() => tf.conv2d(x, w, 1, 'same'), [x], dy),
      'conv2d 3x3: forward, filter gradient': () => both(() => tf.conv2d(x, w, 1, 'same'), [w], dy),
      'depthwise 3x3: forward': () => tf.depthwiseConv2d(x, dw, 1, 'same'),
      'depthwise 3x3: forward, input gradient': () => both(() => tf.depthwiseConv2d(x, dw, 1, 'same'), [x], dy),
      'depthwise 3x3: forward, filter gradient': () => both(() => tf.depthwiseConv2d(x, dw, 1, 'same'), [dw], dy),
      'max pool 2: forward and backward': () =>
        both(() => tf.maxPool(x, 2, 2, 'same'), [x], tf.slice(dy, 0, [shape[0]!, shape[1]! / 2, shape[2]! / 2, C])),
    };
    console.log(`\n${engine} [${shape.join(', ')}], milliseconds: median, least`);
    for (const [name, f] of Object.entries(rows)) console.log(`${measure(f)}  ${name}`);
    tf.disposeVariables();
  }
}
