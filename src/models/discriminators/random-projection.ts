/**
 * The random frozen projection of a feature network's stages (Projected GAN, arXiv 2111.01007, section 3.2).
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../../core/errors.js';
import { convolutionLayout, type NamedTensor } from '../../core/parameter.js';
import { pytorchDefault } from '../nn/initializers.js';
import { Module } from '../nn/module.js';
import { resizeBilinear } from '../nn/resample.js';

/** Channels of the finest stage after cross-channel mixing; each coarser stage has twice as many. */
const FINEST_WIDTH = 64;

/** Options of {@link RandomProjection}. */
export interface RandomProjectionOptions {
  /** Stands before every tensor name. Default: nothing. */
  prefix?: string;
  /** Channels of the feature maps, finest stage first. */
  channels: readonly number[];
  /** Channels after cross-channel mixing, by stage. Default: 64, 128, 256, 512, … */
  widths?: readonly number[];
}

interface Mixing {
  weight: NamedTensor;
  bias: NamedTensor;
}

/**
 * Mixes channels within each stage, then stages from the coarsest to the finest, by random weights that never train.
 *
 * Cross-channel: a 1x1 convolution a stage to `widths`. Cross-scale, coarsest first: add the coarser result, bilinear x2
 * with aligned corners, 1x1 convolution to the width of the next finer stage (the finest keeps its own).
 * Maps `[B, H_i, W_i, channels_i]`, each half the size of the one before, to `[B, 2 H_i, 2 W_i, outputs_i]`.
 * Weights are buffers under their published names: seeded by `initialize`, part of every checkpoint, without gradient.
 * Throws `E_VALUE` for lists that do not fit; `forward` throws `E_SHAPE` for maps that do not.
 */
export class RandomProjection extends Module {
  /** Channels of the results, finest stage first. */
  readonly outputs: readonly number[];
  readonly #channels: readonly number[];
  readonly #stages: { channel: Mixing; scale: Mixing }[];

  constructor({ prefix = '', channels, widths = channels.map((_, stage) => FINEST_WIDTH * 2 ** stage) }: RandomProjectionOptions) {
    super();
    const counts = [...channels, ...widths];
    if (channels.length === 0 || widths.length !== channels.length || !counts.every((count) => Number.isInteger(count) && count > 0))
      throw new ArgumentError(
        'E_VALUE',
        `RandomProjection: expected a number of channels and a width for each stage, got channels [${channels.join(', ')}] and widths [${widths.join(', ')}]`,
        { help: 'give one positive whole number a stage, the finest first' },
      );
    this.#channels = channels;
    this.outputs = widths.map((width, stage) => widths[stage - 1] ?? width);
    this.#stages = widths.map((width, stage) => ({
      channel: this.#mixing(`${prefix}layer${stage}_ccm`, channels[stage]!, width),
      scale: this.#mixing(`${prefix}layer${stage}_csm.out_conv`, width, this.outputs[stage]!),
    }));
  }

  #mixing(name: string, inputs: number, outputs: number): Mixing {
    const shape = [outputs, inputs, 1, 1];
    return {
      weight: this.addBuffer(`${name}.weight`, shape, pytorchDefault(inputs), convolutionLayout(shape)),
      bias: this.addBuffer(`${name}.bias`, [outputs], pytorchDefault(inputs)),
    };
  }

  forward(maps: readonly tf.Tensor4D[]): tf.Tensor4D[] {
    this.#check(maps);
    return tf.tidy(() => {
      const mixed: tf.Tensor4D[] = [];
      let coarser: tf.Tensor4D | undefined;
      for (let stage = maps.length - 1; stage >= 0; stage--) {
        const { channel, scale } = this.#stages[stage]!;
        const own = mix(maps[stage]!, channel);
        const sum = coarser ? tf.add<tf.Tensor4D>(own, coarser) : own;
        // A 1x1 convolution and an interpolation whose weights sum to 1 commute: convolving first costs a quarter.
        const [, height, width] = sum.shape;
        coarser = resizeBilinear(mix(sum, scale), [2 * height, 2 * width], { alignCorners: true });
        mixed.unshift(coarser);
      }
      return mixed;
    });
  }

  #check(maps: readonly tf.Tensor4D[]): void {
    const expected = this.#channels.map((channels, stage) => {
      const coarser = maps[stage + 1];
      const size = coarser ? [2 * coarser.shape[1], 2 * coarser.shape[2]] : maps[stage]?.shape.slice(1, 3);
      return [maps[0]?.shape[0], ...(size ?? []), channels].join(', ');
    });
    const found = maps.map(({ shape }) => shape.join(', '));
    if (found.join(';') !== expected.join(';'))
      throw new ArgumentError(
        'E_SHAPE',
        `RandomProjection: expected maps [${expected.join('], [')}], each twice the next one's size, got [${found.join('], [')}]`,
        { help: 'give the stages of the feature network that the projection was made for, finest first' },
      );
  }
}

const mix = (x: tf.Tensor4D, { weight, bias }: Mixing): tf.Tensor4D =>
  tf.add(tf.conv2d(x, weight.value as tf.Tensor4D, 1, 'same'), bias.value);
