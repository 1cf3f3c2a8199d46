/**
 * The configuration files of diffusers (config.json of `UNet2DModel`, scheduler_config.json) as that of `DdpmUNet`.
 *
 * A field either has its place there, has one value that the network is written for, or says how images are sampled and not how the network
 * was trained; every other field is refused.
 */
import type { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import type { DdpmUNetConfig } from '../backbones/backbone.js';
import { backboneConfigSchema, ddpmSchedulerSchema } from '../backbones/config.js';

type Fields = Readonly<Record<string, unknown>>;

/** Options of `diffusersTeacher`: what the folder does not say. */
export interface DiffusersTeacherOptions {
  /** Height and width in pixels; default `sample_size`. */
  resolution?: number | undefined;
  /** The noise schedule; default: from scheduler_config.json. Its defaults are diffusers'. */
  scheduler?: z.input<typeof ddpmSchedulerSchema> | undefined;
}

const HELP =
  'supported are UNet2DModel networks of the DDPM family: DownBlock2D and AttnDownBlock2D, UNetMidBlock2D, UpBlock2D and AttnUpBlock2D, ' +
  'positional time embedding, SiLU, resampling by convolutions, no classes, as many channels out as in; trained with DDPMScheduler, ' +
  'DDIMScheduler or PNDMScheduler: betas linear, scaled_linear or squaredcos_cap_v2, prediction epsilon, v_prediction or sample';

/** Fields of config.json that `DdpmUNetConfig` has under the same name. */
const NETWORK_FIELDS = [
  'dropout',
  'block_out_channels',
  'layers_per_block',
  'down_block_types',
  'up_block_types',
  'add_attention',
  'attention_head_dim',
  'downsample_padding',
  'mid_block_scale_factor',
  'norm_num_groups',
  'norm_eps',
  'flip_sin_to_cos',
  'freq_shift',
] as const;

/** Values that the network is written for; a field that is absent has the first. */
const NETWORK_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  _class_name: ['UNet2DModel'],
  act_fn: ['silu', 'swish'],
  center_input_sample: [false],
  class_embed_type: [null],
  num_class_embeds: [null],
  downsample_type: ['conv'],
  upsample_type: ['conv'],
  mid_block_type: ['UNetMidBlock2D'],
  resnet_time_scale_shift: ['default'],
  time_embedding_type: ['positional'],
};

/** Read below, or without a meaning for these networks (`num_train_timesteps` is of the learned time embedding). */
const NETWORK_READ = ['in_channels', 'out_channels', 'sample_size', 'attn_norm_num_groups', 'time_embedding_dim', 'num_train_timesteps'];

const SCHEDULER_FIELDS = Object.keys(ddpmSchedulerSchema.shape);

const SCHEDULER_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  _class_name: ['DDPMScheduler', 'DDIMScheduler', 'PNDMScheduler'],
  trained_betas: [null],
  rescale_betas_zero_snr: [false],
};

/** How diffusers samples; what the network was trained for does not depend on it. */
const SAMPLING_FIELDS = [
  'clip_sample',
  'clip_sample_range',
  'dynamic_thresholding_ratio',
  'sample_max_value',
  'set_alpha_to_one',
  'skip_prk_steps',
  'steps_offset',
  'tensor_format',
  'thresholding',
  'timestep_spacing',
  'timestep_values',
  'variance_type',
];

const shown = (value: unknown) => JSON.stringify(value) ?? 'nothing';

/** Fields with other values than the listed ones, and unknown ones; null stands for "not set" and is no problem there. */
function unsupported(fields: Fields, values: Readonly<Record<string, readonly unknown[]>>, known: readonly string[]): string[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    const expected = values[name];
    if (expected) return expected.includes(value) ? [] : [`${name}: expected ${expected.map(shown).join(' or ')}, found ${shown(value)}`];
    return known.includes(name) || name.startsWith('_') || value === null ? [] : [`${name}: expected no such field, found ${shown(value)}`];
  });
}

const picked = (fields: Fields, names: readonly string[]) =>
  Object.fromEntries(names.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]]));

/** Names of config.json by those of `DdpmUNetConfig`, for problems. */
const PUBLISHED_NAMES: Readonly<Record<string, string>> = { img_resolution: 'sample_size', img_channels: 'in_channels' };

/**
 * The configuration of a diffusers network; `scheduler` undefined where the folder has none.
 *
 * Throws `E_CONFIG` that names every field that is not supported, of both files, and says what is.
 */
export function diffusersConfig(
  where: string,
  network: Fields,
  scheduler: Fields | undefined,
  overrides: DiffusersTeacherOptions = {},
): DdpmUNetConfig {
  const problems = unsupported(network, NETWORK_VALUES, [...NETWORK_FIELDS, ...NETWORK_READ]);
  const { in_channels: channels = 3, out_channels: outputs = 3, sample_size: size } = network;
  if (outputs !== channels) problems.push(`out_channels: expected in_channels, that is ${shown(channels)}, found ${shown(outputs)}`);
  const square = Array.isArray(size) && size.length === 2 && size[0] === size[1] ? (size[0] as unknown) : size;
  const resolution = overrides.resolution ?? square;
  if (resolution === undefined || resolution === null)
    problems.push('sample_size: expected height and width in pixels, found none; give the option resolution');
  else if (typeof resolution !== 'number') problems.push(`sample_size: expected one number or two equal ones, found ${shown(size)}`);
  const groups = network['norm_num_groups'] ?? 32;
  if (![undefined, null, groups].includes(network['attn_norm_num_groups']))
    problems.push(`attn_norm_num_groups: expected null or ${shown(groups)}, found ${shown(network['attn_norm_num_groups'])}`);
  const width = (network['block_out_channels'] as unknown[] | undefined)?.[0] ?? 224;
  if (![undefined, null, 4 * Number(width)].includes(network['time_embedding_dim'] as number))
    problems.push(`time_embedding_dim: expected null or ${4 * Number(width)}, found ${shown(network['time_embedding_dim'])}`);

  if (overrides.scheduler === undefined) {
    if (scheduler === undefined)
      problems.push(
        'scheduler: expected scheduler/scheduler_config.json or scheduler_config.json, found neither; give the option scheduler',
      );
    else
      problems.push(
        ...unsupported(scheduler, SCHEDULER_VALUES, [...SCHEDULER_FIELDS, ...SAMPLING_FIELDS]).map((line) => `scheduler.${line}`),
      );
  }
  const parsed = backboneConfigSchema.safeParse({
    model_type: 'DdpmUNet',
    // Where the size itself is the problem, the rest is still looked at.
    img_resolution: typeof resolution === 'number' ? resolution : 2 ** 16,
    img_channels: channels,
    ...picked(network, NETWORK_FIELDS),
    scheduler: overrides.scheduler ?? picked(scheduler ?? {}, SCHEDULER_FIELDS),
  });
  for (const { path, message } of parsed.error?.issues ?? []) {
    const [first, ...rest] = path.map(String);
    problems.push(`${[PUBLISHED_NAMES[first!] ?? first, ...rest].join('.')}: ${message}`);
  }
  if (problems.length > 0 || !parsed.success) throw new ConfigError(where, problems, { help: HELP });
  return parsed.data as DdpmUNetConfig;
}
