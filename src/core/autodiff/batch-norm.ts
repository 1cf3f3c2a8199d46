/** Batch normalization by the batch's own statistics, with a leaky ReLU behind it (Ioffe & Szegedy 2015). */
import * as tf from '@tensorflow/tfjs-core';
import { fusedBatchNorm, fusedBatchNormGrad } from '../native/batch-norm.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { gradients, vectorJacobianProduct } from './gradients.js';
import { leakyRelu, leakyReluGrad } from './leaky-relu.js';
import { zeroLike } from './tape.js';

interface Attrs {
  epsilon: number;
  slope: number;
}
type Affine = KernelInputs<'x' | 'gamma' | 'beta'>;
type GradInputs = KernelInputs<'dy' | 'x' | 'gamma' | 'beta' | 'mean' | 'variance'>;

/** All axes but the channels'. */
const axes = (x: tf.Tensor) => x.shape.slice(1).map((_, axis) => axis);
const activated = (z: tf.Tensor, slope: number): tf.Tensor => (slope === 1 ? z : leakyRelu(z, slope));

/** The same function in plain operations, every one of which has a gradient of every order. */
function reference({ x, gamma, beta }: Affine, { epsilon, slope }: Attrs): tf.Tensor {
  const centred = tf.sub(x, tf.mean(x, axes(x)));
  const factor = tf.mul(tf.rsqrt(tf.add(tf.mean(tf.square(centred), axes(x)), epsilon)), gamma);
  return activated(tf.add(tf.mul(centred, factor), beta), slope);
}

/** Gradients of x, gamma and beta. */
const batchNormGrad: (inputs: GradInputs, attrs: Attrs) => tf.Tensor[] = defineKernel({
  name: 'OnestepBatchNormGrad',
  forward: ({
    inputs: { dy, x, gamma, beta, mean, variance },
    attrs: { epsilon, slope },
  }: ForwardContext<GradInputs, Attrs>): tf.Tensor[] => {
    const rstd = tf.rsqrt(tf.add(variance, epsilon));
    const normal = tf.mul(tf.sub(x, mean), rstd);
    const dz = slope === 1 ? dy : leakyReluGrad({ dy, x: tf.add(tf.mul(normal, gamma), beta) }, { alpha: slope });
    const [dbeta, dgamma] = [tf.sum(dz, axes(x)), tf.sum(tf.mul(dz, normal), axes(x))];
    const rows = x.size / gamma.size;
    const rest = tf.add(tf.div(dbeta, rows), tf.mul(normal, tf.div(dgamma, rows)));
    return [tf.mul(tf.mul(gamma, rstd), tf.sub(dz, rest)), dgamma, dbeta];
  },
  engines: {
    tensorflow: ({ inputs: { dy, x, gamma, beta, mean, variance }, attrs }) =>
      fusedBatchNormGrad([dy, x, gamma, beta, mean, variance], attrs),
  },
  inputsToSave: ['dy', 'x', 'gamma', 'beta'],
  // Second order: differentiate the gradient of `reference`. The statistics are functions of x there.
  gradient: ({ dys, inputs: { dy, ...affine }, present: { mean, variance }, attrs }) => {
    const watched = [affine.x, affine.gamma, affine.beta];
    const made = gradients(
      () => {
        const first = vectorJacobianProduct(() => reference(affine, attrs), watched, dy);
        return tf.addN(dys.flatMap((cotangent, i) => (cotangent ? [tf.sum(tf.mul(cotangent, first[i]!))] : [])));
      },
      [dy, ...watched],
      { allowUnused: true },
    );
    return {
      dy: () => made[0]!,
      x: () => made[1]!,
      gamma: () => made[2]!,
      beta: () => made[3]!,
      mean: zeroLike(mean),
      variance: zeroLike(variance),
    };
  },
});

const batchNormKernel = defineKernel({
  name: 'OnestepBatchNorm',
  forward: ({ inputs: { x, gamma, beta }, attrs: { epsilon, slope } }: ForwardContext<Affine, Attrs>): tf.Tensor[] => {
    const mean = tf.mean(x, axes(x));
    const centred = tf.sub(x, mean);
    const variance = tf.mean(tf.square(centred), axes(x));
    const factor = tf.mul(tf.rsqrt(tf.add(variance, epsilon)), gamma);
    return [activated(tf.add(tf.mul(centred, factor), beta), slope), mean, variance];
  },
  engines: { tensorflow: ({ inputs: { x, gamma, beta }, attrs }) => fusedBatchNorm([x, gamma, beta], attrs) },
  inputsToSave: ['x', 'gamma', 'beta'],
  outputsToSave: [1, 2],
  gradient: ({ dy, inputs, outputs: [, mean, variance], attrs }) => {
    const made = batchNormGrad({ dy, ...inputs, mean: mean!, variance: variance! }, attrs);
    return { x: () => made[0]!, gamma: () => made[1]!, beta: () => made[2]! };
  },
});

/** Options of `batchNorm`. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5, PyTorch's. */
  epsilon?: number;
  /** Of the leaky ReLU on negative values; 1: none. Default 1. */
  slope?: number;
}

/**
 * `leakyRelu((x - mean) / sqrt(variance + epsilon) * gamma + beta)` over all but the channels of `x` `[..., C]`, with the mean and
 * the (biased) variance `[C]` that it went by.
 *
 * `y` has gradients of every order for x, gamma and beta and keeps x for them; `mean` and `variance` are constants.
 */
export function batchNorm<T extends tf.Tensor>(
  x: T,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  { epsilon = 1e-5, slope = 1 }: BatchNormOptions = {},
): { y: T; mean: tf.Tensor1D; variance: tf.Tensor1D } {
  const [y, mean, variance] = batchNormKernel({ x, gamma, beta }, { epsilon, slope });
  return { y: y as T, mean: mean as tf.Tensor1D, variance: variance as tf.Tensor1D };
}
