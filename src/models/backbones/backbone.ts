/**
 * What the pipeline needs of a diffusion network, whatever its architecture.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { RandomStream } from '../../core/contracts/random.js';
import type { Module } from '../nn/module.js';

/** What a network may be given besides image and noise level. */
export interface BackboneInputs {
  /** `[B, labelDim]`, one-hot; undefined means unconditional (zeros). */
  classLabels?: tf.Tensor2D | undefined;
  /** `[B, augmentDim]`; undefined means no augmentation (zeros). */
  augmentLabels?: tf.Tensor2D | undefined;
  /** Where dropout draws its masks from; undefined switches dropout off. */
  dropout?: RandomStream | undefined;
}

/** One stage of the encoder: its output and where it stands. */
export interface EncoderStage {
  /** Such as `enc.16x16_block1`. */
  name: string;
  /** Height and width in pixels. */
  resolution: number;
  channels: number;
}

/** F(x, noise): a U-Net over `[B, H, W, C]`. */
export interface Backbone extends Module {
  /** The published constructor arguments; strict JSON. */
  readonly config: BackboneConfig;
  /** Encoder stages in the order of computation. */
  readonly stages: readonly EncoderStage[];
  /** `x` `[B, H, W, C]`, `noise` `[B]` (c_noise) to `[B, H, W, C]`. */
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs?: BackboneInputs): tf.Tensor4D;
  /** Outputs of the named encoder stages; nothing after the last of them is computed. */
  encode(x: tf.Tensor4D, noise: tf.Tensor1D, stages: readonly string[], inputs?: BackboneInputs): tf.Tensor4D[];
}

interface ImageConfig {
  /** Height and width in pixels. */
  img_resolution: number;
  img_channels: number;
  /** Number of classes; 0: unconditional. */
  label_dim: number;
  /** Width of the augmentation label; 0: none. */
  augment_dim: number;
  dropout: number;
}

interface CommonConfig extends ImageConfig {
  model_channels: number;
  channel_mult: readonly number[];
  num_blocks: number;
  attn_resolutions: readonly number[];
}

/** DDPM++ and NCSN++. */
export interface SongUNetConfig extends CommonConfig {
  model_type: 'SongUNet';
  channel_mult_emb: number;
  embedding_type: 'positional' | 'fourier';
  encoder_type: 'standard' | 'skip' | 'residual';
  decoder_type: 'standard' | 'skip';
  channel_mult_noise: number;
  resample_filter: readonly number[];
}

/** ADM. */
export interface DhariwalUNetConfig extends CommonConfig {
  model_type: 'DhariwalUNet';
  channel_mult_emb: number;
}

/** The discrete steps that a DDPM network was trained with, under diffusers' names. */
export interface DdpmScheduler {
  num_train_timesteps: number;
  /** `linear` and `scaled_linear` from `beta_start` to `beta_end`; `squaredcos_cap_v2` is the cosine schedule, without them. */
  beta_schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
  beta_start: number;
  beta_end: number;
  /** What the network gives. */
  prediction_type: 'epsilon' | 'v_prediction' | 'sample';
}

/** DDPM, under the names of diffusers' `UNet2DModel`. */
export interface DdpmUNetConfig extends ImageConfig {
  model_type: 'DdpmUNet';
  label_dim: 0;
  augment_dim: 0;
  /** Width of each level, fine to coarse. */
  block_out_channels: readonly number[];
  layers_per_block: number;
  down_block_types: readonly ('DownBlock2D' | 'AttnDownBlock2D')[];
  up_block_types: readonly ('UpBlock2D' | 'AttnUpBlock2D')[];
  /** Whether the middle block has an attention. */
  add_attention: boolean;
  /** Channels of a head; null: one head. */
  attention_head_dim: number | null;
  /** 0: zeros after the last row and column; 1: on every side. */
  downsample_padding: 0 | 1;
  mid_block_scale_factor: number;
  norm_num_groups: number;
  norm_eps: number;
  flip_sin_to_cos: boolean;
  freq_shift: number;
  scheduler: DdpmScheduler;
}

/** A complete configuration; `model_type` tells which. */
export type BackboneConfig = SongUNetConfig | DhariwalUNetConfig | DdpmUNetConfig;
