/**
 * How strongly each layer of a network is activated: statistics gathered over forward passes, in memory that does not grow with images.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ParameterRole } from '../../core/contracts/parameter.js';
import { ArgumentError } from '../../core/errors.js';
import { observeActivations, type Activation } from '../../models/nn/observe.js';

/** Which of the network's places is meant. */
export interface LayerPlace {
  /** The published name, such as `model.enc.16x16_block0.conv0`; of a residual sum the block's, such as `enc.16x16_block0`. */
  name: string;
  /** `layer`: a convolution or an attention's fully connected layer; `block`: a residual sum. */
  kind: 'layer' | 'block';
  /** What the layer does; absent for blocks. */
  role?: ParameterRole;
  block?: string;
  level?: number;
  /** Height in pixels of what it gives. */
  resolution: number;
  channels: number;
}

/** Means over images, pixels and channels. */
export interface ActivationLevel {
  /** sqrt(mean a²) of the outputs a. */
  rms: number;
  /** mean |a|. */
  meanAbsolute: number;
  /** Of a residual sum: sqrt(mean branch²) / sqrt(mean identity²). */
  contribution?: number;
}

interface Sums {
  place: LayerPlace;
  /** Values added of the output, and of each of branch and identity. */
  count: number;
  absolute: number;
  square: number;
  /** Of residual sums alone. */
  branch: number;
  identity: number;
}

/** Layers whose output is no image: the noise level's embedding and what each block makes of it. */
const withoutPixels = new Set<ParameterRole>(['mapping', 'affine']);

/** Adds up the activations of one network at one noise level, in float64. */
export class ActivationRecorder {
  readonly #layers = new Map<string, Sums>();

  /**
   * Runs one forward pass over `batch` images and adds its activations.
   *
   * @param forward its values are given back, and all tensors that it makes are freed.
   * @throws ArgumentError `E_VALUE` for a network none of whose layers can be observed.
   */
  record(batch: number, forward: () => tf.Tensor4D): Float32Array {
    const output = tf.tidy(() => observeActivations((activation) => this.#add(activation, batch), forward).dataSync<'float32'>());
    if (this.#layers.size === 0)
      throw new ArgumentError('E_VALUE', 'ActivationRecorder: expected layers to observe, the network shows none', {
        help: 'a network of your own shows what it is built of: Conv2d, Linear and UNetBlock do',
      });
    return output;
  }

  /** Values are added up on the host: every engine has the same float64 sums, and small networks no operations of their own for them. */
  #add(activation: Activation, batch: number): void {
    if (activation.kind === 'layer' && withoutPixels.has(activation.place.role)) return;
    const key = `${activation.kind} ${activation.place.name}`;
    let sums = this.#layers.get(key);
    if (!sums) {
      sums = { place: placeOf(activation, batch), count: 0, absolute: 0, square: 0, branch: 0, identity: 0 };
      this.#layers.set(key, sums);
    }
    const values = activation.output.dataSync<'float32'>();
    sums.count += values.length;
    for (let k = 0; k < values.length; k++) sums.absolute += Math.abs(values[k]!);
    sums.square += sumOfSquares(values);
    if (activation.kind === 'layer') return;
    sums.branch += sumOfSquares(activation.branch.dataSync<'float32'>());
    sums.identity += sumOfSquares(activation.identity.dataSync<'float32'>());
  }

  /** Every layer and block that was seen, in the order of computation. */
  result(): { place: LayerPlace; level: ActivationLevel }[] {
    return [...this.#layers.values()].map(({ place, count, absolute, square, branch, identity }) => {
      const contribution = place.kind === 'block' ? { contribution: Math.sqrt(branch / identity) } : {};
      return { place, level: { rms: Math.sqrt(square / count), meanAbsolute: absolute / count, ...contribution } };
    });
  }
}

function sumOfSquares(values: Float32Array): number {
  let sum = 0;
  for (let k = 0; k < values.length; k++) sum += values[k]! * values[k]!;
  return sum;
}

function placeOf(activation: Activation, batch: number): LayerPlace {
  const { output, place } = activation;
  const channels = output.shape.at(-1)!;
  // Rows of a fully connected layer over pixels are those of square images.
  const resolution = output.rank === 4 ? output.shape[1]! : Math.round(Math.sqrt(output.size / (batch * channels)));
  const { name, block, level } = place;
  const where = { ...(block !== undefined && { block }), ...(level !== undefined && { level }), resolution, channels };
  return activation.kind === 'layer' ? { name, kind: 'layer', role: activation.place.role, ...where } : { name, kind: 'block', ...where };
}
