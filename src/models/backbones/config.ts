/**
 * Backbone configurations: the published constructor arguments as strict schemas, and the published architectures.
 */
import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import type { Backbone, BackboneConfig, DdpmUNetConfig, DhariwalUNetConfig, SongUNetConfig } from './backbone.js';
import { DdpmUNet } from './ddpm-unet.js';
import { DhariwalUNet } from './dhariwal-unet.js';
import { SongUNet } from './song-unet.js';

/** No network has so many channels, pixels or classes: a file that says so is damaged. */
const LARGEST = 2 ** 20;
const positive = z.number().int().positive().max(LARGEST);

/** Blocks of a level: each is built, so that a file's number is bounded before. */
const blockCount = z.number().int().positive().max(256);

/** One entry a level; a level halves the image. */
const perLevel = z.array(positive).min(1).max(20).readonly();

const common = {
  img_resolution: positive,
  img_channels: positive.default(3),
  label_dim: z.number().int().min(0).max(LARGEST).default(0),
  augment_dim: z.number().int().min(0).max(LARGEST).default(0),
  dropout: z.number().min(0).max(0.999).default(0.1),
};

const songUNet = z.strictObject({
  model_type: z.literal('SongUNet'),
  ...common,
  model_channels: positive.multipleOf(4).default(128),
  channel_mult: perLevel.default([1, 2, 2, 2]),
  channel_mult_emb: positive.default(4),
  num_blocks: blockCount.default(4),
  attn_resolutions: z.array(positive).max(64).readonly().default([16]),
  embedding_type: z.enum(['positional', 'fourier']).default('positional'),
  channel_mult_noise: positive.default(1),
  encoder_type: z.enum(['standard', 'skip', 'residual']).default('standard'),
  decoder_type: z.enum(['standard', 'skip']).default('standard'),
  resample_filter: z.array(z.number()).min(2).max(64).readonly().default([1, 1]),
});

const dhariwalUNet = z.strictObject({
  model_type: z.literal('DhariwalUNet'),
  ...common,
  model_channels: positive.multipleOf(4).default(192),
  channel_mult: perLevel.default([1, 2, 3, 4]),
  channel_mult_emb: positive.default(4),
  num_blocks: blockCount.default(3),
  attn_resolutions: z.array(positive).max(64).readonly().default([32, 16, 8]),
});

/** The scheduler of a DDPM network, with diffusers' defaults. */
export const ddpmSchedulerSchema = z.strictObject({
  num_train_timesteps: positive.default(1000),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
  beta_start: z.number().positive().max(0.999).default(0.0001),
  beta_end: z.number().positive().max(0.999).default(0.02),
  prediction_type: z.enum(['epsilon', 'v_prediction', 'sample']).default('epsilon'),
});

const ddpmUNet = z.strictObject({
  model_type: z.literal('DdpmUNet'),
  img_resolution: positive,
  img_channels: positive.default(3),
  label_dim: z.literal(0).default(0),
  augment_dim: z.literal(0).default(0),
  dropout: z.number().min(0).max(0.999).default(0),
  block_out_channels: z.array(positive.multipleOf(2)).min(1).max(20).readonly().default([224, 448, 672, 896]),
  layers_per_block: blockCount.default(2),
  down_block_types: z
    .array(z.enum(['DownBlock2D', 'AttnDownBlock2D']))
    .readonly()
    .default(['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D']),
  up_block_types: z
    .array(z.enum(['UpBlock2D', 'AttnUpBlock2D']))
    .readonly()
    .default(['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D']),
  add_attention: z.boolean().default(true),
  attention_head_dim: positive.nullable().default(8),
  downsample_padding: z.union([z.literal(0), z.literal(1)]).default(1),
  mid_block_scale_factor: z.number().positive().default(1),
  norm_num_groups: positive.default(32),
  norm_eps: z.number().positive().default(1e-5),
  flip_sin_to_cos: z.boolean().default(true),
  freq_shift: z.number().min(0).default(0),
  scheduler: ddpmSchedulerSchema.prefault({}),
});

