/**
 * A frozen feature network behind a random frozen projection, as one feature network (Projected GAN, arXiv 2111.01007).
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { RandomSource } from '../../core/contracts/random.js';
import type { DiscriminatorInputs } from '../../core/contracts/training.js';
import { WeightsError } from '../../core/errors.js';
import type { NamedTensor } from '../../core/parameter.js';
import { RandomProjection } from '../discriminators/random-projection.js';
import { AliasTensor } from '../nn/alias.js';
import { Module } from '../nn/module.js';
import type { FeatureNetwork, FeatureNetworkLoader, FeatureStage } from './feature-network.js';

/** A feature network, or what brings one when a run starts. */
export type FeatureNetworkSource = FeatureNetwork | FeatureNetworkLoader;

const isLoader = (source: FeatureNetworkSource): source is FeatureNetworkLoader => 'describe' in source;

/** The network, or that of a loader without its values. */
export const describeNetwork = (source: FeatureNetworkSource): FeatureNetwork => (isLoader(source) ? source.describe() : source);

/** Options of {@link ProjectedFeatures}. */
export interface ProjectedFeaturesOptions {
  /** Stands before every tensor name. */
  prefix: string;
  /** Channels after cross-channel mixing, by stage. Default: 64, 128, 256, 512. */
  widths?: readonly number[] | undefined;
}

/**
 * The stages of `source`, mixed at random: as many maps, each twice as large as the stage, with the projection's channels.
 *
 * Of a loader only the architecture is known until `prepare` has read its weights. The projection and the random layers
 * of the network itself (its readout) are buffers: what makes the features of one run the same on every process and
 * after a resume. The weights that a file brings are in no checkpoint; `dispose` frees them.
 */
export class ProjectedFeatures extends Module implements FeatureNetwork {
  readonly name: string;
  readonly stages: readonly FeatureStage[];
  readonly groups: number | undefined;
  readonly #prefix: string;
  readonly #projection: RandomProjection;
  readonly #loader: FeatureNetworkLoader | undefined;
  #network: FeatureNetwork;

  constructor(source: FeatureNetworkSource, { prefix, widths }: ProjectedFeaturesOptions) {
    super();
    this.#loader = isLoader(source) ? source : undefined;
    this.#network = describeNetwork(source);
    this.#prefix = prefix;
    this.name = this.#network.name;
    this.groups = this.#network.groups;
    const { stages } = this.#network;
    const channels = stages.map((stage) => stage.channels);
    this.#projection = this.addChild(new RandomProjection({ prefix: `${prefix}projection.`, channels, ...(widths && { widths }) }));
    this.stages = stages.map((stage, i) => ({
      name: stage.name,
      resolution: 2 * stage.resolution,
      channels: this.#projection.outputs[i]!,
    }));
  }

  /** Reads the weights; throws as the loader, and `E_WEIGHTS_MISMATCH` for a network with other stages than it described. */
  async prepare(random: RandomSource): Promise<void> {
    if (!this.#loader) return;
    const loaded = await this.#loader.load(random);
    const stages = ({ stages: all }: FeatureNetwork) => all.map(({ resolution, channels }) => `${resolution}x${channels}`).join(', ');
    if (stages(loaded) !== stages(this.#network)) {
      loaded.dispose();
      throw new WeightsError('E_WEIGHTS_MISMATCH', `${this.name}: expected stages ${stages(this.#network)}, loaded ${stages(loaded)}`, {
        help: 'describe() and load() of a loader must give the same architecture',
      });
    }
    this.#network.dispose?.();
    this.#network = loaded;
  }

  features(images: tf.Tensor4D, inputs: DiscriminatorInputs): tf.Tensor4D[] {
    return this.#projection.forward(this.#network.features(images, inputs));
  }

  /** What a file brings, and the readout, which comes with it. */
  frozen(): NamedTensor[] {
    return [...(this.#network.tensors?.() ?? []), ...(this.#network.readout?.tensors() ?? [])];
  }

  override buffers(): NamedTensor[] {
    const readout = this.#network.readout?.tensors() ?? [];
    return [...super.buffers(), ...readout.map((tensor) => new AliasTensor(`${this.#prefix}${tensor.name}`, tensor))];
  }

  override dispose(): void {
    super.dispose();
    this.#network.dispose?.();
  }
}
