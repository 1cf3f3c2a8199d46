/**
 * What every feature extractor with published weights has in common: read once, run in parts, say what it is.
 */
import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { FeatureExtractor, ImageShape } from '../../core/contracts/metric.js';
import { ArgumentError, DownloadError } from '../../core/errors.js';
import { openFeatureFile } from '../features/feature-weights.js';
import type { Module } from '../nn/module.js';
import { colourImages } from './prepare-images.js';
import { hashing, weightsIn, type WeightLayout } from './weight-layout.js';

/** Options that every extractor has. */
export const extractorOptions = z.strictObject({
  /** Images that go through the network at once; more take more memory and change no feature but by rounding. */
  batchSize: z.int().positive().optional(),
  /** Where downloads are kept; undefined: `cacheDirectory()`. */
  cacheDir: z.string().min(1).optional(),
  /** True: nothing is downloaded; undefined: as ONESTEP_OFFLINE and HF_HUB_OFFLINE say. */
  offline: z.boolean().optional(),
});

/** An extractor whose weights are read from a file. */
export type PretrainedExtractor = FeatureExtractor & Required<Pick<FeatureExtractor, 'check' | 'prepare' | 'identity' | 'dispose'>>;

/** A frozen network that maps images to features. */
export interface ExtractorNetwork extends Module {
  /** Frees what loading needed and computing does not. */
  release(): void;
}

/** What sets an extractor apart from the others. */
export interface NetworkExtractorParts<N extends ExtractorNetwork> {
  name: string;
  dimensions: number;
  classes?: number;
  weights: string;
  options: z.output<typeof extractorOptions>;
  /** Images at once where the options do not say. */
  batchSize: number;
  layouts: readonly WeightLayout[];
  create(): N;
  /** Says how pixels become the network's input and what is computed of it, for the identity. */
  arithmetic: string;
  /** uint8 images of three channels as the network's input. */
  prepareImages(images: Uint8Array, shape: ImageShape): tf.Tensor4D;
  /** `[B, dimensions]`. */
  features(network: N, x: tf.Tensor4D): tf.Tensor2D;
  /** `[B, classes]` from features. */
  probabilities?(network: N, features: tf.Tensor2D): tf.Tensor2D;
}

/**
 * A {@link FeatureExtractor} of a network in a file; nothing is read before `prepare`, which the first `extract` awaits if nobody did.
 *
 * After `dispose` it can be prepared again.
 */
export class NetworkExtractor<N extends ExtractorNetwork> implements PretrainedExtractor {
  readonly name: string;
  readonly dimensions: number;
  readonly classes?: number;
  readonly extractWithProbabilities?: (
    images: Uint8Array,
    shape: ImageShape,
  ) => Promise<{ features: Float32Array; probabilities: Float32Array }>;
  readonly #parts: NetworkExtractorParts<N>;
  #prepared: Promise<N> | undefined;
  #loaded: N | undefined;
  #identity: string | undefined;

  constructor(parts: NetworkExtractorParts<N>) {
    this.#parts = parts;
    this.name = parts.name;
    this.dimensions = parts.dimensions;
    if (parts.classes !== undefined && parts.probabilities) {
      this.classes = parts.classes;
      this.extractWithProbabilities = (images, shape) => this.#run(images, shape, true);
    }
  }

  /** Opens the file of weights, if it is on this machine. Throws as `resolveReference` for a path or name of nothing, and as the formats' readers. */
  async check(): Promise<void> {
    const { weights, options } = this.#parts;
    try {
      await openFeatureFile(weights, { ...options, offline: true });
    } catch (error) {
      if (!(error instanceof DownloadError && error.code === 'E_DOWNLOAD_OFFLINE')) throw error;
    }
  }

  /** Reads the weights. Throws `E_WEIGHTS_MISMATCH` for another network's file, and as `resolveReference` and the formats' readers. */
  async prepare(): Promise<void> {
    await this.#network();
  }

  identity(): string {
    if (this.#identity === undefined)
      throw new ArgumentError('E_VALUE', `${this.name}: expected an identity of weights, none have been read yet`, {
        help: 'await prepare() first',
      });
    return this.#identity;
  }

  async extract(images: Uint8Array, shape: ImageShape): Promise<Float32Array> {
    return (await this.#run(images, shape, false)).features;
  }

  dispose(): void {
    const reading = this.#prepared;
    this.#prepared = undefined;
    if (this.#loaded) this.#loaded.dispose();
    else
      void reading?.then(
        (network) => network.dispose(),
        () => undefined, // Whoever awaited it was told.
      );
    this.#loaded = undefined;
  }

  #network(): Promise<N> {
    if (this.#prepared) return this.#prepared;
    const reading: Promise<N> = this.#read().then(
      (network) => {
        // Still wanted, unless it was disposed meanwhile.
        if (this.#prepared === reading) this.#loaded = network;
        return network;
      },
      (error: unknown) => {
        if (this.#prepared === reading) this.#prepared = undefined;
        throw error;
      },
    );
    return (this.#prepared = reading);
  }

  async #read(): Promise<N> {
    const { weights, options, create, layouts, name, arithmetic } = this.#parts;
    const network = create();
    try {
      const { file, path } = await openFeatureFile(weights, options);
      const hash = createHash('sha256').update(`${name}\n${arithmetic}\n`);
      await network.load(hashing(weightsIn(file, path, network, layouts), hash));
      network.release();
      this.#identity = `${name}-${hash.digest('hex').slice(0, 32)}`;
      return network;
    } catch (error) {
      network.dispose();
      throw error;
    }
  }

  async #run(images: Uint8Array, shape: ImageShape, classify: boolean): Promise<{ features: Float32Array; probabilities: Float32Array }> {
    const parts = this.#parts;
    const colour = colourImages(this.name, images, shape);
    const network = await this.#network();
    const [batch, ...rest] = colour.shape;
    const size = rest[0] * rest[1] * rest[2];
    const [dimensions, classes] = [this.dimensions, classify ? this.classes! : 0];
    const result = { features: new Float32Array(batch * dimensions), probabilities: new Float32Array(batch * classes) };
    const step = parts.options.batchSize ?? parts.batchSize;
    for (let start = 0; start < batch; start += step) {
      const end = Math.min(batch, start + step);
      const tensors = tf.tidy(() => {
        const x = parts.prepareImages(colour.images.subarray(start * size, end * size), [end - start, ...rest]);
        const features = parts.features(network, x);
        return classify ? [features, parts.probabilities!(network, features)] : [features];
      });
      try {
        const [features, probabilities] = await Promise.all(tensors.map((tensor) => tensor.data<'float32'>()));
        result.features.set(features!, start * dimensions);
        if (probabilities) result.probabilities.set(probabilities, start * classes);
      } finally {
        tf.dispose(tensors);
      }
    }
    return result;
  }
}
