/**
 * Group normalization, feature-wise modulation and SiLU as one kernel (Wu & He 2018; the adaptive form of
 * Dhariwal & Nichol 2021, eq. 3), with a fused gradient.
 *
 * Per sample and channel everything before the activation is `z = x a + b`, so the full-size work is two reductions,
 * one multiply-add and the activation. The variance is the two-pass one: deviations from each channel's mean are
 * squared, and the groups' variances follow from `var = mean(var_c + (mean_c - mean)^2)`; nothing cancels for data
 * whose mean is far from zero. Multiply-add itself rounds at the magnitude of `x a`, as PyTorch's does.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';
import { fusedGroupNorm, fusedGroupNormGrad } from '../native/group-norm.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { gradients, vectorJacobianProduct } from './gradients.js';
import { zeroLike } from './tape.js';

export interface GroupNormOptions {
  /** Number of groups; divides the channels. */
  groups: number;
  /** Added to the variance. Default 1e-5, PyTorch's. */
  epsilon?: number;
  /** Apply SiLU to the result. Default false. */
  silu?: boolean;
  /** `[B, 1, 1, C]`: multiplies the normalized value by `scale + 1`. */
  scale?: tf.Tensor | undefined;
  /** `[B, 1, 1, C]`: added after that. */
  shift?: tf.Tensor | undefined;
  /** `[B, 1, 1, C]`: added to `x` before the normalization. */
  offset?: tf.Tensor | undefined;
}

interface Attrs {
  groups: number;
  epsilon: number;
  silu: boolean;
}
type Affine = KernelInputs<'x' | 'gamma' | 'beta', 'scale' | 'shift' | 'offset'>;
/** `sigma` is sigmoid(z), kept by composed engines; without it the gradient computes z and sigma again. */
type GradInputs = KernelInputs<'dy' | 'x' | 'gamma' | 'beta' | 'y' | 'mean' | 'rstd', 'scale' | 'shift' | 'offset' | 'sigma'>;

/** Sizes: batch, pixels, channels, groups, channels of a group. */
function sizes(x: tf.Tensor, groups: number) {
  const [B, H, W, C] = x.shape as [number, number, number, number];
  return { B, N: H * W, C, G: groups, D: C / groups };
}

/**
 * `weight` times the sum over the pixels of `[B, N, C]`: `[B, 1, C]`. A product of matrices is the fastest reduction
 * on every engine.
 */
const sumPixels = (x: tf.Tensor, N: number, weight = 1): tf.Tensor => (N === 1 ? x : tf.matMul(tf.fill([1, 1, N], weight), x));

/** What is normalized. */
const shifted = ({ x, offset }: Affine): tf.Tensor => (offset ? tf.add(x, tf.reshape(offset, [x.shape[0]!, 1, 1, x.shape[3]!])) : x);

/** `a` and, on demand, `b` of `z = (x + offset) a + b`, both `[B, 1, C]`, from the groups' statistics `[B, G, 1]`. */
function coefficients({ x, gamma, beta, scale, shift }: Affine, mean: tf.Tensor, rstd: tf.Tensor, groups: number) {
  const { B, C, G, D } = sizes(x, groups);
  const grouped = [-1, G, D];
  const unscaled = tf.mul(rstd, tf.reshape(gamma, grouped));
  const factor = scale && tf.add(tf.reshape(scale, grouped), 1);
  const scaled = (t: tf.Tensor) => (factor ? tf.mul(t, factor) : t);
  return {
    a: tf.reshape(scaled(unscaled), [B, 1, C]),
    b: () => {
      const b = scaled(tf.sub(tf.reshape(beta, grouped), tf.mul(mean, unscaled)));
      return tf.reshape(shift ? tf.add(b, tf.reshape(shift, grouped)) : b, [B, 1, C]);
    },
  };
}

/** The same function in plain operations, every one of which has a gradient of every order. */
function reference(inputs: Affine, { groups, epsilon, silu }: Attrs): tf.Tensor {
  const { gamma, beta, scale, shift } = inputs;
  const x = shifted(inputs);
  const { B, N, G, D, C } = sizes(x, groups);
  const x4 = tf.reshape(x, [B, N, G, D]);
  const centred = tf.sub(x4, tf.mean(x4, [1, 3], true));
  const normal = tf.mul(centred, tf.rsqrt(tf.add(tf.mean(tf.square(centred), [1, 3], true), epsilon)));
  let z = tf.add(tf.mul(tf.reshape(normal, x.shape), gamma), beta);
  if (scale) z = tf.mul(z, tf.add(tf.reshape(scale, [B, 1, 1, C]), 1));
  if (shift) z = tf.add(z, tf.reshape(shift, [B, 1, 1, C]));
  return silu ? tf.mul(z, tf.sigmoid(z)) : z;
}

