/**
 * Every frozen feature network at full size beside torchvision and timm, on random weights, with PyTorch's float64 as the judge.
 *
 *     npx tsx bench/feature-parity.ts [--networks vgg16_bn,…] [--seeds 1] [--sizes 32,224] [--weights library,away]
 *         [--python python3] [--engine tensorflow]
 *
 * Relative L2 errors: of the maps (the largest of four) and of the gradient for the images; ours from PyTorch's float32, ours from
 * PyTorch's float64, and PyTorch's float32 from its float64. Images of each size are resized to 224 px. Weights `library` are the library's first
 * values, with many activations at the kinks of ReLU and ReLU6; `away` ones keep activations far from them. Exits 1 where maps differ
 * from PyTorch's float32 by more than 1e-5, or a gradient by more than 1e-4, unless ours is no further from float64 than three times what
 * PyTorch's own float32 is: then rounding decides, and the line says `as PyTorch`.
 *
 * Needs Python with PyTorch, torchvision, timm and safetensors, 4 GB of memory, and up to half a minute a line on two cores.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { openBackend, PhiloxRandom, readSafetensors, vectorJacobianProduct, type TensorFile } from '../src/index.js';
import { deit, efficientnetLite, vgg16bn, type FeatureNetworkLoader } from '../src/models/index.js';
import { weightsOf } from '../src/models/nn/weights.js';

const MAPS_BAR = 1e-5;
const GRADIENT_BAR = 1e-4;

const loaders: Record<string, (path: string) => FeatureNetworkLoader> = { vgg16_bn: (path) => vgg16bn(path) };
for (const variant of ['lite0', 'lite1', 'lite2', 'lite3', 'lite4'] as const)
  loaders[`tf_efficientnet_${variant}`] = (path) => efficientnetLite(variant, path);
for (const variant of ['tiny', 'small', 'base'] as const) loaders[`deit_${variant}_distilled_patch16_224`] = (path) => deit(variant, path);

const { values } = parseArgs({
  options: {
    networks: { type: 'string', default: Object.keys(loaders).join(',') },
    seeds: { type: 'string', default: '1' },
    weights: { type: 'string', default: 'library,away' },
    sizes: { type: 'string', default: '32,224' },
    python: { type: 'string', default: 'python3' },
    engine: { type: 'string', default: 'tensorflow' },
  },
});

const script = fileURLToPath(new URL('../test/tools/make_feature_parity.py', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'onestep-feature-parity-'));

function pytorch(network: string, weights: string, size: string, seed: number): void {
  const flags = ['--weights', weights, '--size', size, '--seed', `${seed}`];
  const { status, stderr, error } = spawnSync(values.python, ['-B', script, folder, network, ...flags], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`PyTorch's side failed: ${error?.message ?? stderr}`);
}

/** `[B, C, H, W]` of a file as `[B, H, W, C]`. */
const channelsLast = async (file: TensorFile, name: string) => {
  const nchw = tf.tensor4d(await file.readAsFloat32(name), [...file.tensors.get(name)!.shape] as [number, number, number, number]);
  const nhwc = tf.transpose(nchw, [0, 2, 3, 1]);
  nchw.dispose();
  return nhwc;
};
const channelsFirst = (x: tf.Tensor) => tf.tidy(() => tf.transpose(x, [0, 3, 1, 2]).dataSync<'float32'>());

function error(found: Float32Array, expected: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += (found[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** Errors of the worst map and of the gradient: ours from float32, ours from float64, PyTorch's float32 from float64. */
async function compare(name: string): Promise<{ maps: number[]; gradient: number[] }> {
  const weights = join(folder, 'weights.safetensors');
  const network = await loaders[name]!(weights).load(new PhiloxRandom(0));
  await network.readout?.load(weightsOf(await readSafetensors(weights), weights));
  const io = await readSafetensors(join(folder, 'io.safetensors'));
  const images = await channelsLast(io, 'images');
  const cotangents = await Promise.all(network.stages.map((_, k) => channelsLast(io, `cotangent.${k}`)));
  const inputs = { classLabels: undefined, random: new PhiloxRandom(0) };

  const maps = network.features(images, inputs);
  const ours = new Map(maps.map((map, k) => [`stage.${k}`, channelsFirst(map)]));
  const [slope] = vectorJacobianProduct(
    () => tf.addN(network.features(images, inputs).map((map, k) => tf.sum(tf.mul(map, cotangents[k]!)))) as tf.Scalar,
    [images],
  );
  ours.set('gradient', channelsFirst(slope!));
  tf.dispose([maps, slope!, images, cotangents]);
  network.dispose();

  const result = { maps: [0, 0, 0], gradient: [0, 0, 0] };
  for (const [key, found] of ours) {
    const [single, double] = [await io.readAsFloat32(key), await io.readAsFloat32(`float64.${key}`)];
    const errors = [error(found, single), error(found, double), error(single, double)];
    const row = key === 'gradient' ? result.gradient : result.maps;
    errors.forEach((value, i) => (row[i] = Math.max(row[i]!, value)));
  }
  return result;
}

const backend = await openBackend({ engine: values.engine as 'tensorflow' });
console.log(`${backend.description}; batch 2, at 224 px, random weights; relative L2 errors`);
console.log(
  '| network | weights | images | seed | maps: ours − PyTorch | ours − f64 | PyTorch − f64 | gradient: ours − PyTorch | ours − f64 | PyTorch − f64 | |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
const product = <A, B>(a: readonly A[], b: readonly B[]) => a.flatMap((x) => b.map((y) => [x, y] as const));
const seeds = Array.from({ length: Number(values.seeds) }, (_, seed) => seed);
const lines = product(product(values.networks.split(','), values.weights.split(',')), product(values.sizes.split(','), seeds));
let missed = 0;
try {
  for (const [[name, weights], [size, seed]] of lines) {
    pytorch(name, weights, size, seed);
    const { maps, gradient } = await compare(name);
    const within = maps[0]! <= MAPS_BAR && gradient[0]! <= GRADIENT_BAR;
    const asPyTorch = [[maps, MAPS_BAR] as const, [gradient, GRADIENT_BAR] as const].every(
      ([[single, double, theirs], bar]) => single! <= bar || double! <= 3 * theirs!,
    );
    if (!asPyTorch) missed++;
    const numbers = [...maps, ...gradient].map((value) => value.toExponential(1)).join(' | ');
    console.log(`| ${name} | ${weights} | ${size} px | ${seed} | ${numbers} | ${within ? 'ok' : asPyTorch ? 'as PyTorch' : 'missed'} |`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (missed > 0) {
  console.log(`${missed} beyond the bars`);
  process.exitCode = 1;
}