/** What the widths of a DDPM network must fit. */
function ddpmProblems(config: DdpmUNetConfig): { path: string; message: string }[] {
  const { block_out_channels: widths, attention_head_dim: head, norm_num_groups: groups } = config;
  const lists = ['down_block_types', 'up_block_types'] as const;
  const problems: { path: string; message: string }[] = lists
    .filter((path) => config[path].length !== widths.length)
    .map((path) => ({ path, message: `expected one entry a level, that is ${widths.length}, found ${config[path].length}` }));
  for (const width of new Set(widths)) {
    if (width % groups !== 0) problems.push({ path: 'norm_num_groups', message: `${groups} groups do not divide ${width} channels` });
    const lowest = widths.length - 1;
    const attended = widths.some(
      (other, level) =>
        other === width &&
        (config.down_block_types[level] === 'AttnDownBlock2D' ||
          config.up_block_types[lowest - level] === 'AttnUpBlock2D' ||
          (level === lowest && config.add_attention)),
    );
    if (head !== null && attended && width % head !== 0)
      problems.push({ path: 'attention_head_dim', message: `heads of ${head} channels do not divide ${width} channels` });
  }
  if (config.freq_shift >= widths[0]! / 2)
    problems.push({ path: 'freq_shift', message: `expected less than half of ${widths[0]} channels, found ${config.freq_shift}` });
  return problems;
}

/** The published constructor arguments, each with its published default. Unknown keys are errors. */
export const backboneConfigSchema = z
  .discriminatedUnion('model_type', [songUNet, dhariwalUNet, ddpmUNet])
  .superRefine((config, context) => {
    const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    const [list, levels] =
      config.model_type === 'DdpmUNet'
        ? ['block_out_channels', config.block_out_channels.length]
        : ['channel_mult', config.channel_mult.length];
    if (config.img_resolution % 2 ** (levels - 1) !== 0)
      issue('img_resolution', `${config.img_resolution} cannot be halved ${levels - 1} times, as ${levels} entries of ${list} ask`);
    if (config.model_type === 'DhariwalUNet') {
      const lowest = config.model_channels * config.channel_mult.at(-1)!;
      if (lowest < 64) issue('model_channels', `the lowest level has ${lowest} channels; attention needs 64 a head`);
    }
    if (config.model_type === 'DdpmUNet') for (const { path, message } of ddpmProblems(config)) issue(path, message);
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
 * `prefix` stands before every published name; default: that of the architecture's published files, `model.` for EDM's networks,
 * nothing for `DdpmUNet`.
 */
export function createBackbone(options: BackboneOptions, prefix?: string): Backbone {
  const config = resolveBackboneConfig(options);
  switch (config.model_type) {
    case 'SongUNet':
      return new SongUNet(config, prefix);
    case 'DhariwalUNet':
      return new DhariwalUNet(config, prefix);
    case 'DdpmUNet':
      return new DdpmUNet(config, prefix);
  }
}

const ncsnpp = {
  model_type: 'SongUNet',
  embedding_type: 'fourier',
  encoder_type: 'residual',
  channel_mult_noise: 2,
  resample_filter: [1, 3, 3, 1],
} as const;
const augmented = { augment_dim: 9 } as const;

/** The architectures of the published EDM teachers (arXiv 2206.00364): data set, network, and classes where there are both. */
export const publishedBackbones = {
  'cifar10-ncsnpp-uncond': { ...ncsnpp, ...augmented, img_resolution: 32, channel_mult: [2, 2, 2], dropout: 0.13 },
  'cifar10-ncsnpp-cond': { ...ncsnpp, ...augmented, img_resolution: 32, channel_mult: [2, 2, 2], dropout: 0.13, label_dim: 10 },
  'cifar10-ddpmpp-uncond': { model_type: 'SongUNet', ...augmented, img_resolution: 32, channel_mult: [2, 2, 2], dropout: 0.13 },
  'cifar10-ddpmpp-cond': {
    model_type: 'SongUNet',
    ...augmented,
    img_resolution: 32,
    channel_mult: [2, 2, 2],
    dropout: 0.13,
    label_dim: 10,
  },
  'ffhq64-ncsnpp': { ...ncsnpp, ...augmented, img_resolution: 64, dropout: 0.05 },
  'ffhq64-ddpmpp': { model_type: 'SongUNet', ...augmented, img_resolution: 64, dropout: 0.05 },
  'afhqv2-ncsnpp': { ...ncsnpp, ...augmented, img_resolution: 64, dropout: 0.25 },
  'afhqv2-ddpmpp': { model_type: 'SongUNet', ...augmented, img_resolution: 64, dropout: 0.25 },
  'imagenet64-adm': { model_type: 'DhariwalUNet', img_resolution: 64, label_dim: 1000, dropout: 0.1 },
} as const satisfies Record<string, Partial<SongUNetConfig> | Partial<DhariwalUNetConfig>>;