const NAMES = ['x', 'gamma', 'beta', 'scale', 'shift', 'offset'] as const;

/** Gradients of x, gamma, beta and, where given, scale, shift and offset, in this order. */
const groupNormGrad: (inputs: GradInputs, attrs: Attrs) => tf.Tensor[] = defineKernel({
  name: 'OnestepGroupNormGrad',
  forward: ({ inputs, attrs: { groups, silu } }: ForwardContext<GradInputs, Attrs>): tf.Tensor[] => {
    const { gamma, beta, mean, rstd, scale, shift, offset } = inputs;
    const { B, N, C, G, D } = sizes(inputs.x, groups);
    const x = tf.reshape(shifted(inputs), [B, N, C]);
    const dy = tf.reshape(inputs.dy, [B, N, C]);
    const { a, b } = coefficients(inputs, mean, rstd, groups);

    let dz = dy;
    if (silu) {
      // silu' = sigma + silu (1 - sigma)
      const z = inputs.sigma ? undefined : tf.add(tf.mul(x, a), b());
      const sigma = z ? tf.sigmoid(z) : tf.reshape(inputs.sigma!, [B, N, C]);
      const y = z ? tf.mul(z, sigma) : tf.reshape(inputs.y, [B, N, C]);
      dz = tf.mul(dy, tf.add(sigma, tf.mul(y, tf.sub(1, sigma))));
    }

    // Per sample and channel, [B, G, D]: sum of dz, and of dz times the normalized x.
    const s1 = tf.reshape(sumPixels(dz, N), [B, G, D]);
    const s2 = tf.mul(rstd, tf.sub(tf.reshape(sumPixels(tf.mul(dz, x), N), [B, G, D]), tf.mul(mean, s1)));
    const gammas = tf.reshape(gamma, [1, G, D]);
    const factor = scale ? tf.add(tf.reshape(scale, [B, G, D]), 1) : undefined;
    const scaled = (s: tf.Tensor) => (factor ? tf.mul(s, factor) : s);
    const [t1, t2] = [scaled(s1), scaled(s2)];

    // dx = a dz - rstd (mean(dn) + xhat mean(dn xhat)), dn = gamma (scale + 1) dz, means over the group.
    const m1 = tf.mean(tf.mul(gammas, t1), 2, true);
    const m2 = tf.mean(tf.mul(gammas, t2), 2, true);
    const c2 = tf.mul(tf.square(rstd), tf.div(m2, -N));
    const c3 = tf.sub(tf.mul(rstd, tf.div(m1, -N)), tf.mul(mean, c2));
    const spread = (c: tf.Tensor) => tf.reshape(tf.mul(c, tf.onesLike(gammas)), [B, 1, C]);
    const dx = tf.add(tf.mul(a, dz), tf.add(tf.mul(x, spread(c2)), spread(c3)));

    const result = [tf.reshape(dx, inputs.x.shape), tf.reshape(tf.sum(t2, 0), [C]), tf.reshape(tf.sum(t1, 0), [C])];
    if (scale) result.push(tf.reshape(tf.add(tf.mul(gammas, s2), tf.mul(tf.reshape(beta, [1, G, D]), s1)), scale.shape));
    if (shift) result.push(tf.reshape(s1, shift.shape));
    if (offset) result.push(tf.reshape(sumPixels(dx, N), offset.shape));
    return result;
  },
  engines: { tensorflow: ({ inputs, attrs }) => fusedGroupNormGrad(inputs, attrs) },
  inputsToSave: ['dy', ...NAMES],
  // Second order: differentiate the gradient of `reference`. The statistics are functions of x there.
  gradient: ({ dys, inputs, present, attrs }) => {
    const { dy, ...affine } = inputs;
    const names = NAMES.filter((name) => affine[name]);
    const watched = [dy, ...names.map((name) => affine[name]!)];
    const made = gradients(
      () => {
        const first = vectorJacobianProduct(() => reference(affine as Affine, attrs), watched.slice(1), dy);
        return tf.addN(dys.flatMap((ct, i) => (ct ? [tf.sum(tf.mul(ct, first[i]!))] : [])));
      },
      watched,
      { allowUnused: true },
    );
    return {
      dy: () => made[0]!,
      ...Object.fromEntries(names.map((name, i) => [name, () => made[i + 1]!])),
      ...Object.fromEntries(
        (['y', 'mean', 'rstd', 'sigma'] as const).flatMap((name) => (present[name] ? [[name, zeroLike(present[name])]] : [])),
      ),
    };
  },
});

