/**
 * A discriminator over frozen feature networks: one trained head for each stage of each network.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Discriminator, DiscriminatorInputs } from '../../core/contracts/training.js';
import type { FeatureNetwork } from '../features/feature-network.js';
import { Module } from '../nn/module.js';
import { DiscriminatorHead } from './head.js';

export interface FeatureDiscriminatorOptions {
  /** Size at which the heads' last convolution stands. Default 4. */
  end?: number;
  /** Channels of the heads after each halving. Default: those of the feature map they stand on. */
  width?: number;
}

/** One tensor of logits a feature network: its heads' logits side by side. */
export class FeatureDiscriminator extends Module implements Discriminator {
  readonly name: string;
  readonly #networks: { network: FeatureNetwork; heads: DiscriminatorHead[] }[];

  constructor(networks: readonly FeatureNetwork[], options: FeatureDiscriminatorOptions = {}) {
    super();
    this.name = networks.map(({ name }) => name).join('+');
    this.#networks = networks.map((network, n) => ({
      network,
      heads: network.stages.map(({ channels, resolution }, s) =>
        this.addChild(
          new DiscriminatorHead({
            prefix: `networks.${n}.heads.${s}.`,
            channels,
            start: resolution,
            end: Math.min(options.end ?? 4, resolution),
            width: () => options.width ?? channels,
          }),
        ),
      ),
    }));
  }

  logits(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor2D[] {
    return tf.tidy(() =>
      this.#networks.map(({ network, heads }) => {
        const maps = network.features(images, inputs);
        const logits = heads.map((head, index) => tf.reshape(head.forward(maps[index]!), [images.shape[0], -1]) as tf.Tensor2D);
        return logits.length === 1 ? logits[0]! : tf.concat(logits, 1);
      }),
    );
  }
}
