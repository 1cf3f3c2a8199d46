/**
 * Parity of a discriminator head in training mode: two forwards, then R1 with every gradient.
 */
import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients, vectorJacobianProduct } from '../../core/autodiff/index.js';
import { WeightsError } from '../../core/errors.js';
import { readSafetensors } from '../../core/safetensors.js';
import type { TensorFile } from '../../core/tensor-file.js';
import { DiscriminatorHead } from '../../models/discriminators/head.js';
import { weightsOf } from '../../models/nn/weights.js';
import { expectShape, goldenArray, imageTensor, publishedImage, type GoldenArray, type GoldenFiles } from './golden-directory.js';
import { absent, computed, l2Norm, relativeError, TOLERANCES, verdict, within, worst, type Report } from './report.js';

/** Below this share of the largest parameter gradient, an error is measured against it: a bias before BatchNorm has none but rounding. */
const NEGLIGIBLE = 1e-2;

/** The head that the names and shapes of `file` describe: halvings, widths, channels and outputs. */
export function headOf(file: TensorFile, path: string): DiscriminatorHead {
  const shapes = [...file.tensors].map(([name, { shape }]) => ({ name, shape }));
  const weights = shapes.flatMap(({ name, shape }) => {
    const match = /^(.*?)main\.(\d+)\.(main\.0\.)?weight_orig$/.exec(name);
    return match ? [{ prefix: match[1]!, index: Number(match[2]), halves: match[3] !== undefined, shape }] : [];
  });
  weights.sort((a, b) => a.index - b.index);
  const last = weights.at(-1);
  if (
    !last ||
    last.halves ||
    weights.some(({ index, halves, prefix }, at) => index !== at || halves === (at === weights.length - 1) || prefix !== last.prefix)
  )
    throw new WeightsError(
      'E_WEIGHTS_UNKNOWN',
      `${path}: expected main.0.main.0.weight_orig … main.N.weight_orig of a discriminator head`,
      {
        help: 'the file must hold a single head under its published names',
      },
    );
  const widths = weights.slice(0, -1).map(({ shape }) => shape[0]!);
  const halvings = widths.length;
  return new DiscriminatorHead({
    prefix: last.prefix,
    channels: weights[0]!.shape[1]!,
    // Nominal: the real size is that of the features.
    start: 2 ** halvings,
    end: 1,
    width: (size) => widths[halvings - 1 - Math.log2(size)]!,
    outputs: last.shape[0]!,
  });
}

/** Runs the checks of one head. The order of the forwards is part of them: each advances u and v by one power iteration. */
export async function checkDiscriminatorHead(report: Report, files: GoldenFiles): Promise<void> {
  const arrays = new Map<string, GoldenArray>();
  let head: DiscriminatorHead | undefined;
  const loaded = await report.check(files.name, 'weights', async () => {
    if (files.weights === undefined) return absent(`${files.name}.weights.safetensors`);
    const file = await readSafetensors(files.weights);
    head = headOf(file, files.weights);
    await head.load(weightsOf(file, files.weights));
    return verdict(undefined, `${head.tensors().length} tensors, ${head.parameterCount()} parameters`);
  });
  const read = await report.check(files.name, 'inputs and outputs', async () => {
    if (files.io === undefined) return absent(`${files.name}.io.safetensors`);
    const file = await readSafetensors(files.io);
    for (const name of file.tensors.keys()) arrays.set(name, (await goldenArray(file, name))!);
    if (!arrays.has('features')) return absent('features');
    expectShape(arrays.get('features')!, [undefined, head?.parameters()[0]?.shape[1], undefined, undefined]);
    return verdict(undefined, `${arrays.size} arrays`);
  });
  try {
    if (loaded && read) await checkValues(report, files.name, head!, arrays);
  } finally {
    head?.dispose();
  }
}

interface PenaltyResults {
  logits: Float32Array;
  gradient: Float32Array;
  penalty: Float32Array;
  parameterGradients: Map<string, Float32Array>;
}

async function checkValues(
  report: Report,
  subject: string,
  head: DiscriminatorHead,
  arrays: ReadonlyMap<string, GoldenArray>,
): Promise<void> {
  const features = imageTensor(arrays.get('features')!);
  const compare = (name: string, actual: Float32Array | undefined, tolerance: number) => {
    const expected = arrays.get(name);
    if (!expected || !actual) return absent(name);
    return within(relativeError(actual, expected.data), tolerance);
  };
  try {
    for (const [check, name] of [
      ['first forward', 'logits_first'],
      ['second forward', 'logits_second'],
    ] as const)
      await report.check(subject, check, () =>
        compare(
          name,
          computed(() => publishedImage(head.forward(features))),
          TOLERANCES.output,
        ),
      );
    let r1: PenaltyResults | undefined;
    await report.check(subject, 'R1 forward', () => {
      r1 = penalty(head, features);
      return compare('logits_r1', r1.logits, TOLERANCES.output);
    });
    await report.check(subject, 'R1 gradient of the features', () => compare('r1_input_grad', r1?.gradient, TOLERANCES.gradient));
    await report.check(subject, 'R1 penalty', () => compare('r1_penalty', r1?.penalty, TOLERANCES.gradient));
    await report.check(subject, 'R1 parameter gradients', () => {
      const expected = [...arrays].flatMap(([name, { data }]) =>
        name.startsWith('r1_param_grad.') ? [[name.slice('r1_param_grad.'.length), data] as const] : [],
      );
      if (expected.length === 0 || !r1) return absent('r1_param_grad.*');
      const stray = expected.find(([name]) => !r1!.parameterGradients.has(name));
      if (stray) return verdict(`${stray[0]} is no parameter of the head`);
      // Where the penalty cannot change, as that of a single convolution with one output, there is only rounding: of penalty / |weights|.
      const size = Math.hypot(...head.parameters().map((parameter) => l2Norm(parameter.read())));
      const natural = l2Norm(r1.penalty) / Math.sqrt(r1.penalty.length) / size;
      const floor = NEGLIGIBLE * expected.reduce((most, [, data]) => Math.max(most, l2Norm(data)), natural);
      const { name, error } = worst(
        expected.map(([parameter, data]) => [parameter, relativeError(r1!.parameterGradients.get(parameter)!, data, floor)] as const),
      );
      return within(error, TOLERANCES.gradient, `worst of ${expected.length}: ${name}`);
    });
  } finally {
    features.dispose();
  }
}

/** R1 of one forward: |d sum(logits) / d features|^2 per sample, and the gradient of its mean for every parameter. */
function penalty(head: DiscriminatorHead, features: tf.Tensor4D): PenaltyResults {
  return computed(() => {
    const parameters = head.parameters();
    const { gradients, aux } = valueAndGradients(
      () => {
        let logits: tf.Tensor4D | undefined;
        const [gradient] = vectorJacobianProduct(() => {
          logits = tf.keep(head.forward(features));
          return logits;
        }, [features]);
        const perSample = tf.sum(tf.square(gradient!), [1, 2, 3]);
        return { loss: tf.mean(perSample), perSample, gradient: gradient as tf.Tensor4D, logits: logits! };
      },
      parameters.map(({ value }) => value),
      { allowUnused: true },
    );
    const results = {
      logits: publishedImage(aux.logits),
      gradient: publishedImage(aux.gradient),
      penalty: aux.perSample.dataSync<'float32'>(),
      parameterGradients: new Map(parameters.map((parameter, i) => [parameter.name, parameter.published(gradients[i]!)])),
    };
    aux.logits.dispose();
    return results;
  });
}
