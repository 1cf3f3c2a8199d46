/**
 * Backbone configurations: the published constructor arguments as strict schemas, and the published architectures.
 */
import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import type { Backbone, BackboneConfig, DhariwalUNetConfig, SongUNetConfig } from './backbone.js';
import { DhariwalUNet } from './dhariwal-unet.js';
import { SongUNet } from './song-unet.js';

const positive = z.number().int().positive();

const common = {
  img_resolution: positive,
  img_channels: positive.default(3),
  label_dim: z.number().int().min(0).default(0),
  augment_dim: z.number().int().min(0).default(0),
  dropout: z.number().min(0).max(0.999).default(0.1),
};

const songUNet = z.strictObject({
  model_type: z.literal('SongUNet'),
  ...common,
  model_channels: positive.multipleOf(4).default(128),
  channel_mult: z.array(positive).min(1).readonly().default([1, 2, 2, 2]),
  channel_mult_emb: positive.default(4),
  num_blocks: positive.default(4),
  attn_resolutions: z.array(positive).readonly().default([16]),
  embedding_type: z.enum(['positional', 'fourier']).default('positional'),
  channel_mult_noise: positive.default(1),
  encoder_type: z.enum(['standard', 'skip', 'residual']).default('standard'),
  decoder_type: z.enum(['standard', 'skip']).default('standard'),
  resample_filter: z.array(z.number()).min(2).readonly().default([1, 1]),
});

const dhariwalUNet = z.strictObject({
  model_type: z.literal('DhariwalUNet'),
  ...common,
  model_channels: positive.multipleOf(4).default(192),
  channel_mult: z.array(positive).min(1).readonly().default([1, 2, 3, 4]),
  channel_mult_emb: positive.default(4),
  num_blocks: positive.default(3),
  attn_resolutions: z.array(positive).readonly().default([32, 16, 8]),
});

/** The published constructor arguments, each with its published default. Unknown keys are errors. */
export const backboneConfigSchema = z.discriminatedUnion('model_type', [songUNet, dhariwalUNet]).superRefine((config, context) => {
  const levels = config.channel_mult.length;
  if (config.img_resolution % 2 ** (levels - 1) !== 0)
    context.addIssue({
      code: 'custom',
      path: ['img_resolution'],
      message: `${config.img_resolution} cannot be halved ${levels - 1} times, as ${levels} entries of channel_mult ask`,
    });
  if (config.model_type === 'DhariwalUNet') {
    const lowest = config.model_channels * config.channel_mult.at(-1)!;
    if (lowest < 64)
      context.addIssue({
        code: 'custom',
        path: ['model_channels'],
        message: `the lowest level has ${lowest} channels; attention needs 64 a head`,
      });
  }
});

/** A configuration whose defaults are not filled in yet. */
export type BackboneOptions = z.input<typeof backboneConfigSchema>;

/** Fills in defaults and validates; throws `E_CONFIG` with every problem. */
export function resolveBackboneConfig(options: BackboneOptions): BackboneConfig {
  const parsed = backboneConfigSchema.safeParse(options);
  if (!parsed.success)
    throw new ConfigError(
      'backbone configuration',
      parsed.error.issues.map(({ path, message }) => `${path.join('.') || '(top)'}: ${message}`),
    );
  return parsed.data;
}

/**
 * The network of a configuration, described but not allocated.
 *
 * `prefix` stands before every published name; default: that of the architecture's published files, `model.` for EDM's networks.
 */
export function createBackbone(options: BackboneOptions, prefix?: string): Backbone {
  const config = resolveBackboneConfig(options);
  return config.model_type === 'SongUNet' ? new SongUNet(config, prefix) : new DhariwalUNet(config, prefix);
}

const ncsnpp = {
  model_type: 'SongUNet',
  embedding_type: 'fourier',
  encoder_type: 'residual',
  channel_mult_noise: 2,
  resample_filter: [1, 3, 3, 1],
} as const;
const augmented = { augment_dim: 9 } as const;

/** The architectures of the published EDM teachers (arXiv 2206.00364), by the names of their files. */
export const publishedBackbones = {
  'cifar10-ncsnpp-uncond': { ...ncsnpp, ...augmented, img_resolution: 32, channel_mult: [2, 2, 2], dropout: 0.13 },
  'cifar10-ncsnpp-cond': { ...ncsnpp, ...augmented, img_resolution: 32, channel_mult: [2, 2, 2], dropout: 0.13, label_dim: 10 },
  'cifar10-ddpmpp-uncond': { model_type: 'SongUNet', ...augmented, img_resolution: 32, channel_mult: [2, 2, 2], dropout: 0.13 },
  'ffhq64-ncsnpp': { ...ncsnpp, ...augmented, img_resolution: 64, dropout: 0.05 },
  'imagenet64-adm': { model_type: 'DhariwalUNet', img_resolution: 64, label_dim: 1000, dropout: 0.1 },
} as const satisfies Record<string, Partial<SongUNetConfig> | Partial<DhariwalUNetConfig>>;
