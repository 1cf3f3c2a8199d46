/**
 * SongUNet: DDPM++ (Ho et al. 2020, Song et al. 2021) and NCSN++ in the form of EDM (Karras et al. 2022, arXiv 2206.00364).
 */
import * as tf from '@tensorflow/tfjs-core';
import type { NamedTensor } from '../../core/parameter.js';
import { silu } from '../../core/autodiff/index.js';
import { Conv2d, fourierEmbedding, GroupNorm, Linear, positionalEmbedding, type LayerInitialization } from '../nn/layers.js';
import { normal, xavierUniform, zeros } from '../nn/initializers.js';
import { Module } from '../nn/module.js';
import type { Backbone, BackboneInputs, EncoderStage, SongUNetConfig } from './backbone.js';
import { UNetBlock, type UNetBlockOptions } from './unet-block.js';

const EPSILON = 1e-6;

const xavier = (scale: number): LayerInitialization => ({
  weight: (fanIn, fanOut) => xavierUniform(fanIn, fanOut, scale),
  bias: () => zeros,
});

type EncoderStep =
  { kind: 'conv' | 'auxDown' | 'auxSkip' | 'auxResidual'; name: string; layer: Conv2d } | { kind: 'block'; name: string; layer: UNetBlock };

type DecoderStep =
  { kind: 'block'; layer: UNetBlock } | { kind: 'auxUp'; layer: Conv2d } | { kind: 'auxOutput'; norm: GroupNorm; conv: Conv2d };

export class SongUNet extends Module implements Backbone {
  readonly stages: readonly EncoderStage[];
  readonly #encoder: EncoderStep[] = [];
  readonly #decoder: DecoderStep[] = [];
  readonly #noiseChannels: number;
  readonly #frequencies: NamedTensor | undefined;
  readonly #mapLabel: Linear | undefined;
  readonly #mapAugment: Linear | undefined;
  readonly #mapLayer0: Linear;
  readonly #mapLayer1: Linear;

