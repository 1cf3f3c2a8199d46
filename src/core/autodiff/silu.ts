/** SiLU (swish): `x * sigmoid(x)`. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { executeTensorflow } from './native.js';

type Context<Names extends string> = ForwardContext<KernelInputs<Names>, object>;

/** The gradient of SiLU: with s = sigmoid(x), `dy * (s + x s (1 - s))`. */
const siluGrad = defineKernel({
  name: 'OnestepSiluGrad',
  forward: ({ inputs: { dy, x } }: Context<'dy' | 'x'>) => {
    const s = tf.sigmoid(x);
    return tf.mul(dy, tf.mul(s, tf.add(1, tf.mul(x, tf.sub(1, s)))));
  },
  engines: {
    // SigmoidGrad(s, d) = d s (1 - s) in one pass.
    tensorflow: ({ inputs: { dy, x } }) => {
      const s = tf.sigmoid(x);
      return tf.add(tf.mul(dy, s), executeTensorflow('SigmoidGrad', [s, tf.mul(dy, x)]));
    },
  },
  inputsToSave: ['dy', 'x'],
  gradient: ({ dy: ct, inputs: { dy, x } }) => ({
    dy: () => siluGrad({ dy: ct, x }, {}),
    // silu'' = s (1 - s) (2 + x (1 - 2 s))
    x: () => {
      const s = tf.sigmoid(x);
      const second = tf.mul(tf.mul(s, tf.sub(1, s)), tf.add(2, tf.mul(x, tf.sub(1, tf.mul(2, s)))));
      return tf.mul(tf.mul(ct, dy), second);
    },
  }),
}) as (inputs: KernelInputs<'dy' | 'x'>, attrs: object) => tf.Tensor;

const siluKernel = defineKernel({
  name: 'OnestepSilu',
  forward: ({ inputs: { x } }: Context<'x'>) => tf.mul(x, tf.sigmoid(x)) as tf.Tensor,
  inputsToSave: ['x'],
  gradient: ({ dy, inputs: { x } }) => ({ x: () => siluGrad({ dy, x }, {}) }),
});

/** `x * sigmoid(x)`, of any shape; keeps only `x` for the gradient. */
export const silu = <T extends tf.Tensor>(x: T): T => siluKernel({ x }, {}) as T;
