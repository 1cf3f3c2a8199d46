/**
 * The random frozen layers that make feature maps of four sizes from a transformer's tokens (Projected GAN, arXiv 2111.01007).
 */
import * as tf from '@tensorflow/tfjs-core';
import { convolutionLayout, type NamedTensor } from '../../core/parameter.js';
import { kaimingUniform } from '../nn/initializers.js';
import { Module } from '../nn/module.js';

/** Size of each map over that of the tokens. */
export const READOUT_SCALES = [4, 2, 1, 0.5] as const;

interface Layer {
  weight: NamedTensor;
  bias: NamedTensor;
}

/** PyTorch's default for convolutions: U(+-1/sqrt(fanIn)), also for the bias. */
const byFanIn = (fanIn: number) => kaimingUniform(fanIn, Math.sqrt(1 / 3));

/**
 * Per stage a 1x1 convolution to its channels; then a transposed 4x4 convolution of stride 4, a transposed 2x2 one of
 * stride 2, nothing, and a 3x3 convolution of stride 2 and padding 1. Nothing is trained; all of it is random.
 */
export class TokenReadout extends Module {
  readonly #stages: { scale: number; project: Layer; resample: Layer | undefined }[];

  constructor(width: number, channels: readonly number[]) {
    super();
    this.#stages = channels.map((outputs, stage) => {
      const scale = READOUT_SCALES[stage]!;
      const name = `readout.${stage}`;
      return { scale, project: this.#layer(`${name}.project`, [outputs, width, 1, 1], 1), resample: this.#resample(name, outputs, scale) };
    });
  }

  /** `x` `[B, h, w, width]` to the map of `stage`. */
  forward(x: tf.Tensor4D, stage: number): tf.Tensor4D {
    return tf.tidy(() => {
      const { scale, project, resample } = this.#stages[stage]!;
      const map = (y: tf.Tensor, { weight, bias }: Layer, [height, width]: readonly [number, number]): tf.Tensor4D => {
        const outputs = weight.value.size / y.shape[3]!;
        const rows = tf.reshape(y, [-1, y.shape[3]!]) as tf.Tensor2D;
        const result = tf.matMul(rows, tf.reshape(weight.value, [y.shape[3]!, outputs]) as tf.Tensor2D);
        const block = Math.sqrt(outputs / bias.size);
        const grid = tf.reshape(result, [x.shape[0], height, width, outputs]) as tf.Tensor4D;
        return tf.add<tf.Tensor4D>(block > 1 ? tf.depthToSpace(grid, block) : grid, bias.value);
      };
      const size = [x.shape[1], x.shape[2]] as const;
      const projected = map(x, project, size);
      if (!resample) return projected;
      // Windows of a transposed convolution do not overlap where its stride is its kernel: a product, then an arrangement.
      if (scale > 1) return map(projected, resample, size);
      return tf.add<tf.Tensor4D>(tf.conv2d(projected, resample.weight.value as tf.Tensor4D, 2, 1), resample.bias.value);
    });
  }

  #layer(name: string, shape: readonly number[], fanIn: number, transposed = false): Layer {
    const order = [0, 2, 3, 1];
    const layout = transposed ? { view: shape, order, engineShape: order.map((axis) => shape[axis]!) } : convolutionLayout(shape);
    const bound = byFanIn(fanIn * shape[1]!);
    return {
      weight: this.addBuffer(`${name}.weight`, shape, bound, layout),
      bias: this.addBuffer(`${name}.bias`, [transposed ? shape[1]! : shape[0]!], bound),
    };
  }

  /** PyTorch takes the second axis for the fan-in of a transposed convolution `[in, out, k, k]` too; here both are equal. */
  #resample(name: string, channels: number, scale: number): Layer | undefined {
    if (scale === 1) return undefined;
    const kernel = scale > 1 ? scale : 3;
    return this.#layer(`${name}.resample`, [channels, channels, kernel, kernel], kernel ** 2, scale > 1);
  }
}
