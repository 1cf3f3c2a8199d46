/**
 * DhariwalUNet: ADM (Dhariwal and Nichol 2021, arXiv 2105.05233) in the form of EDM (Karras et al. 2022, arXiv 2206.00364).
 */
import * as tf from '@tensorflow/tfjs-core';
import { silu } from '../../core/autodiff/index.js';
import { Conv2d, GroupNorm, Linear, positionalEmbedding, type LayerInitialization } from '../nn/layers.js';
import { kaimingUniform, zeros } from '../nn/initializers.js';
import { Module } from '../nn/module.js';
import type { Backbone, BackboneInputs, DhariwalUNetConfig, EncoderStage } from './backbone.js';
import { UNetBlock, type UNetBlockOptions } from './unet-block.js';

const EPSILON = 1e-5;
const CHANNELS_PER_HEAD = 64;

const kaiming: LayerInitialization = {
  weight: (fanIn) => kaimingUniform(fanIn, Math.sqrt(1 / 3)),
  bias: (fanIn) => kaimingUniform(fanIn, Math.sqrt(1 / 3)),
};
const zero: LayerInitialization = { weight: () => zeros, bias: () => zeros };

export class DhariwalUNet extends Module implements Backbone {
  readonly stages: readonly EncoderStage[];
  readonly #encoder: (Conv2d | UNetBlock)[] = [];
  readonly #decoder: UNetBlock[] = [];
  readonly #mapAugment: Linear | undefined;
  readonly #mapLayer0: Linear;
  readonly #mapLayer1: Linear;
  readonly #mapLabel: Linear | undefined;
  readonly #outNorm: GroupNorm;
  readonly #outConv: Conv2d;

