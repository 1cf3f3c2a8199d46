/** Spectral normalization: a weight divided by an estimate of its largest singular value (Miyato et al. 2018, arXiv 1802.05957). */
import * as tf from '@tensorflow/tfjs-core';
import { fusedSpectralNorm, fusedSpectralNormGrad } from '../native/spectral-norm.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { gradients } from './gradients.js';
import { zeroLike } from './tape.js';

type Inputs = KernelInputs<'weight' | 'u'>;
type GradInputs = KernelInputs<'dy' | 'weight' | 'u' | 'v' | 'sigma'>;

/** What keeps a vector of zeros from being divided by zero, as PyTorch's `normalize`. */
const LEAST = 1e-12;

const normalize = (x: tf.Tensor2D): tf.Tensor2D => tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x))), LEAST));

/** The weight as `[rows, outputs]`, u and v as columns. */
const matrix = (weight: tf.Tensor): tf.Tensor2D => tf.reshape(weight, [-1, weight.shape.at(-1)!]);
const column = (x: tf.Tensor): tf.Tensor2D => tf.reshape(x, [-1, 1]);

/** v' W u, whose only variable is W. */
const singularValue = (weight: tf.Tensor, u: tf.Tensor, v: tf.Tensor): tf.Tensor =>
  tf.sum(tf.mul(tf.matMul(matrix(weight), column(v), true), column(u)));

/** `(dy - (dy . W) / sigma v u') / sigma`. */
const weightGradient = (dy: tf.Tensor, weight: tf.Tensor, u: tf.Tensor, v: tf.Tensor, sigma: tf.Tensor): tf.Tensor => {
  const along = tf.div(tf.sum(tf.mul(dy, weight)), sigma);
  const outer = tf.reshape(tf.matMul(column(v), column(u), false, true), weight.shape);
  return tf.div(tf.sub(dy, tf.mul(along, outer)), sigma);
};

const spectralNormGrad: (inputs: GradInputs, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepSpectralNormGrad',
  forward: ({ inputs: { dy, weight, u, v, sigma } }: ForwardContext<GradInputs, object>): tf.Tensor =>
    weightGradient(dy, weight, u, v, sigma),
  engines: { tensorflow: ({ inputs: { dy, weight, u, v, sigma } }) => fusedSpectralNormGrad([dy, weight, u, v, sigma]) },
  inputsToSave: ['dy', 'weight', 'u', 'v'],
  // Second order: sigma is a function of the weight there.
  gradient: ({ dy: cotangent, inputs: { dy, weight, u, v }, present }) => {
    const made = gradients(() => tf.sum(tf.mul(cotangent, weightGradient(dy, weight, u, v, singularValue(weight, u, v)))), [dy, weight]);
    return {
      dy: () => made[0]!,
      weight: () => made[1]!,
      u: zeroLike(present.u),
      v: zeroLike(present.v),
      sigma: zeroLike(present.sigma),
    };
  },
});

const spectralNormKernel = defineKernel({
  name: 'OnestepSpectralNorm',
  forward: ({ inputs: { weight, u: former } }: ForwardContext<Inputs, object>): tf.Tensor[] => {
    const v = normalize(tf.matMul(matrix(weight), column(former)));
    const u = normalize(tf.matMul(matrix(weight), v, true));
    const sigma = singularValue(weight, u, v);
    return [tf.div(weight, sigma), tf.reshape(u, [-1]), tf.reshape(v, [-1]), sigma];
  },
  engines: { tensorflow: ({ inputs: { weight, u } }) => fusedSpectralNorm(weight, u) },
  inputsToSave: ['weight'],
  outputsToSave: [1, 2, 3],
  gradient: ({ dy, inputs: { weight }, outputs: [, u, v, sigma], present }) => ({
    weight: () => spectralNormGrad({ dy, weight, u: u!, v: v!, sigma: sigma! }, {}),
    u: zeroLike(present.u),
  }),
});

/**
 * `weight / sigma` for a weight `[..., outputs]`, seen as a matrix W of `outputs` columns: after one power iteration from `u` `[outputs]`,
 * v = W u / |W u|, u = W' v / |W' v| and sigma = v' W u.
 *
 * The normalized weight has gradients of every order for `weight`, to which u and v `[rows]` are constants.
 */
export function spectralNorm<T extends tf.Tensor>(weight: T, u: tf.Tensor): { weight: T; u: tf.Tensor1D; v: tf.Tensor1D } {
  return tf.tidy(() => {
    const [y, newU, v] = spectralNormKernel({ weight, u }, {});
    return { weight: y as T, u: newU as tf.Tensor1D, v: v as tf.Tensor1D };
  });
}
