/**
 * A discriminator over frozen feature networks: one trained head for each stage of each network.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Discriminator, DiscriminatorInputs } from '../../core/contracts/training.js';
import { ArgumentError } from '../../core/errors.js';
import { groupBounds, type FeatureNetwork } from '../features/feature-network.js';
import { Module } from '../nn/module.js';
import { DiscriminatorHead } from './head.js';

/** Options of {@link FeatureDiscriminator}. */
export interface FeatureDiscriminatorOptions {
  /** Size at which the heads' last convolution stands. Default 4. */
  end?: number;
  /** Channels of the heads after each halving. Default: those of the feature map they stand on. */
  width?: number;
}

/** One tensor of logits a feature network: its heads' logits side by side. */
export class FeatureDiscriminator extends Module implements Discriminator {
  readonly name: string;
  /** Heads by network, group of the batch, and stage. */
  readonly #networks: { network: FeatureNetwork; heads: DiscriminatorHead[][] }[];

  constructor(networks: readonly FeatureNetwork[], options: FeatureDiscriminatorOptions = {}) {
    super();
    this.name = networks.map(({ name }) => name).join('+');
    this.#networks = networks.map((network, n) => {
      const groups = Array.from({ length: network.groups ?? 1 }, (_, group) =>
        network.stages.map(({ channels, resolution }, stage) =>
          this.addChild(
            new DiscriminatorHead({
              prefix: `networks.${n}.groups.${group}.heads.${stage}.`,
              channels,
              start: resolution,
              end: Math.min(options.end ?? 4, resolution),
              width: () => options.width ?? channels,
            }),
          ),
        ),
      );
      return { network, heads: groups };
    });
  }

  /** Throws `E_SHAPE` where the batch is smaller than the groups of a network. */
  logits(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor2D[] {
    return tf.tidy(() =>
      this.#networks.map(({ network, heads }) => {
        const batch = images.shape[0];
        if (batch < heads.length)
          throw new ArgumentError('E_SHAPE', `${network.name}: expected at least ${heads.length} images, one a noise level, got ${batch}`, {
            help: 'use larger batches or fewer noise levels',
          });
        const maps = network.features(images, inputs);
        const bounds = groupBounds(batch, heads.length);
        const groups = heads.map((stages, group) => {
          const [from, to] = [bounds[group]!, bounds[group + 1]!];
          const logits = stages.map((head, stage) => {
            const map = maps[stage]!;
            const part = heads.length === 1 ? map : tf.slice4d(map, [from, 0, 0, 0], [to - from, -1, -1, -1]);
            return tf.reshape(head.forward(part), [to - from, -1]) as tf.Tensor2D;
          });
          return logits.length === 1 ? logits[0]! : tf.concat(logits, 1);
        });
        return groups.length === 1 ? groups[0]! : tf.concat(groups, 0);
      }),
    );
  }
}