const groupNormKernel = defineKernel({
  name: 'OnestepGroupNorm',
  /** y, the groups' mean and 1/std `[B, G, 1]`, and with SiLU sigmoid(z), which the fused operation leaves out. */
  forward: ({ inputs, attrs: { groups, epsilon, silu } }: ForwardContext<Affine, Attrs>): tf.Tensor[] => {
    const { B, N, C, G, D } = sizes(inputs.x, groups);
    const x = tf.reshape(shifted(inputs), [B, N, C]);
    const channelMean = sumPixels(x, N, 1 / N);
    const channelVariance = sumPixels(tf.squaredDifference(x, channelMean), N, 1 / N);
    const grouped = tf.reshape(channelMean, [B, G, D]);
    const mean = tf.mean(grouped, 2, true);
    const variance = tf.mean(tf.add(tf.reshape(channelVariance, [B, G, D]), tf.squaredDifference(grouped, mean)), 2, true);
    const rstd = tf.rsqrt(tf.add(variance, epsilon));
    const { a, b } = coefficients(inputs, mean, rstd, groups);
    const z = tf.add(tf.mul(x, a), b());
    if (!silu) return [tf.reshape(z, inputs.x.shape), mean, rstd];
    const sigma = tf.sigmoid(z);
    return [tf.reshape(tf.mul(z, sigma), inputs.x.shape), mean, rstd, sigma];
  },
  engines: { tensorflow: ({ inputs, attrs }) => fusedGroupNorm(inputs, attrs) },
  inputsToSave: [...NAMES],
  outputsToSave: [0, 1, 2, 3],
  gradient: ({ dy, inputs, outputs: [y, mean, rstd, sigma], attrs }) => {
    const names = NAMES.filter((name) => inputs[name]);
    const made = groupNormGrad({ dy, ...inputs, y: y!, mean: mean!, rstd: rstd!, sigma }, attrs);
    return Object.fromEntries(names.map((name, i) => [name, () => made[i]!]));
  },
});

/**
 * `silu?(shift + (scale + 1) * (gamma * normalize(x + offset) + beta))`, normalized over pixels and channels of each group.
 *
 * `x` is `[B, H, W, C]`, `gamma` and `beta` `[C]`. Has gradients of every order for all six tensors; for the first
 * it keeps `x` and, with SiLU, one more tensor of its size. Throws `E_SHAPE` where shapes do not fit.
 */
export function groupNorm(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  { groups, epsilon = 1e-5, silu = false, scale, shift, offset }: GroupNormOptions,
): tf.Tensor4D {
  const [B, , , C] = x.shape;
  if (x.rank !== 4 || C! % groups !== 0)
    throw new ArgumentError(
      'E_SHAPE',
      `groupNorm: expected x [B, H, W, C] with C a multiple of ${groups} groups, got [${x.shape.join(', ')}]`,
      {
        help: 'choose a number of groups that divides the channels',
      },
    );
  for (const [name, tensor, size] of [
    ['gamma', gamma, C],
    ['beta', beta, C],
    ['scale', scale, B! * C!],
    ['shift', shift, B! * C!],
    ['offset', offset, B! * C!],
  ] as const)
    if (tensor && tensor.size !== size)
      throw new ArgumentError(
        'E_SHAPE',
        `groupNorm: expected ${name} of ${size} values for x [${x.shape.join(', ')}], got [${tensor.shape.join(', ')}]`,
        {
          help: 'gamma and beta are [C], scale, shift and offset [B, 1, 1, C]',
        },
      );
  return tf.tidy(() => groupNormKernel({ x, gamma, beta, scale, shift, offset }, { groups, epsilon, silu })[0]!) as tf.Tensor4D;
}
