/**
 * Parity of a diffusion network: architecture, freeze levels, F, D, G and every gradient of D.
 */
import { resolve } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { gradients } from '../../core/autodiff/index.js';
import { readSafetensors } from '../../core/safetensors.js';
import type { Backbone, BackboneConfig } from '../../models/backbones/backbone.js';
import { createBackbone, resolveBackboneConfig, type BackboneOptions } from '../../models/backbones/config.js';
import { freezeConvolutions } from '../../models/freeze/policies.js';
import { denoise, edmPreconditioning, generateOneStep } from '../../models/preconditioning.js';
import { weightsOf } from '../../models/nn/weights.js';
import { expectSameArchitecture } from '../../models/teachers/edm-config.js';
import { findNetwork } from '../../models/teachers/published-names.js';
import { teacher } from '../../models/teachers/any-teacher.js';
import type { TensorFile } from '../../core/tensor-file.js';
import {
  expectShape,
  goldenArray,
  imageTensor,
  publishedImage,
  readDescription,
  type GoldenArray,
  type GoldenFiles,
  type NetworkDescription,
} from './golden-directory.js';
import { absent, computed, l2Norm, relativeError, TOLERANCES, verdict, within, worst, type Outcome, type Report } from './report.js';

/** Below this share of the largest gradient norm, an error is measured against it: a gradient of rounding errors has no digits. */
const NEGLIGIBLE = 1e-3;

/** The arrays of `NAME.io.safetensors`. */
export type NetworkArrays = ReadonlyMap<string, GoldenArray>;

/** Reads every array that a network's checks use. */
export async function readNetworkArrays(path: string): Promise<NetworkArrays> {
  const file = await readSafetensors(path);
  const arrays = await Promise.all([...file.tensors.keys()].map((name) => goldenArray(file, name)));
  return new Map(arrays.map((array) => [array!.name, array!]));
}

/** Runs every check of one network; holds one network at a time and frees it. */
export async function checkNetwork(report: Report, files: GoldenFiles): Promise<void> {
  const check = (name: string, body: () => Outcome | Promise<Outcome>) => report.check(files.name, name, body);
  let described: NetworkDescription = {};
  let config: BackboneConfig | undefined;
  await check('config', async () => {
    if (files.json === undefined) return absent(`${files.name}.json`);
    described = await readDescription(files.json);
    if (described.config === undefined) return absent('config');
    config = architectureOf(described.config);
    return verdict(undefined, `${config.model_type}, ${config.img_resolution} px, ${config.img_channels} channels`);
  });
  await check('architecture inferred', async () => {
    if (files.weights === undefined) return absent(`${files.name}.weights.safetensors`);
    const inferred = await inferConfig(files.weights);
    let note: string | undefined;
    if (config !== undefined) expectSameArchitecture(config, inferred, files.weights);
    else [config, note] = [inferred, 'taken from the weights'];
    return verdict(undefined, note);
  });
  if (config === undefined) return;

  const network = createBackbone(config);
  await check('parameter count', () => {
    const [found, expected] = [network.parameterCount(), described.parameters];
    if (expected === undefined) return absent('parameters');
    return verdict(found === expected ? undefined : `expected ${expected}, got ${found}`, String(found));
  });
  await check('freeze levels', () => freezeOutcome(network, described.freeze));
  try {
    const loaded = await check('weights', async () => {
      if (files.weights === undefined) return absent(`${files.name}.weights.safetensors`);
      const { weights } = await openWeights(files.weights, config);
      await network.load(weightsOf(weights, files.weights));
      return verdict(undefined, `${network.tensors().length} tensors`);
    });
    const arrays = loaded ? await checkArrays(report, files.name, files.io) : undefined;
    if (!arrays) return;
    await checkOutputs(report, files.name, network, arrays);
    await checkGradients(report, files.name, network, arrays, described.gradient_norms);
  } finally {
    network.dispose();
  }
}

/** Reads `NAME.io.safetensors` as a check of its own; undefined where it has nothing to say. */
async function checkArrays(report: Report, subject: string, path: string | undefined): Promise<NetworkArrays | undefined> {
  let arrays: NetworkArrays | undefined;
  const read = await report.check(subject, 'inputs and outputs', async () => {
    if (path === undefined) return absent(`${subject}.io.safetensors`);
    arrays = await readNetworkArrays(path);
    return verdict(undefined, `${arrays.size} arrays`);
  });
  return read ? arrays : undefined;
}

