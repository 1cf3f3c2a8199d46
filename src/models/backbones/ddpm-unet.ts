/**
 * DdpmUNet: the network of DDPM (Ho et al. 2020, arXiv 2006.11239) as diffusers publishes it (`UNet2DModel`), in EDM's coordinates.
 *
 * Facts relied on, from the published configurations, parameter names and shapes: the time embedding has frequencies
 * 10000^(-i / (half - freq_shift)), sine first unless `flip_sin_to_cos`; linear_1, SiLU, linear_2; every block takes SiLU of that and
 * adds it before its second norm; an attention follows each block of an `Attn…` level and stands between the two middle blocks;
 * `attention_head_dim` is the width of a head, null: one head; the downsampler is a 3x3 convolution of stride 2, with zeros after the
 * last row and column (`downsample_padding` 0) or on every side (1); the upsampler repeats pixels, then has a 3x3 convolution; the
 * middle block's sums, but no others, are divided by `mid_block_scale_factor`. Tests hold it against google/ddpm-cifar10-32's
 * parameter count and against the image that diffusers' own test of its DDIM pipeline expects.
 */
import * as tf from '@tensorflow/tfjs-core';
import { silu } from '../../core/autodiff/index.js';
import { kaimingUniform } from '../nn/initializers.js';
import { Conv2d, GroupNorm, Linear, type LayerInitialization } from '../nn/layers.js';
import { Module } from '../nn/module.js';
import { resample2d } from '../nn/resample.js';
import type { Backbone, BackboneInputs, DdpmUNetConfig, EncoderStage } from './backbone.js';
import { DdpmAttention } from './ddpm-attention.js';
import { DdpmSchedule, type DdpmLevel } from './ddpm-schedule.js';
import { UNetBlock, type BlockPart } from './unet-block.js';

/** PyTorch's default: U(+-1/sqrt(fanIn)) for weight and bias. */
const initialization: LayerInitialization = {
  weight: (fanIn) => kaimingUniform(fanIn, Math.sqrt(1 / 3)),
  bias: (fanIn) => kaimingUniform(fanIn, Math.sqrt(1 / 3)),
};

const NAMES: Record<BlockPart, string> = {
  norm0: 'norm1',
  conv0: 'conv1',
  affine: 'time_emb_proj',
  norm1: 'norm2',
  conv1: 'conv2',
  skip: 'conv_shortcut',
};

type Step =
  | { kind: 'block'; layer: UNetBlock; attention: DdpmAttention | undefined }
  | { kind: 'conv'; layer: Conv2d }
  | { kind: 'up'; layer: Conv2d };

/**
 * EDM's F(c_in x, c_noise) of a DDPM network: the sampler, the preconditionings and distillation need not know that it has steps.
 *
 * `noise` is read on the host: steps and coefficients are worked out in float64, a c_noise between those of two steps gives
 * a step between them, one beyond the first or the last gives that. F is written for sigma_data 0.5.
 */
export class DdpmUNet extends Module implements Backbone {
  readonly schedule: DdpmSchedule;
  readonly stages: readonly EncoderStage[];
  readonly #encoder: Step[] = [];
  readonly #rest: Step[] = [];
  readonly #linear1: Linear;
  readonly #linear2: Linear;
  readonly #outNorm: GroupNorm;
  readonly #outConv: Conv2d;

