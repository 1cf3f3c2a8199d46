/** The gradient of softmax over the last axis: one pass where fused operations are loaded, and of every order. */
import * as tf from '@tensorflow/tfjs-core';
import { fusedSoftmaxGrad } from '../native/transformer.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';

type Inputs = KernelInputs<'dy' | 'y'>;

/** `y (dy - sum(dy y))`. */
export const softmaxGrad: (inputs: Inputs, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepSoftmaxGrad',
  forward: ({ inputs: { dy, y } }: ForwardContext<Inputs, object>): tf.Tensor => {
    const product = tf.mul(dy, y);
    return tf.sub(product, tf.mul(tf.sum(product, -1, true), y));
  },
  engines: { tensorflow: ({ inputs: { dy, y } }) => fusedSoftmaxGrad(dy, y) },
  inputsToSave: ['dy', 'y'],
  gradient: ({ dy: ct, inputs: { dy, y } }) => ({
    // It is its own transpose.
    dy: () => softmaxGrad({ dy: ct, y }, {}),
    y: () => tf.sub(tf.mul(ct, tf.sub(dy, tf.sum(tf.mul(dy, y), -1, true))), tf.mul(dy, tf.sum(tf.mul(ct, y), -1, true))),
  }),
});
