/** The exact GELU (Hendrycks & Gimpel 2016): `x Phi(x)`, Phi the standard normal distribution. */
import * as tf from '@tensorflow/tfjs-core';
import { fusedGelu, fusedGeluGrad } from '../native/transformer.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';

type Context<Names extends string> = ForwardContext<KernelInputs<Names>, object>;

const distribution = (x: tf.Tensor): tf.Tensor => tf.mul(0.5, tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))));
const density = (x: tf.Tensor): tf.Tensor => tf.mul(1 / Math.sqrt(2 * Math.PI), tf.exp(tf.mul(-0.5, tf.square(x))));

/** `dy (Phi(x) + x phi(x))` */
const geluGrad: (inputs: KernelInputs<'dy' | 'x'>, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepGeluGrad',
  forward: ({ inputs: { dy, x } }: Context<'dy' | 'x'>): tf.Tensor => tf.mul(dy, tf.add(distribution(x), tf.mul(x, density(x)))),
  engines: { tensorflow: ({ inputs: { dy, x } }) => fusedGeluGrad(dy, x) },
  inputsToSave: ['dy', 'x'],
  gradient: ({ dy: ct, inputs: { dy, x } }) => ({
    dy: () => geluGrad({ dy: ct, x }, {}),
    // gelu'' = phi(x) (2 - x^2)
    x: () => tf.mul(tf.mul(ct, dy), tf.mul(density(x), tf.sub(2, tf.square(x)))),
  }),
});

const geluKernel: (inputs: KernelInputs<'x'>, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepGelu',
  forward: ({ inputs: { x } }: Context<'x'>): tf.Tensor => tf.mul(x, distribution(x)),
  engines: { tensorflow: ({ inputs: { x } }) => fusedGelu(x) },
  inputsToSave: ['x'],
  gradient: ({ dy, inputs: { x } }) => ({ x: () => geluGrad({ dy, x }, {}) }),
});

/** `x Phi(x)`, of any shape, with gradients of every order; keeps only `x` for them. */
export const gelu = <T extends tf.Tensor>(x: T): T => geluKernel({ x }, {}) as T;
