/**
 * Infers a backbone's configuration from the names and shapes of its tensors.
 */
import { WeightsError } from '../../core/errors.js';
import { resolveBackboneConfig, type BackboneOptions } from '../backbones/config.js';
import type { BackboneConfig } from '../backbones/backbone.js';

/** What inference reads; both a file and a state dict can give it. */
export interface TensorShapes {
  readonly name: string;
  names(): Iterable<string>;
  shape(name: string): readonly number[];
  /** Values of a small tensor; used for the resampling filter alone. */
  read(name: string): Float32Array | Promise<Float32Array>;
}

/**
 * The configuration of SongUNet or DhariwalUNet weights under their published names.
 *
 * Dropout leaves no trace in weights and becomes 0. Throws `E_WEIGHTS_UNKNOWN` where the names are of no known network.
 */
export async function inferBackboneConfig(source: TensorShapes, prefix = 'model.'): Promise<BackboneConfig> {
  const names = [...source.names()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const known = new Set(names);
  const shape = (name: string) =>
    known.has(name) ? source.shape(prefix + name) : fail(`no tensor ${prefix}${name} among ${names.length} names`);
  const fail = (what: string): never => {
    throw new WeightsError('E_WEIGHTS_UNKNOWN', `${source.name}: ${what}`, {
      help: 'the file must hold a SongUNet (DDPM++, NCSN++) or DhariwalUNet (ADM) under its published names, or give the architecture yourself',
    });
  };

  const first =
    names.find((name) => /^enc\.\d+x\d+_conv\.weight$/.test(name)) ??
    fail(`no tensor ${prefix}enc.<R>x<R>_conv.weight among ${names.length} names`);
  const resolution = Number(/(\d+)x/.exec(first)![1]);
  const [width = 0, channels = 0] = shape(first);
  const blockNumber = /^enc\.(\d+)x\d+_block(\d+)\.conv0\.weight$/;
  const blocks = names.flatMap((name) => {
    const match = blockNumber.exec(name);
    return match ? [{ resolution: Number(match[1]), index: Number(match[2]) }] : [];
  });
  const resolutions = [...new Set(blocks.map((block) => block.resolution))].sort((a, b) => b - a);
  if (resolutions[0] !== resolution || resolutions.some((r, level) => r !== resolution >> level))
    fail(`encoder levels [${resolutions.join(', ')}] do not halve from ${resolution}`);
  const adm = known.has('out_conv.weight');
  const blockWidth = (r: number) => shape(`enc.${r}x${r}_block0.conv0.weight`)[0]!;
  // ADM's first convolution already has the first level's width; its embedding gives the base width.
  const modelChannels = adm ? shape('map_layer0.weight')[1]! : width;
  const common = {
    img_resolution: resolution,
    img_channels: channels,
    augment_dim: known.has('map_augment.weight') ? shape('map_augment.weight')[1]! : 0,
    label_dim: known.has('map_label.weight') ? shape('map_label.weight')[1]! : 0,
    model_channels: modelChannels,
    channel_mult: resolutions.map((r) => blockWidth(r) / modelChannels),
    channel_mult_emb: shape('map_layer0.weight')[0]! / modelChannels,
    num_blocks: Math.max(...blocks.map(({ index }) => index)) + 1,
    attn_resolutions: resolutions.filter((r) => known.has(`enc.${r}x${r}_block0.qkv.weight`)),
    dropout: 0,
  };
  if (adm) return resolveBackboneConfig({ model_type: 'DhariwalUNet', ...common });

  const filterName = names.find((name) => name.endsWith('.resample_filter'));
  const options: BackboneOptions = {
    model_type: 'SongUNet',
    ...common,
    embedding_type: known.has('map_noise.freqs') ? 'fourier' : 'positional',
    channel_mult_noise: shape('map_layer0.weight')[1]! / modelChannels,
    encoder_type: names.some((name) => name.includes('_aux_residual.'))
      ? 'residual'
      : names.some((name) => name.includes('_aux_skip.'))
        ? 'skip'
        : 'standard',
    decoder_type: names.filter((name) => /^dec\..*_aux_conv\.weight$/.test(name)).length > 1 ? 'skip' : 'standard',
    resample_filter: filterName ? taps(await source.read(prefix + filterName)) : [1, 1],
  };
  return resolveBackboneConfig(options);
}

/** The small whole-number taps whose normalised outer product is `filter`. */
function taps(filter: Float32Array): number[] {
  const length = Math.round(Math.sqrt(filter.length));
  const sums = Array.from({ length }, (_, row) => filter.subarray(row * length, (row + 1) * length).reduce((a, b) => a + b, 0));
  const smallest = Math.min(...sums.filter((value) => value > 0));
  return sums.map((value) => Math.round((value / smallest) * 1e3) / 1e3);
}
