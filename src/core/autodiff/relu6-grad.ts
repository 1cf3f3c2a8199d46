/** The gradient of ReLU6: one pass on `tensorflow`, and of every order. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { executeTensorflow } from './native.js';
import { zeroLike } from './tape.js';

/** `dy` where 0 < x < 6, 0 elsewhere; `x` may be ReLU6's output as well as its input. */
export const relu6Grad: (inputs: KernelInputs<'dy' | 'x'>, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepRelu6Grad',
  forward: ({ inputs: { dy, x } }: ForwardContext<KernelInputs<'dy' | 'x'>, object>): tf.Tensor =>
    tf.mul(dy, tf.mul(tf.step(x), tf.step(tf.sub(6, x)))),
  engines: { tensorflow: ({ inputs: { dy, x } }) => executeTensorflow('Relu6Grad', [dy, x]) },
  inputsToSave: ['x'],
  gradient: ({ dy, inputs: { x } }) => ({ dy: () => relu6Grad({ dy, x }, {}), x: zeroLike(x) }),
});