  constructor(
    readonly config: DhariwalUNetConfig,
    prefix = 'model.',
  ) {
    super();
    const { model_channels, channel_mult, img_resolution, img_channels, num_blocks, attn_resolutions } = config;
    const embeddingChannels = model_channels * config.channel_mult_emb;
    const mapping = (name: string) => ({ name: `${prefix}${name}`, role: 'mapping' as const });
    if (config.augment_dim > 0)
      this.#mapAugment = this.addChild(new Linear(mapping('map_augment'), config.augment_dim, model_channels, zero, { bias: false }));
    this.#mapLayer0 = this.addChild(new Linear(mapping('map_layer0'), model_channels, embeddingChannels, kaiming));
    this.#mapLayer1 = this.addChild(new Linear(mapping('map_layer1'), embeddingChannels, embeddingChannels, kaiming));
    if (config.label_dim > 0)
      this.#mapLabel = this.addChild(new Linear(mapping('map_label'), config.label_dim, embeddingChannels, kaiming, { bias: false }));

    const block = (name: string, level: number, inputs: number, outputs: number, more: Partial<UNetBlockOptions> = {}) =>
      this.addChild(
        new UNetBlock({
          name: `${prefix}${name}`,
          level,
          inputs,
          outputs,
          embeddingChannels,
          filter: [1, 1],
          heads: 0,
          epsilon: EPSILON,
          skipScale: 1,
          adaptiveScale: true,
          resampleProjection: false,
          dropout: config.dropout,
          initialization: kaiming,
          zeroInitialization: zero,
          attentionInitialization: kaiming,
          ...more,
        }),
      );
    const headsAt = (resolution: number, channels: number) =>
      attn_resolutions.includes(resolution) ? Math.floor(channels / CHANNELS_PER_HEAD) : 0;

    // Encoder.
    let channels = img_channels;
    const skips: number[] = [];
    const stages: EncoderStage[] = [];
    channel_mult.forEach((multiplier, level) => {
      const resolution = img_resolution >> level;
      const at = `enc.${resolution}x${resolution}`;
      const add = (name: string, layer: Conv2d | UNetBlock) => {
        this.#encoder.push(layer);
        skips.push(channels);
        stages.push({ name, resolution, channels });
      };
      if (level === 0) {
        channels = model_channels * multiplier;
        const place = { name: `${prefix}${at}_conv`, role: 'input' as const, level };
        add(`${at}_conv`, this.addChild(new Conv2d(place, img_channels, channels, kaiming, { kernel: 3 })));
      } else add(`${at}_down`, block(`${at}_down`, level, channels, channels, { resample: 'down' }));
      for (let index = 0; index < num_blocks; index++) {
        const inputs = channels;
        channels = model_channels * multiplier;
        add(`${at}_block${index}`, block(`${at}_block${index}`, level, inputs, channels, { heads: headsAt(resolution, channels) }));
      }
    });
    this.stages = stages;

    // Decoder, coarse to fine.
    for (let level = channel_mult.length - 1; level >= 0; level--) {
      const resolution = img_resolution >> level;
      const at = `dec.${resolution}x${resolution}`;
      if (level === channel_mult.length - 1) {
        const heads = Math.floor(channels / CHANNELS_PER_HEAD);
        this.#decoder.push(block(`${at}_in0`, level, channels, channels, { heads }));
        this.#decoder.push(block(`${at}_in1`, level, channels, channels));
      } else this.#decoder.push(block(`${at}_up`, level, channels, channels, { resample: 'up' }));
      for (let index = 0; index <= num_blocks; index++) {
        const inputs = channels + skips.pop()!;
        channels = model_channels * channel_mult[level]!;
        this.#decoder.push(block(`${at}_block${index}`, level, inputs, channels, { heads: headsAt(resolution, channels) }));
      }
    }
    const output = (name: string) => ({ name: `${prefix}${name}`, role: 'output' as const, level: 0 });
    this.#outNorm = this.addChild(new GroupNorm(output('out_norm'), channels, { epsilon: EPSILON, silu: true }));
    this.#outConv = this.addChild(new Conv2d(output('out_conv'), channels, img_channels, zero, { kernel: 3 }));
  }

  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: BackboneInputs = {}): tf.Tensor4D {
    return tf.tidy(() => {
      const embedding = this.#embed(noise, inputs);
      const skips = this.#encode(x, embedding, inputs, this.#encoder.length);
      let y = skips.at(-1)!;
      for (const block of this.#decoder) {
        if (y.shape[3] !== block.inputs) y = tf.concat([y, skips.pop()!], 3);
        y = block.forward(y, embedding, inputs.dropout);
      }
      return this.#outConv.forward(this.#outNorm.forward(y));
    });
  }

  encode(x: tf.Tensor4D, noise: tf.Tensor1D, stages: readonly string[], inputs: BackboneInputs = {}): tf.Tensor4D[] {
    return tf.tidy(() => {
      const indices = stages.map((stage) => this.stages.findIndex(({ name }) => name === stage));
      const outputs = this.#encode(x, this.#embed(noise, inputs), inputs, Math.max(...indices) + 1);
      return indices.map((index) => outputs[index]!);
    });
  }

  #embed(noise: tf.Tensor1D, { classLabels, augmentLabels }: BackboneInputs): tf.Tensor2D {
    let embedding = positionalEmbedding(noise, this.config.model_channels, 'adm');
    if (this.#mapAugment && augmentLabels) embedding = tf.add(embedding, this.#mapAugment.forward(augmentLabels));
    embedding = this.#mapLayer1.forward(silu(this.#mapLayer0.forward(embedding)));
    if (this.#mapLabel && classLabels) embedding = tf.add(embedding, this.#mapLabel.forward(classLabels));
    return silu(embedding);
  }

  #encode(x: tf.Tensor4D, embedding: tf.Tensor2D, { dropout }: BackboneInputs, count: number): tf.Tensor4D[] {
    const outputs: tf.Tensor4D[] = [];
    let y = x;
    for (const layer of this.#encoder.slice(0, count))
      outputs.push((y = layer instanceof UNetBlock ? layer.forward(y, embedding, dropout) : layer.forward(y)));
    return outputs;
  }
}