/** The weights of a file of any format, under the names of the network. */
export async function openWeights(path: string, config?: BackboneConfig): Promise<{ config: BackboneConfig; weights: TensorFile }> {
  return teacher(resolve(path), config && { config }).open();
}

const isSafetensors = (path: string) => path.endsWith('.safetensors');

/** By names and shapes alone where the file is safetensors; other files say what they hold. */
async function inferConfig(path: string): Promise<BackboneConfig> {
  if (!isSafetensors(path)) return (await openWeights(path)).config;
  return (await findNetwork(await readSafetensors(path), path)).config;
}

/**
 * The network of `files` with its weights, to be disposed by the caller; undefined where it is not `wanted`.
 *
 * Throws as the loaders do.
 */
export async function loadNetwork(files: GoldenFiles, wanted: (config: BackboneConfig) => boolean): Promise<Backbone | undefined> {
  const config = await configOf(files);
  if (!config || files.weights === undefined || !wanted(config)) return undefined;
  const network = createBackbone(config);
  try {
    return (await network.load(weightsOf((await openWeights(files.weights, config)).weights, files.weights))) as Backbone;
  } catch (error) {
    network.dispose();
    throw error;
  }
}

/** EDM's preconditioning takes more arguments than its network; these change nothing of what is compared here. */
function architectureOf(config: Record<string, unknown>): BackboneConfig {
  const { use_fp16: _fp16, sigma_min: _min, sigma_max: _max, label_dropout: _dropout, ...architecture } = config;
  return resolveBackboneConfig(architecture as BackboneOptions);
}

/** What `NAME.json` says, else the weights; undefined where neither is there. Throws as their readers do. */
export async function configOf({ json, weights }: GoldenFiles): Promise<BackboneConfig | undefined> {
  const described = json === undefined ? undefined : (await readDescription(json)).config;
  if (described) return architectureOf(described);
  return weights === undefined ? undefined : inferConfig(weights);
}

/** Descriptions of the network inside the preconditioning leave its name away. */
const publishedName = (name: string) => (/^(enc|dec|map_\w+|out_\w+)\./.test(name) ? `model.${name}` : name);

function freezeOutcome(network: Backbone, freeze: NetworkDescription['freeze']): Outcome {
  if (freeze === undefined) return absent('freeze');
  for (const [level, expected] of Object.entries(freeze)) {
    const policy = freezeConvolutions({ level: Number(level) as 0 | 1 | 2 | 3 });
    const frozen = network.parameters().filter((parameter) => !policy.trains(parameter));
    const names = new Set(frozen.map(({ name }) => name));
    const listed = new Set(expected.frozen.map(publishedName));
    const stray = [...names].find((name) => !listed.has(name)) ?? [...listed].find((name) => !names.has(name));
    if (stray !== undefined) return verdict(`level ${level}: ${stray} should ${names.has(stray) ? 'train' : 'be frozen'}`);
    const count = frozen.reduce((sum, { size }) => sum + size, 0);
    if (expected.frozen_parameters !== undefined && count !== expected.frozen_parameters)
      return verdict(`level ${level}: expected ${expected.frozen_parameters} frozen, got ${count}`);
  }
  return verdict(undefined, `levels ${Object.keys(freeze).join(', ')}`);
}

interface NetworkInputs {
  x: tf.Tensor4D;
  classLabels: tf.Tensor2D | undefined;
  augmentLabels: tf.Tensor2D | undefined;
}

/** The images `name` with the labels that go with them. Throws `E_SHAPE` where they are another network's. */
function inputsFor(network: Backbone, arrays: NetworkArrays, name: string): NetworkInputs {
  const array = arrays.get(name)!;
  const { img_channels, img_resolution, label_dim, augment_dim } = network.config;
  expectShape(array, [undefined, img_channels, img_resolution, img_resolution]);
  const batch = array.shape[0]!;
  const labels = (key: string, width: number) => {
    const values = arrays.get(key);
    if (!values || width === 0) return undefined;
    expectShape(values, [batch, width]);
    return tf.tensor2d(values.data, [batch, width]);
  };
  return {
    x: imageTensor(array),
    classLabels: labels('class_labels', label_dim),
    augmentLabels: labels('augment_labels', augment_dim),
  };
}

