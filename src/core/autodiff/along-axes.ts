/** Separable linear maps of images, such as interpolation and filters: one pass where fused operations are loaded. */
import * as tf from '@tensorflow/tfjs-core';
import { fusedResample } from '../native/resample.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { zeroLike } from './tape.js';

interface Attrs {
  transposed: boolean;
}
type Inputs = KernelInputs<'x' | 'vertical' | 'horizontal'>;

/** Where pixels have few channels, a row of them is multiplied as one vector: larger products are faster. */
const FEW_CHANNELS = 4;

/** `matrix` `[a, b]` with every element times the identity of `channels`: `[a * channels, b * channels]`. */
function expand(matrix: tf.Tensor2D, channels: number): tf.Tensor2D {
  if (channels === 1) return matrix;
  const [a, b] = matrix.shape;
  const blocks = tf.mul(tf.reshape(matrix, [a, 1, b, 1]), tf.reshape(tf.eye(channels), [1, channels, 1, channels]));
  return tf.reshape(blocks, [a * channels, b * channels]);
}

function products({ inputs: { x, vertical, horizontal }, attrs: { transposed } }: ForwardContext<Inputs, Attrs>): tf.Tensor {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const [newHeight, newWidth] = [vertical, horizontal].map(({ shape }) => shape[transposed ? 1 : 0]!) as [number, number];
  const tall = tf.matMul(tf.expandDims(vertical, 0), tf.reshape(x, [batch, height, width * channels]), transposed);
  const wide =
    channels <= FEW_CHANNELS
      ? tf.matMul(
          tf.reshape(tall, [batch * newHeight, width * channels]) as tf.Tensor2D,
          expand(horizontal as tf.Tensor2D, channels),
          false,
          !transposed,
        )
      : tf.matMul(tf.expandDims(horizontal, 0), tf.reshape(tall, [batch * newHeight, width, channels]), transposed);
  return tf.reshape(wide, [batch, newHeight, newWidth, channels]);
}

const alongAxesKernel: (inputs: Inputs, attrs: Attrs) => tf.Tensor = defineKernel({
  name: 'OnestepAlongAxes',
  forward: products,
  engines: { tensorflow: ({ inputs: { x, vertical, horizontal }, attrs }) => fusedResample(x, vertical, horizontal, attrs.transposed) },
  inputsToSave: ['vertical', 'horizontal'],
  gradient: ({ dy, inputs: { vertical, horizontal }, attrs: { transposed } }) => ({
    x: () => alongAxesKernel({ x: dy, vertical, horizontal }, { transposed: !transposed }),
    vertical: zeroLike(vertical),
    horizontal: zeroLike(horizontal),
  }),
});

/**
 * `x` `[B, H, W, C]` with its height multiplied by `vertical` `[H', H]` and its width by `horizontal` `[W', W]`.
 *
 * The matrices are constants; they may be dense, but the fused operation is made for few terms a row. Has gradients of every
 * order for `x` and keeps nothing else for them. Throws where shapes do not fit.
 */
export const alongAxes = (x: tf.Tensor4D, vertical: tf.Tensor2D, horizontal: tf.Tensor2D): tf.Tensor4D =>
  alongAxesKernel({ x, vertical, horizontal }, { transposed: false }) as tf.Tensor4D;
