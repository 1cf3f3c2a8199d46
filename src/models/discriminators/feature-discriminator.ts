/**
 * A discriminator over frozen feature networks: one trained head for each stage of each network.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Discriminator, DiscriminatorInputs, JudgedImages } from '../../core/contracts/training.js';
import { ArgumentError } from '../../core/errors.js';
import { groupBounds, type FeatureNetwork } from '../features/feature-network.js';
import { Module } from '../nn/module.js';
import type { ClassCondition, ClassProjection } from './class-projection.js';
import { ConditionalHead } from './conditional-head.js';
import { DiscriminatorHead } from './head.js';

/** Options of {@link FeatureDiscriminator}. */
export interface FeatureDiscriminatorOptions {
  /** Nominal size of the map of a stage, from which the halvings of its head are counted. Default: its own size. */
  start?: ((stage: number) => number) | undefined;
  /** Size at which the heads' last convolution stands. Default 4. */
  end?: number | undefined;
  /** Channels of the heads after each halving, by the size it leads to. Default: those of the feature map they stand on. */
  width?: number | ((size: number) => number) | undefined;
  /** Class-conditional heads. Default: heads that know no classes. */
  condition?: ClassCondition | undefined;
}

/** One tensor of logits a feature network: its heads' logits side by side. */
export class FeatureDiscriminator extends Module implements Discriminator {
  readonly name: string;
  /** Of class-conditional heads, in order. */
  readonly classProjections: readonly ClassProjection[];
  /** Heads by network, group of the batch, and stage. */
  readonly #networks: { network: FeatureNetwork; heads: (DiscriminatorHead | ConditionalHead)[][] }[];

  constructor(networks: readonly FeatureNetwork[], options: FeatureDiscriminatorOptions = {}) {
    super();
    const { start, end = 4, width, condition } = options;
    this.name = networks.map(({ name }) => name).join('+');
    const widthOf = (channels: number) => (size: number) => (typeof width === 'function' ? width(size) : (width ?? channels));
    const projections: ClassProjection[] = [];
    this.#networks = networks.map((network, n) => {
      const groups = Array.from({ length: network.groups ?? 1 }, (_, group) =>
        network.stages.map(({ channels, resolution }, stage) => {
          const nominal = start?.(stage) ?? resolution;
          const prefix = `networks.${n}.groups.${group}.heads.${stage}.`;
          const head = { prefix, channels, start: nominal, end: Math.min(end, nominal), width: widthOf(channels) };
          if (!condition) return this.addChild(new DiscriminatorHead(head));
          const conditional = this.addChild(new ConditionalHead(head, condition));
          projections.push(conditional.projection);
          return conditional;
        }),
      );
      return { network, heads: groups };
    });
    this.classProjections = projections;
  }

  /** Throws `E_SHAPE` where the batch is smaller than the groups of a network, and as {@link ConditionalHead} for its labels. */
  logits(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor2D[] {
    return tf.tidy(() =>
      this.#networks.map(({ network, heads }) => {
        const batch = images.shape[0];
        if (batch < heads.length)
          throw new ArgumentError('E_SHAPE', `${network.name}: expected at least ${heads.length} images, one a noise level, got ${batch}`, {
            help: 'use larger batches or fewer noise levels',
          });
        return judge(heads, network.features(images, inputs), inputs.classLabels);
      }),
    );
  }

  /** A network without groups looks at all batches in one pass; heads, whose batch statistics are a batch's own, judge each. */
  logitsOfEach(batches: readonly JudgedImages[]): tf.Tensor2D[][] {
    const grouped = this.#networks.some(({ heads }) => heads.length > 1);
    const alike = batches.every(({ random, classLabels }) => random === batches[0]!.random && !classLabels === !batches[0]!.classLabels);
    if (grouped || !alike) return batches.map(({ images, ...inputs }) => this.logits(images, inputs));
    return tf.tidy(() => {
      const images = tf.concat(batches.map((batch) => batch.images));
      const labels = batches.flatMap(({ classLabels }) => classLabels ?? []);
      const inputs = { random: batches[0]!.random, classLabels: labels.length > 0 ? tf.concat(labels) : undefined };
      const byNetwork = this.#networks.map(({ network, heads }) => {
        const maps = network.features(images, inputs);
        const counts = batches.map((batch) => batch.images.shape[0]);
        const parts = maps.map((map) => tf.split(map, counts) as tf.Tensor4D[]);
        return batches.map((batch, i) =>
          judge(
            heads,
            parts.map((part) => part[i]!),
            batch.classLabels,
          ),
        );
      });
      return batches.map((_, batch) => byNetwork.map((logits) => logits[batch]!));
    });
  }
}

/** The logits `[B, N]` of one network: heads by group of the batch and stage, on the maps of the stages. */
function judge(
  heads: readonly (readonly (DiscriminatorHead | ConditionalHead)[])[],
  maps: readonly tf.Tensor4D[],
  classLabels: tf.Tensor2D | undefined,
): tf.Tensor2D {
  const bounds = groupBounds(maps[0]!.shape[0], heads.length);
  const counts = heads.map((_, group) => bounds[group + 1]! - bounds[group]!);
  // Cut at once: the gradient is one concatenation, not a padded tensor a part.
  const cut = <T extends tf.Tensor>(whole: T): T[] => (heads.length === 1 ? [whole] : (tf.split(whole, counts) as T[]));
  const labels = classLabels && cut(classLabels);
  const parts = maps.map(cut);
  const groups = heads.map((stages, group) => {
    const logits = stages.map((head, stage) => {
      const made = head.forward(parts[stage]![group]!, labels?.[group]);
      return tf.reshape(made, [counts[group]!, -1]) as tf.Tensor2D;
    });
    return logits.length === 1 ? logits[0]! : tf.concat(logits, 1);
  });
  return groups.length === 1 ? groups[0]! : tf.concat(groups, 0);
}
