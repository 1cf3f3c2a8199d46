/** A feature network small enough for tests, in the form of the published ones: 16 px, two stages, batch normalisation folded away. */
import type * as tf from '@tensorflow/tfjs-core';
import { PretrainedFeatures, TokenReadout, type FeatureNetworkLoader } from '../../src/models/index.js';
import { FrozenConvolution } from '../../src/models/features/frozen-convolution.js';
import { hashedWeights } from './hashed-weights.js';

/** Stages of 4 channels at 8 px and 6 channels at 4 px. */
export class TinyFeatures extends PretrainedFeatures {
  readonly input = { size: 16, mean: [0.4, 0.5, 0.6], std: [0.2, 0.25, 0.3] };
  readonly stages = [
    { name: 'first', resolution: 8, channels: 4 },
    { name: 'second', resolution: 4, channels: 6 },
  ];
  override readonly readout: TokenReadout | undefined = undefined;
  readonly #convolutions = [this.#convolution('first', 3, 4), this.#convolution('second', 4, 6)];

  constructor(
    readonly name = 'tiny',
    readout = false,
  ) {
    super();
    // With its channels and scale, the third stage of a readout is a 1x1 convolution.
    if (readout) this.readout = new TokenReadout(6, [4, 4, 6]);
  }

  #convolution(name: string, inputs: number, outputs: number): FrozenConvolution {
    const norm = { name: `${name}.norm`, epsilon: 1e-5 };
    return this.addFrozen(
      new FrozenConvolution({ name: `${name}.conv`, norm, inputs, outputs, kernel: 3, stride: 2, activation: 'relu6' }),
    );
  }

  protected maps(images: tf.Tensor4D): tf.Tensor4D[] {
    const first = this.#convolutions[0]!.forward(images);
    const second = this.#convolutions[1]!.forward(first);
    return [first, this.readout ? this.readout.forward(second, 2) : second];
  }
}

/** Brings `TinyFeatures` with hashed weights; the readout, where there is one, is random. */
export const tinyFeatures = (name = 'tiny', readout = false): FeatureNetworkLoader => ({
  name,
  description: { part: 'tinyFeatures', options: { name, readout } },
  describe: () => new TinyFeatures(name, readout),
  load: async (random) => {
    const network = new TinyFeatures(name, readout);
    await network.load(hashedWeights(network.tensors(), 2));
    network.readout?.initialize(random);
    return network;
  },
});
