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

interface CommonConfig {
  /** Height and width in pixels. */
  img_resolution: number;
  img_channels: number;
  /** Number of classes; 0: unconditional. */
  label_dim: number;
  /** Width of the augmentation label; 0: none. */
  augment_dim: number;
  model_channels: number;
  channel_mult: readonly number[];
  num_blocks: number;
  attn_resolutions: readonly number[];
  dropout: number;
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

/** A complete configuration; `model_type` tells which. */
export type BackboneConfig = SongUNetConfig | DhariwalUNetConfig;
