/** Activations. */
import * as tf from '@tensorflow/tfjs-core';
import { leakyReluGrad } from '../leaky-relu.js';
import { relu6Grad } from '../relu6-grad.js';
import { softmaxGrad } from '../softmax-grad.js';
import { ofInput, ofOutput } from './arithmetic.js';
import { mask, rule, unbroadcast, type Rule } from './rule.js';

// Klambauer et al. 2017.
const SELU_ALPHA = 1.6732632423543772;
const SELU_SCALE = 1.0507009873554805;

export const activation: Rule[] = [
  // Their outputs tell the side of 0 as well as their inputs do, and are kept anyway by what comes next.
  ofOutput('Relu', (dy, y) => leakyReluGrad({ dy, x: y }, { alpha: 0 })),
  rule('LeakyRelu', (dy, [y], { alpha }) => ({ x: () => leakyReluGrad({ dy, x: y! }, { alpha }) }), { outputsToSave: [true] }),
  ofOutput('Relu6', (dy, y) => relu6Grad({ dy, x: y }, {})),
  rule(
    'Prelu',
    (dy, [x, alpha]) => {
      const positive = () => tf.step(x!);
      return {
        x: () => tf.add(tf.mul(dy, positive()), tf.mul(tf.mul(dy, tf.sub(1, positive())), alpha!)),
        alpha: () => unbroadcast(tf.mul(tf.mul(dy, x!), tf.sub(1, positive())), alpha!.shape),
      };
    },
    { inputsToSave: ['x', 'alpha'] },
  ),
  // elu' = 1 above 0 and y + 1 below, that is 1 - relu(-y).
  ofOutput('Elu', (dy, y) => tf.mul(dy, tf.sub(1, tf.relu(tf.neg(y))))),
  ofOutput('Selu', (dy, y) => {
    const positive = tf.step(y);
    return tf.mul(dy, tf.add(tf.mul(positive, SELU_SCALE), tf.mul(tf.sub(1, positive), tf.add(y, SELU_SCALE * SELU_ALPHA))));
  }),
  ofOutput('Sigmoid', (dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y)))),
  ofOutput('Tanh', (dy, y) => tf.mul(dy, tf.sub(1, tf.square(y)))),
  ofInput('Softplus', (dy, x) => tf.mul(dy, tf.sigmoid(x))),
  rule(
    'Softmax',
    (dy, [y], { dim }) => ({
      logits: () => {
        if ((dim as number) === y!.rank - 1 || dim === -1) return softmaxGrad({ dy, y: y! }, {});
        const product = tf.mul(dy, y!);
        return tf.sub(product, tf.mul(tf.sum(product, dim, true), y!));
      },
    }),
    { outputsToSave: [true] },
  ),
  rule('LogSoftmax', (dy, [y], { axis }) => ({ logits: () => tf.sub(dy, tf.mul(tf.sum(dy, axis, true), tf.exp(y!))) }), {
    outputsToSave: [true],
  }),
  rule(
    'ClipByValue',
    (dy, [x], { clipValueMin, clipValueMax }) => ({
      x: () => tf.mul(dy, mask(tf.logicalAnd(tf.greaterEqual(x!, clipValueMin), tf.lessEqual(x!, clipValueMax)))),
    }),
    { inputsToSave: ['x'] },
  ),
];
