/**
 * What the frozen networks of the field have in common: images are resized and normalised, published weights are loaded.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { RandomSource } from '../../core/contracts/random.js';
import { ArgumentError } from '../../core/errors.js';
import type { NamedTensor } from '../../core/parameter.js';
import { Module, type WeightSource } from '../nn/module.js';
import { resizeBilinear } from '../nn/resample.js';
import type { FeatureInput, FeatureNetwork, FeatureStage } from './feature-network.js';

/** Mean and standard deviation of ImageNet's images in [0, 1]. */
export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** The size to which the method resizes images (Projected GAN, arXiv 2111.01007). */
export const FEATURE_SIZE = 224;

/** `images` `[B, H, W, 3]` in [-1, 1] at the network's size, normalised. Throws `E_SHAPE` for other channels. */
export function prepareImages(images: tf.Tensor4D, { size, mean, std }: FeatureInput): tf.Tensor4D {
  if (images.shape[3] !== mean.length)
    throw new ArgumentError('E_SHAPE', `features: expected images of ${mean.length} channels, got [${images.shape.join(', ')}]`, {
      help: 'networks that were trained on photographs take colour images; repeat a single channel three times',
    });
  return tf.tidy(() => {
    // ((x + 1) / 2 - mean) / std = x a + b, before the resizing, which keeps it: its weights sum to 1.
    const a = std.map((deviation) => 0.5 / deviation);
    const b = mean.map((centre, c) => (0.5 - centre) / std[c]!);
    const scaled = a.every((value) => value === 1) ? images : tf.mul<tf.Tensor4D>(images, tf.tensor1d(a));
    const normal = b.every((value) => value === 0) ? scaled : tf.add<tf.Tensor4D>(scaled, tf.tensor1d(b));
    return resizeBilinear(normal, [size, size]);
  });
}

/** A layer that derives from its published weights what it computes with. */
export interface FrozenLayer extends Module {
  /** Makes what is derived, if the weights have changed. */
  prepare(): void;
  /** Does as `prepare`, and frees the published tensors. */
  release(): void;
}

/** Tensors that are made of others, kept until those change. */
export class Derived<Name extends string> {
  #sources: readonly tf.Tensor[] = [];
  #made: Record<Name, tf.Tensor> | undefined;

  /** What `make` made of `sources` when they last had other values than now; those that have been freed have no others. */
  of(sources: readonly NamedTensor[], make: () => Record<Name, tf.Tensor>): Record<Name, tf.Tensor> {
    if (this.#made && sources.every((tensor, i) => !tensor.allocated || tensor.value === this.#sources[i])) return this.#made;
    this.dispose();
    const made = tf.tidy(() => {
      const result = make();
      for (const tensor of Object.values<tf.Tensor>(result)) tf.keep(tensor);
      return result as tf.TensorContainer;
    }) as unknown as Record<Name, tf.Tensor>;
    this.#sources = sources.map((tensor) => tensor.value);
    return (this.#made = made);
  }

  dispose(): void {
    if (this.#made) tf.dispose(this.#made as tf.TensorContainer);
    this.#made = undefined;
  }
}

/**
 * A frozen network with published weights. Its tensors are buffers, under their published names; it has no parameters.
 *
 * `load` and `initialize` prepare what every step uses: batch normalisation is folded into convolutions there. After `freePublished` the
 * published values are freed as soon as that is done, which halves the memory of a run.
 */
export abstract class PretrainedFeatures extends Module implements FeatureNetwork {
  abstract readonly name: string;
  abstract readonly stages: readonly FeatureStage[];
  abstract readonly input: FeatureInput;
  readonly readout: Module | undefined = undefined;

  readonly #frozen: FrozenLayer[] = [];
  /** Whether published values are freed once they are folded. */
  protected light = false;

  /**
   * Keeps, from the next `load`, `initialize` or `features` on, only what is computed with. `tensors()` then have names and
   * shapes but no values (`E_WEIGHTS_ABSENT`); `load` brings other values as before.
   */
  freePublished(): this {
    this.light = true;
    return this;
  }

  /** The feature maps of images that `prepareImages` made. */
  protected abstract maps(images: tf.Tensor4D): tf.Tensor4D[];

  /** Makes what is derived from the weights, so that a step makes no tensors that stay. */
  protected prepare(): void {
    for (const layer of this.#frozen) {
      if (this.light) layer.release();
      else layer.prepare();
    }
  }

  protected addFrozen<L extends FrozenLayer>(layer: L): L {
    this.#frozen.push(layer);
    return this.addChild(layer);
  }

  features(images: tf.Tensor4D): tf.Tensor4D[] {
    if (this.light) this.prepare();
    return tf.tidy(() => this.maps(prepareImages(images, this.input)));
  }

  /** Random weights, the readout's among them. */
  override initialize(random: RandomSource): this {
    super.initialize(random);
    this.readout?.initialize(random);
    this.prepare();
    return this;
  }

  /** Published weights; the readout's come from `initialize` or a checkpoint. Throws `E_WEIGHTS_MISMATCH`. */
  override async load(source: WeightSource): Promise<this> {
    await super.load(source);
    this.prepare();
    return this;
  }

  override dispose(): void {
    super.dispose();
    for (const layer of this.#frozen) layer.dispose();
    this.readout?.dispose();
  }
}
