/**
 * The architecture of an EDM network from what its pickle says of itself: class names and constructor arguments.
 */
import { ConfigError, WeightsError } from '../../core/errors.js';
import { describeValue, NumpyArray } from '../../core/pickle/index.js';
import type { PersistentObject } from '../../core/torch-file/index.js';
import type { BackboneConfig } from '../backbones/backbone.js';
import { resolveBackboneConfig, type BackboneOptions } from '../backbones/config.js';

const COMMON_ARGUMENTS = [
  'img_resolution',
  'in_channels',
  'out_channels',
  'label_dim',
  'augment_dim',
  'model_channels',
  'channel_mult',
  'channel_mult_emb',
  'num_blocks',
  'attn_resolutions',
  'dropout',
  'label_dropout',
] as const;

/** The constructors' parameters in their published order: a pickle may hold positional arguments. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  SongUNet: [...COMMON_ARGUMENTS, 'embedding_type', 'channel_mult_noise', 'encoder_type', 'decoder_type', 'resample_filter'],
  DhariwalUNet: COMMON_ARGUMENTS,
};

/** Classes of networks that are known. */
export const EDM_NETWORKS: readonly string[] = Object.keys(ARGUMENTS);

/** More than any constructor's list: an entry a level. */
const MAX_LIST = 64;

const scalar = (value: unknown): unknown => {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value;
  return typeof value === 'bigint' ? Number(value) : undefined;
};

/** Strict JSON of a pickled argument, which is a value or a list of values; undefined for what is neither. */
async function plain(value: unknown): Promise<unknown> {
  if (!Array.isArray(value) && !(value instanceof NumpyArray)) return scalar(value);
  const list = value instanceof NumpyArray ? await value.list(MAX_LIST) : value;
  if (list === undefined || list.length > MAX_LIST) return undefined;
  const values = list.map(scalar);
  return values.includes(undefined) ? undefined : values;
}

/** The constructor's arguments by name; undefined where the object does not have them. */
export async function constructorArguments(module: PersistentObject, path: string): Promise<Map<string, unknown> | undefined> {
  const positional = module.state.get('_init_args');
  const keywords = module.state.get('_init_kwargs');
  if (!Array.isArray(positional) || !(keywords instanceof Map)) return undefined;
  const names = ARGUMENTS[module.className]!;
  const unsupported = (what: string) =>
    new WeightsError('E_WEIGHTS_UNSUPPORTED', `${path}: ${module.className}: expected its published arguments, found ${what}`, {
      help: `known arguments: ${names.join(', ')}; give the architecture yourself by the option config if the network is the published one nevertheless`,
    });
  if (positional.length > names.length) throw unsupported(`${positional.length} positional ones, ${names.length} are known`);
  const found = new Map<string, unknown>(positional.map((value, i) => [names[i]!, value]));
  for (const [name, value] of keywords) {
    if (typeof name !== 'string' || !names.includes(name)) throw unsupported(describeValue(name));
    if (found.has(name)) throw unsupported(`${name} twice`);
    found.set(name, value);
  }
  for (const [name, value] of found) {
    const json = await plain(value);
    if (json === undefined) throw unsupported(`${describeValue(value)} as ${name}`);
    found.set(name, json);
  }
  return found;
}

/** The configuration that `args` say. Throws `E_CONFIG` with every problem. */
export function configOfArguments(className: string, args: ReadonlyMap<string, unknown>, path: string): BackboneConfig {
  const { in_channels, out_channels, label_dropout: _, ...rest } = Object.fromEntries(args);
  if (in_channels !== out_channels)
    throw new WeightsError(
      'E_WEIGHTS_UNSUPPORTED',
      `${path}: ${className}: expected as many channels out as in, found ${String(in_channels)} in and ${String(out_channels)} out`,
      {
        help: 'a denoiser of images gives what it takes',
      },
    );
  try {
    return resolveBackboneConfig({
      model_type: className,
      ...rest,
      ...(in_channels !== undefined && { img_channels: in_channels }),
    } as BackboneOptions);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${path}: arguments of ${className}`, error.problems, {
      cause: error,
      help: 'the file is damaged or not what it says; download it again',
    });
  }
}

/** A configuration as far as tensors can tell. */
function visible(config: BackboneConfig): Record<string, unknown> {
  const { dropout: _, ...fields } = config as BackboneConfig & Record<string, unknown>;
  if (config.model_type === 'DdpmUNet') return fields;
  const levels = config.channel_mult.map((__, level) => config.img_resolution >> level);
  const seen: Record<string, unknown> = { ...fields, attn_resolutions: levels.filter((r) => config.attn_resolutions.includes(r)) };
  if (config.model_type === 'SongUNet') {
    const smallest = Math.min(...config.resample_filter.filter((tap) => tap > 0));
    seen['resample_filter'] = config.resample_filter.map((tap) => Math.round((tap / smallest) * 1e3) / 1e3);
    // With one level there is nothing to resample and there are no aux layers.
    if (levels.length === 1) for (const name of ['resample_filter', 'encoder_type', 'decoder_type']) delete seen[name];
  }
  return seen;
}

/** Throws `E_WEIGHTS_CONTRADICTION` where the tensors are of another architecture than the file says; names every field. */
export function expectSameArchitecture(said: BackboneConfig, inferred: BackboneConfig, path: string): void {
  const [ours, theirs] = [visible(said), visible(inferred)];
  const problems = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
    .filter((name) => JSON.stringify(ours[name]) !== JSON.stringify(theirs[name]))
    .map((name) => `  - ${name}: the file says ${JSON.stringify(ours[name])}, its tensors are of ${JSON.stringify(theirs[name])}`);
  if (problems.length > 0)
    throw new WeightsError(
      'E_WEIGHTS_CONTRADICTION',
      `${path}: the architecture and the tensors contradict each other\n${problems.join('\n')}`,
      {
        help: 'the file was changed after it was written; take the published one, or convert its tensors and give the architecture by the option config',
      },
    );
}
