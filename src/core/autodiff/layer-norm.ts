/**
 * Layer normalization (Ba et al. 2016) over the last axis, without scale and shift: those of a frozen network are folded
 * into the layer that follows.
 */
import * as tf from '@tensorflow/tfjs-core';
import { fusedLayerNorm, fusedLayerNormGrad } from '../native/transformer.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';

type GradInputs = KernelInputs<'dy' | 'y' | 'rstd'>;

const mean = (x: tf.Tensor): tf.Tensor => tf.mean(x, -1, true);

/** With m the mean over the channels: `rstd (dy - m(dy) - y m(dy y))`. */
const layerNormGrad: (inputs: GradInputs, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepLayerNormGrad',
  forward: ({ inputs: { dy, y, rstd } }: ForwardContext<GradInputs, object>): tf.Tensor =>
    tf.mul(rstd, tf.sub(tf.sub(dy, mean(dy)), tf.mul(y, mean(tf.mul(dy, y))))),
  engines: { tensorflow: ({ inputs: { dy, y, rstd } }) => fusedLayerNormGrad(dy, y, rstd) },
  inputsToSave: ['dy', 'y', 'rstd'],
  gradient: ({ dy: ct, inputs: { dy, y, rstd } }) => ({
    // It is its own transpose.
    dy: () => layerNormGrad({ dy: ct, y, rstd }, {}),
    y: () => tf.neg(tf.mul(rstd, tf.add(tf.mul(ct, mean(tf.mul(dy, y))), tf.mul(dy, mean(tf.mul(ct, y)))))),
    rstd: () => tf.sum(tf.mul(ct, tf.div(layerNormGrad({ dy, y, rstd }, {}), rstd)), -1, true),
  }),
});

const layerNormKernel: (inputs: KernelInputs<'x'>, attrs: { epsilon: number }) => tf.Tensor[] = defineKernel({
  name: 'OnestepLayerNorm',
  forward: ({ inputs: { x }, attrs: { epsilon } }: ForwardContext<KernelInputs<'x'>, { epsilon: number }>): tf.Tensor[] => {
    const centred = tf.sub(x, mean(x));
    const rstd = tf.rsqrt(tf.add(mean(tf.square(centred)), epsilon));
    return [tf.mul(centred, rstd), rstd];
  },
  engines: { tensorflow: ({ inputs: { x }, attrs: { epsilon } }) => fusedLayerNorm(x, epsilon) },
  outputsToSave: [0, 1],
  gradient: ({ dys: [dy, drstd], outputs: [y, rstd] }) => ({
    x: () => {
      const parts: tf.Tensor[] = [];
      if (dy) parts.push(layerNormGrad({ dy, y: y!, rstd: rstd! }, {}));
      // d rstd / d x = -rstd^2 y / C
      if (drstd) parts.push(tf.mul(tf.mul(drstd, tf.mul(tf.square(rstd!), -1 / y!.shape.at(-1)!)), y!));
      return parts.length === 1 ? parts[0]! : tf.addN(parts);
    },
  }),
});

/** `(x - mean) / sqrt(variance + epsilon)` over the last axis, with gradients of every order. */
export const layerNorm = <T extends tf.Tensor>(x: T, epsilon = 1e-5): T => tf.tidy(() => layerNormKernel({ x }, { epsilon })[0]!) as T;
