/** The sum that ends a residual block, in one pass where fused operations are loaded. */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';
import { fusedResidual, fusedResidualGrad } from '../native/residual.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { unbroadcast } from './rules/rule.js';

interface Attrs {
  scale: number;
}
type Context<Names extends string> = ForwardContext<KernelInputs<Names>, Attrs>;

const scaled = (x: tf.Tensor, scale: number): tf.Tensor => (scale === 1 ? x : tf.mul(x, scale));

/** `dy scale`, and its sum over everything but the channels. */
const residualGrad: (inputs: KernelInputs<'dy'>, attrs: Attrs) => tf.Tensor[] = defineKernel({
  name: 'OnestepResidualGrad',
  forward: ({ inputs: { dy }, attrs: { scale } }: Context<'dy'>): tf.Tensor[] => {
    const d = tf.mul(dy, scale);
    return [d, unbroadcast(d, dy.shape.slice(-1))];
  },
  engines: { tensorflow: ({ inputs: { dy }, attrs: { scale } }) => fusedResidualGrad(dy, scale) },
  gradient: ({ dys: [d, dbias], present: { dy }, attrs: { scale } }) => ({
    dy: () => {
      const parts = [...(d ? [d] : []), ...(dbias ? [dbias] : [])].map((part) => tf.mul(part, scale));
      return tf.broadcastTo(
        parts.reduce((sum, part) => tf.add(sum, part)),
        dy.shape,
      );
    },
  }),
});

const residualKernel: (inputs: KernelInputs<'a' | 'b' | 'bias'>, attrs: Attrs) => tf.Tensor = defineKernel({
  name: 'OnestepResidual',
  forward: ({ inputs: { a, b, bias }, attrs: { scale } }: Context<'a' | 'b' | 'bias'>): tf.Tensor =>
    scaled(tf.add(tf.add(a, b), bias), scale),
  engines: { tensorflow: ({ inputs: { a, b, bias }, attrs: { scale } }) => fusedResidual(a, b, bias, scale) },
  gradient: ({ dy, attrs }) => {
    // Nothing to multiply: only the sum is left to make.
    if (attrs.scale === 1) return { a: () => dy, b: () => dy, bias: () => unbroadcast(dy, dy.shape.slice(-1)) };
    const [d, dbias] = residualGrad({ dy }, attrs) as [tf.Tensor, tf.Tensor];
    return { a: () => d, b: () => d, bias: () => dbias };
  },
});

/**
 * `(a + b + bias) * scale`; `a` and `b` are `[..., C]` of one shape, `bias` `[C]`.
 *
 * Has gradients of every order; keeps nothing for them. Throws `E_SHAPE` where shapes do not fit.
 */
export function residualAdd<T extends tf.Tensor>(a: T, b: T, bias: tf.Tensor, scale = 1): T {
  const C = a.shape.at(-1);
  if (!tf.util.arraysEqual(a.shape, b.shape) || bias.rank !== 1 || bias.size !== C)
    throw new ArgumentError(
      'E_SHAPE',
      `residualAdd: expected a and b [..., C] of one shape and bias [C], got [${a.shape.join(', ')}], [${b.shape.join(', ')}] and [${bias.shape.join(', ')}]`,
      { help: 'the branch and the skip must have the same size and channels' },
    );
  return residualKernel({ a, b, bias }, { scale }) as T;
}
