/** A bias for each channel and ReLU or ReLU6: what follows a convolution whose batch normalization is folded into it. */
import * as tf from '@tensorflow/tfjs-core';
import { fusedBiasActivation } from '../native/bias-activation.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { leakyReluGrad } from './leaky-relu.js';
import { relu6Grad } from './relu6-grad.js';
import { unbroadcast } from './rules/rule.js';

/** `none`: only the bias. */
export type Activation = 'none' | 'relu' | 'relu6';

interface Attrs {
  activation: 'relu' | 'relu6';
}

const biasActivationKernel: (inputs: KernelInputs<'x' | 'bias'>, attrs: Attrs) => tf.Tensor = defineKernel({
  name: 'OnestepBiasActivation',
  forward: ({ inputs: { x, bias }, attrs: { activation } }: ForwardContext<KernelInputs<'x' | 'bias'>, Attrs>): tf.Tensor =>
    activation === 'relu' ? tf.relu(tf.add(x, bias)) : tf.relu6(tf.add(x, bias)),
  engines: { tensorflow: ({ inputs: { x, bias }, attrs: { activation } }) => fusedBiasActivation(x, bias, activation) },
  outputsToSave: [0],
  gradient: ({ dy, outputs: [y], present: { bias }, attrs: { activation } }) => {
    let dz: tf.Tensor | undefined;
    // Made once for both, on demand: the output tells the side of the kinks.
    const made = () => (dz ??= activation === 'relu' ? leakyReluGrad({ dy, x: y! }, { alpha: 0 }) : relu6Grad({ dy, x: y! }, {}));
    return { x: made, bias: () => unbroadcast(made(), bias.shape) };
  },
});

const biasKernel: (inputs: KernelInputs<'x' | 'bias'>, attrs: object) => tf.Tensor = defineKernel({
  name: 'OnestepBias',
  forward: ({ inputs: { x, bias } }: ForwardContext<KernelInputs<'x' | 'bias'>, object>): tf.Tensor => tf.add(x, bias),
  engines: { tensorflow: ({ inputs: { x, bias } }) => fusedBiasActivation(x, bias, 'none') },
  gradient: ({ dy, present: { bias } }) => ({ x: () => dy, bias: () => unbroadcast(dy, bias.shape) }),
});

/**
 * `activation(x + bias)`; `x` is `[..., C]`, `bias` `[C]`.
 *
 * Has gradients of every order; keeps the result for them where there is an activation.
 */
export const biasActivation = <T extends tf.Tensor>(x: T, bias: tf.Tensor, activation: Activation = 'none'): T =>
  (activation === 'none' ? biasKernel({ x, bias }, {}) : biasActivationKernel({ x, bias }, { activation })) as T;