function sigmasFor(x: tf.Tensor4D, arrays: NetworkArrays): Float32Array {
  expectShape(arrays.get('sigma')!, [x.shape[0]]);
  return arrays.get('sigma')!.data;
}

const denoised = (network: Backbone, arrays: NetworkArrays, { x, ...labels }: NetworkInputs): tf.Tensor4D =>
  denoise(network, edmPreconditioning(), x, sigmasFor(x, arrays), labels);

/** F, G and D. */
export async function checkOutputs(report: Report, subject: string, network: Backbone, arrays: NetworkArrays): Promise<void> {
  const check = (name: string, inputs: readonly string[], expected: string, forward: () => tf.Tensor4D) =>
    report.check(subject, name, () => {
      const missing = [...inputs, expected].filter((array) => !arrays.has(array));
      if (missing.length > 0) return absent(missing.join(', '));
      return computed(() => within(relativeError(publishedImage(forward()), arrays.get(expected)!.data), TOLERANCES.output));
    });
  await check('raw output F', ['x', 'sigma'], 'raw_output', () => {
    const { x, classLabels, augmentLabels } = inputsFor(network, arrays, 'x');
    return network.forward(x, tf.tensor1d(Array.from(sigmasFor(x, arrays), (sigma) => Math.log(sigma) / 4)), {
      classLabels,
      augmentLabels,
    });
  });
  await check('one-step output G', ['latent'], 'one_step_output', () => {
    const { x, classLabels } = inputsFor(network, arrays, 'latent');
    return generateOneStep(network, x, { classLabels });
  });
  await check('denoised output D', ['edm_input', 'sigma'], 'edm_output', () =>
    denoised(network, arrays, inputsFor(network, arrays, 'edm_input')),
  );
}

/** The gradients of sum(cotangent * D) for the image and for every parameter, in one pass. */
async function checkGradients(
  report: Report,
  subject: string,
  network: Backbone,
  arrays: NetworkArrays,
  gradientNorms: Record<string, number> | undefined,
): Promise<void> {
  const missing = ['edm_input', 'sigma', 'cotangent'].filter((name) => !arrays.has(name));
  let norms: Map<string, number> | undefined;
  await report.check(subject, 'gradient of the image', () =>
    computed(() => {
      if (missing.length > 0) return absent(missing.join(', '));
      const inputs = inputsFor(network, arrays, 'edm_input');
      const cotangent = arrays.get('cotangent')!;
      expectShape(cotangent, arrays.get('edm_input')!.shape);
      const direction = imageTensor(cotangent);
      const parameters = network.parameters();
      const [image, ...others] = gradients(
        () => tf.sum(tf.mul(denoised(network, arrays, inputs), direction)),
        [inputs.x, ...parameters.map(({ value }) => value)],
        { allowUnused: true },
      );
      norms = new Map(parameters.map(({ name }, i) => [name, l2Norm(others[i]!.dataSync<'float32'>())]));
      const expected = arrays.get('edm_input_grad');
      return expected
        ? within(relativeError(publishedImage(image as tf.Tensor4D), expected.data), TOLERANCES.gradient)
        : absent('edm_input_grad');
    }),
  );
  await report.check(subject, 'gradient norms', () => {
    if (gradientNorms === undefined) return absent('gradient_norms');
    if (missing.length > 0) return absent(missing.join(', '));
    return norms ? gradientNormOutcome(norms, gradientNorms) : verdict('there are no gradients, see above');
  });
}

/** Every parameter that the description lists, by name; names on one side only are wrong. */
function gradientNormOutcome(found: ReadonlyMap<string, number>, expected: Record<string, number>): Outcome {
  const listed = new Map(Object.entries(expected).map(([name, value]) => [publishedName(name), value]));
  const stray = [...found.keys()].find((name) => !listed.has(name)) ?? [...listed.keys()].find((name) => !found.has(name));
  if (stray !== undefined) return verdict(`${stray} is ${found.has(stray) ? 'not in gradient_norms' : 'no parameter of the network'}`);
  const floor = NEGLIGIBLE * [...listed.values()].reduce((a, b) => Math.max(a, b), 0);
  const { name, error } = worst(
    [...listed].map(([parameter, value]) => [parameter, relativeError([found.get(parameter)!], [value], floor)] as const),
  );
  return within(error, TOLERANCES.gradient, `worst of ${found.size}: ${name}`);
}