  constructor(
    readonly config: SongUNetConfig,
    prefix = 'model.',
  ) {
    super();
    const { model_channels, channel_mult, img_resolution, img_channels, num_blocks, attn_resolutions } = config;
    const embeddingChannels = model_channels * config.channel_mult_emb;
    const noiseChannels = (this.#noiseChannels = model_channels * config.channel_mult_noise);
    const initialization = xavier(1);
    const zeroInitialization = xavier(1e-5);

    // Mapping: noise level, labels, augmentation.
    const mapping = (name: string) => ({ name: `${prefix}${name}`, role: 'mapping' as const });
    if (config.embedding_type === 'fourier')
      this.#frequencies = this.addBuffer(`${prefix}map_noise.freqs`, [noiseChannels / 2], normal(16));
    if (config.label_dim > 0)
      this.#mapLabel = this.addChild(new Linear(mapping('map_label'), config.label_dim, noiseChannels, initialization));
    if (config.augment_dim > 0)
      this.#mapAugment = this.addChild(
        new Linear(mapping('map_augment'), config.augment_dim, noiseChannels, initialization, { bias: false }),
      );
    this.#mapLayer0 = this.addChild(new Linear(mapping('map_layer0'), noiseChannels, embeddingChannels, initialization));
    this.#mapLayer1 = this.addChild(new Linear(mapping('map_layer1'), embeddingChannels, embeddingChannels, initialization));

    const block = (name: string, level: number, inputs: number, outputs: number, more: Partial<UNetBlockOptions> = {}) =>
      this.addChild(
        new UNetBlock({
          name: `${prefix}${name}`,
          level,
          inputs,
          outputs,
          embeddingChannels,
          filter: config.resample_filter,
          heads: 0,
          epsilon: EPSILON,
          skipScale: Math.SQRT1_2,
          adaptiveScale: false,
          resampleProjection: true,
          dropout: config.dropout,
          initialization,
          zeroInitialization,
          attentionInitialization: xavier(Math.sqrt(0.2)),
          ...more,
        }),
      );
    const filter = config.resample_filter;

    // Encoder.
    let channels = img_channels;
    let auxChannels = img_channels;
    const skips: number[] = [];
    const stages: EncoderStage[] = [];
    channel_mult.forEach((multiplier, level) => {
      const resolution = img_resolution >> level;
      const at = `${resolution}x${resolution}`;
      const aux = (suffix: string) => ({ name: `${prefix}enc.${at}_aux_${suffix}`, role: 'aux' as const, level });
      const stage = (name: string) => {
        skips.push(channels);
        stages.push({ name, resolution, channels });
      };
      if (level === 0) {
        channels = model_channels;
        const name = `enc.${at}_conv`;
        const place = { name: `${prefix}${name}`, role: 'input' as const, level };
        const layer = this.addChild(new Conv2d(place, img_channels, channels, initialization, { kernel: 3 }));
        this.#encoder.push({ kind: 'conv', name, layer });
        stage(name);
      } else {
        const name = `enc.${at}_down`;
        this.#encoder.push({ kind: 'block', name, layer: block(name, level, channels, channels, { resample: 'down' }) });
        if (config.encoder_type === 'skip') {
          const down = new Conv2d(aux('down'), auxChannels, auxChannels, initialization, { kernel: 0, resample: 'down', filter });
          const skip = new Conv2d(aux('skip'), auxChannels, channels, initialization, { kernel: 1 });
          this.#encoder.push({ kind: 'auxDown', name, layer: this.addChild(down) });
          this.#encoder.push({ kind: 'auxSkip', name, layer: this.addChild(skip) });
        }
        if (config.encoder_type === 'residual') {
          const options = { kernel: 3 as const, resample: 'down' as const, filter, fused: true };
          const layer = new Conv2d(aux('residual'), auxChannels, channels, initialization, options);
          this.#encoder.push({ kind: 'auxResidual', name, layer: this.addChild(layer) });
          auxChannels = channels;
        }
        stage(name);
      }
      for (let index = 0; index < num_blocks; index++) {
        const inputs = channels;
        channels = model_channels * multiplier;
        const name = `enc.${at}_block${index}`;
        const heads = attn_resolutions.includes(resolution) ? 1 : 0;
        this.#encoder.push({ kind: 'block', name, layer: block(name, level, inputs, channels, { heads }) });
        stage(name);
      }
    });
    this.stages = stages;

    // Decoder, coarse to fine.
    for (let level = channel_mult.length - 1; level >= 0; level--) {
      const resolution = img_resolution >> level;
      const at = `${resolution}x${resolution}`;
      const lowest = level === channel_mult.length - 1;
      const add = (layer: UNetBlock) => this.#decoder.push({ kind: 'block', layer });
      if (lowest) {
        add(block(`dec.${at}_in0`, level, channels, channels, { heads: 1 }));
        add(block(`dec.${at}_in1`, level, channels, channels));
      } else add(block(`dec.${at}_up`, level, channels, channels, { resample: 'up' }));
      for (let index = 0; index <= num_blocks; index++) {
        const inputs = channels + skips.pop()!;
        channels = model_channels * channel_mult[level]!;
        const heads = index === num_blocks && attn_resolutions.includes(resolution) ? 1 : 0;
        add(block(`dec.${at}_block${index}`, level, inputs, channels, { heads }));
      }
      if (config.decoder_type === 'skip' || level === 0) {
        const role = level === 0 ? ('output' as const) : ('aux' as const);
        const place = (part: string) => ({ name: `${prefix}dec.${at}_aux_${part}`, role, level });
        if (config.decoder_type === 'skip' && !lowest) {
          const up = new Conv2d(place('up'), img_channels, img_channels, initialization, { kernel: 0, resample: 'up', filter });
          this.#decoder.push({ kind: 'auxUp', layer: this.addChild(up) });
        }
        const norm = this.addChild(new GroupNorm(place('norm'), channels, { epsilon: EPSILON, silu: true }));
        const conv = this.addChild(new Conv2d(place('conv'), channels, img_channels, zeroInitialization, { kernel: 3 }));
        this.#decoder.push({ kind: 'auxOutput', norm, conv });
      }
    }
  }

  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: BackboneInputs = {}): tf.Tensor4D {
    return tf.tidy(() => {
      const embedding = this.#embed(noise, inputs);
      const skips = this.#encode(x, embedding, inputs);
      let y = skips.at(-1)!.features;
      let aux: tf.Tensor4D | undefined;
      for (const step of this.#decoder) {
        if (step.kind === 'auxUp') aux = step.layer.forward(aux!);
        else if (step.kind === 'auxOutput') {
          const output = step.conv.forward(step.norm.forward(y));
          aux = aux ? tf.add<tf.Tensor4D>(aux, output) : output;
        } else {
          if (y.shape[3] !== step.layer.inputs) y = tf.concat([y, skips.pop()!.features], 3);
          y = step.layer.forward(y, embedding, inputs.dropout);
        }
      }
      return aux!;
    });
  }

  encode(x: tf.Tensor4D, noise: tf.Tensor1D, stages: readonly string[], inputs: BackboneInputs = {}): tf.Tensor4D[] {
    return tf.tidy(() => {
      const computed = this.#encode(x, this.#embed(noise, inputs), inputs, stages);
      return stages.map((stage) => computed.find(({ name }) => name === stage)!.features);
    });
  }

  #embed(noise: tf.Tensor1D, { classLabels, augmentLabels }: BackboneInputs): tf.Tensor2D {
    let embedding = this.#frequencies
      ? fourierEmbedding(noise, this.#frequencies)
      : positionalEmbedding(noise, this.#noiseChannels, 'positional');
    if (this.#mapLabel) {
      const labels = classLabels ?? tf.zeros<tf.Rank.R2>([noise.shape[0], this.config.label_dim]);
      embedding = tf.add(embedding, this.#mapLabel.forward(tf.mul(labels, Math.sqrt(this.config.label_dim))));
    }
    if (this.#mapAugment && augmentLabels) embedding = tf.add(embedding, this.#mapAugment.forward(augmentLabels));
    const hidden = silu(this.#mapLayer0.forward(embedding));
    return silu(this.#mapLayer1.forward(hidden));
  }

  /** The encoder up to the last of `wanted` (all of it where undefined). */
  #encode(x: tf.Tensor4D, embedding: tf.Tensor2D, { dropout }: BackboneInputs, wanted?: readonly string[]) {
    const skips: { name: string; features: tf.Tensor4D }[] = [];
    const remaining = wanted && new Set(wanted);
    let y = x;
    let aux = x;
    for (const [index, step] of this.#encoder.entries()) {
      const last = skips.at(-1);
      switch (step.kind) {
        case 'conv':
          skips.push({ name: step.name, features: (y = step.layer.forward(y)) });
          break;
        case 'block':
          skips.push({ name: step.name, features: (y = step.layer.forward(y, embedding, dropout)) });
          break;
        case 'auxDown':
          aux = step.layer.forward(aux);
          break;
        case 'auxSkip':
          last!.features = y = tf.add(y, step.layer.forward(aux));
          break;
        case 'auxResidual':
          last!.features = y = aux = tf.mul(tf.add<tf.Tensor4D>(y, step.layer.forward(aux)), Math.SQRT1_2);
          break;
      }
      // A stage is whole once the next step is no aux step of the same stage.
      if (this.#encoder[index + 1]?.name !== step.name) {
        remaining?.delete(step.name);
        if (remaining?.size === 0) break;
      }
    }
    return skips;
  }
}