  constructor(
    readonly config: DdpmUNetConfig,
    prefix = '',
  ) {
    super();
    const { block_out_channels: widths, layers_per_block, img_channels, img_resolution } = config;
    const { norm_num_groups: groups, norm_eps: epsilon, attention_head_dim } = config;
    const embeddingChannels = 4 * widths[0]!;
    this.schedule = new DdpmSchedule(config.scheduler);
    const place = <Role>(name: string, role: Role, level?: number, block?: string) => ({ name: `${prefix}${name}`, role, level, block });
    const convolution = (name: string, level: number, channels: number, options: { stride?: 2; pad?: 1 } = {}) =>
      this.addChild(
        new Conv2d(place(`${name}.conv`, 'conv0' as const, level, name), channels, channels, initialization, { kernel: 3, ...options }),
      );
    const block = (at: string, index: number, level: number, inputs: number, outputs: number, attends: boolean, rescale = 1): Step => {
      const name = `${at}.resnets.${index}`;
      const common = { level, epsilon, groups, initialization };
      const layer = new UNetBlock({
        ...common,
        name: `${prefix}${name}`,
        names: NAMES,
        inputs,
        outputs,
        embeddingChannels,
        filter: [1, 1],
        heads: 0,
        skipScale: 1 / rescale,
        adaptiveScale: false,
        resampleProjection: false,
        dropout: config.dropout,
        zeroInitialization: initialization,
        attentionInitialization: initialization,
      });
      this.addChild(layer);
      if (!attends) return { kind: 'block', layer, attention: undefined };
      const attention = `${at}.attentions.${index}`;
      const heads = attention_head_dim === null ? 1 : outputs / attention_head_dim;
      const options = { ...common, name: `${prefix}${attention}`, block: attention, channels: outputs, heads, rescale };
      return { kind: 'block', layer, attention: this.addChild(new DdpmAttention(options)) };
    };

    this.#linear1 = this.addChild(
      new Linear(place('time_embedding.linear_1', 'mapping' as const), widths[0]!, embeddingChannels, initialization),
    );
    this.#linear2 = this.addChild(
      new Linear(place('time_embedding.linear_2', 'mapping' as const), embeddingChannels, embeddingChannels, initialization),
    );

    // Encoder: every step's output is kept for the decoder.
    const stages: EncoderStage[] = [];
    const add = (name: string, resolution: number, channels: number, step: Step) => {
      this.#encoder.push(step);
      stages.push({ name, resolution, channels });
    };
    let channels = widths[0]!;
    const first = new Conv2d(place('conv_in', 'input' as const, 0), img_channels, channels, initialization, { kernel: 3 });
    add('conv_in', img_resolution, channels, { kind: 'conv', layer: this.addChild(first) });
    const lowest = widths.length - 1;
    widths.forEach((width, level) => {
      const at = `down_blocks.${level}`;
      const attends = config.down_block_types[level] === 'AttnDownBlock2D';
      for (let index = 0; index < layers_per_block; index++) {
        add(`${at}.resnets.${index}`, img_resolution >> level, width, block(at, index, level, channels, width, attends));
        channels = width;
      }
      if (level === lowest) return;
      const name = `${at}.downsamplers.0`;
      const options = { stride: 2 as const, ...(config.downsample_padding === 1 && { pad: 1 as const }) };
      add(name, img_resolution >> (level + 1), width, { kind: 'conv', layer: convolution(name, level + 1, width, options) });
    });
    this.stages = stages;

    // Middle, then the decoder, coarse to fine.
    const rescale = config.mid_block_scale_factor;
    for (const index of [0, 1])
      this.#rest.push(block('mid_block', index, lowest, channels, channels, index === 0 && config.add_attention, rescale));
    const skips = stages.map((stage) => stage.channels);
    for (let level = lowest; level >= 0; level--) {
      const at = `up_blocks.${lowest - level}`;
      const attends = config.up_block_types[lowest - level] === 'AttnUpBlock2D';
      for (let index = 0; index <= layers_per_block; index++) {
        this.#rest.push(block(at, index, level, channels + skips.pop()!, widths[level]!, attends));
        channels = widths[level]!;
      }
      if (level > 0) this.#rest.push({ kind: 'up', layer: convolution(`${at}.upsamplers.0`, level - 1, channels) });
    }
    this.#outNorm = this.addChild(new GroupNorm(place('conv_norm_out', 'output' as const, 0), channels, { groups, epsilon, silu: true }));
    this.#outConv = this.addChild(
      new Conv2d(place('conv_out', 'output' as const, 0), channels, img_channels, initialization, { kernel: 3 }),
    );
  }

  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: BackboneInputs = {}): tf.Tensor4D {
    return tf.tidy(() => {
      const levels = this.#levels(noise);
      const coefficients = levels.map(({ sigma }) => this.schedule.coefficients(sigma));
      const column = (key: 'difference' | 'both') =>
        tf.tensor4d(
          coefficients.map((all) => all[key]),
          [levels.length, 1, 1, 1],
        );
      const output = this.#predict(this.#scaled(x, levels), levels, inputs);
      const difference = tf.mul(tf.sub(x, output), column('difference'));
      return tf.add(difference, tf.mul(output, column('both'))) as tf.Tensor4D;
    });
  }

  /**
   * The network's own output at the steps `timesteps` `[B]`, which may lie between whole ones: eps, v or the image, as it was trained.
   * `x` `[B, H, W, C]` is x_t, at the scale of its step.
   */
  predict(x: tf.Tensor4D, timesteps: readonly number[], inputs: BackboneInputs = {}): tf.Tensor4D {
    return tf.tidy(() =>
      this.#predict(
        x,
        timesteps.map((timestep) => ({ timestep })),
        inputs,
      ),
    );
  }

  encode(x: tf.Tensor4D, noise: tf.Tensor1D, stages: readonly string[], inputs: BackboneInputs = {}): tf.Tensor4D[] {
    return tf.tidy(() => {
      const levels = this.#levels(noise);
      const indices = stages.map((stage) => this.stages.findIndex(({ name }) => name === stage));
      const outputs = this.#encode(this.#scaled(x, levels), this.#embed(levels), inputs, Math.max(...indices) + 1);
      return indices.map((index) => outputs[index]!);
    });
  }

  #levels(noise: tf.Tensor1D): DdpmLevel[] {
    return Array.from(noise.dataSync(), (value) => this.schedule.level(value));
  }

  #scaled(x: tf.Tensor4D, levels: readonly DdpmLevel[]): tf.Tensor4D {
    const scales = levels.map(({ sigma }) => this.schedule.coefficients(sigma).scale);
    return tf.mul(x, tf.tensor4d(scales, [levels.length, 1, 1, 1]));
  }

  #embed(levels: readonly Pick<DdpmLevel, 'timestep'>[]): tf.Tensor2D {
    const { block_out_channels, flip_sin_to_cos, freq_shift } = this.config;
    const channels = block_out_channels[0]!;
    const values = levels.flatMap(({ timestep }) => timestepEmbedding(timestep, channels, { flip_sin_to_cos, freq_shift }));
    const embedding = tf.tensor2d(values, [levels.length, channels]);
    return silu(this.#linear2.forward(silu(this.#linear1.forward(embedding))));
  }

  #predict(x: tf.Tensor4D, levels: readonly Pick<DdpmLevel, 'timestep'>[], inputs: BackboneInputs): tf.Tensor4D {
    const embedding = this.#embed(levels);
    const skips = this.#encode(x, embedding, inputs, this.#encoder.length);
    let y = skips.at(-1)!;
    for (const step of this.#rest) {
      if (step.kind === 'block' && y.shape[3] !== step.layer.inputs) y = tf.concat([y, skips.pop()!], 3);
      y = this.#apply(step, y, embedding, inputs);
    }
    return this.#outConv.forward(this.#outNorm.forward(y));
  }

  #encode(x: tf.Tensor4D, embedding: tf.Tensor2D, inputs: BackboneInputs, count: number): tf.Tensor4D[] {
    const outputs: tf.Tensor4D[] = [];
    for (const step of this.#encoder.slice(0, count)) outputs.push(this.#apply(step, outputs.at(-1) ?? x, embedding, inputs));
    return outputs;
  }

  #apply(step: Step, x: tf.Tensor4D, embedding: tf.Tensor2D, { dropout }: BackboneInputs): tf.Tensor4D {
    if (step.kind === 'conv') return step.layer.forward(x);
    if (step.kind === 'up') return step.layer.forward(resample2d(x, [1, 1], 'up'));
    const y = step.layer.forward(x, embedding, dropout);
    return step.attention ? step.attention.forward(y) : y;
  }
}

/**
 * The sinusoids of one step: `channels` values, sine first unless flipped.
 *
 * In float64: PyTorch's float32 leaves a phase of 999 uncertain by 3e-5, differently on every machine.
 */
export function timestepEmbedding(
  timestep: number,
  channels: number,
  { flip_sin_to_cos, freq_shift }: Pick<DdpmUNetConfig, 'flip_sin_to_cos' | 'freq_shift'>,
): number[] {
  const half = channels / 2;
  const phases = Array.from({ length: half }, (_, i) => timestep * 10000 ** (-i / (half - freq_shift)));
  const [sine, cosine] = [phases.map(Math.sin), phases.map(Math.cos)];
  return flip_sin_to_cos ? [...cosine, ...sine] : [...sine, ...cosine];
}
