/**
 * Finds a network among the names of a file: what stands before its published names differs between files
 * (`model.enc…`, `module.model.enc…`, `ema.model.enc…`, `enc…`).
 */
import { WeightsError } from '../../core/errors.js';
import { printable } from '../../core/pickle/index.js';
import type { TensorFile } from '../../core/tensor-file.js';
import type { BackboneConfig } from '../backbones/backbone.js';
import { createBackbone, resolveBackboneConfig, type BackboneOptions } from '../backbones/config.js';
import { renamed, weightsOf } from '../nn/weights.js';
import { inferBackboneConfig } from './infer.js';

/** The prefix of EDM's networks in the published files. */
const PUBLISHED_PREFIX = 'model.';

/** The first tensor of an encoder, with whatever stands before it. */
const FIRST_CONVOLUTION = /^(|.*\.)enc\.\d+x\d+_conv\.weight$/;

/** How to find a network in a file. */
export interface NetworkSearch {
  /** The architecture; undefined: inferred. */
  config?: BackboneOptions | undefined;
  /** What stands before every name; undefined: found out. */
  prefix?: string | undefined;
  /** The part of a nested file, such as `ema` or `state.net`; undefined: the only one that holds a network. */
  key?: string | undefined;
}

/** A network that was found. */
export interface FoundNetwork {
  config: BackboneConfig;
  /** The network's tensors alone, under the architecture's own names. */
  weights: TensorFile;
  notes: string[];
}

/** A tensor that every network of the architecture has, without the prefix, and the prefix of the published files. */
function anchorOf(config: BackboneConfig): { anchor: string; published: string } {
  const names = createBackbone(config)
    .parameters()
    .map(({ name }) => name);
  const published = names.every((name) => name.startsWith(PUBLISHED_PREFIX)) ? PUBLISHED_PREFIX : '';
  const anchor = names.find((name) => FIRST_CONVOLUTION.test(name)) ?? names[0]!;
  return { anchor: anchor.slice(published.length), published };
}

const shown = (prefix: string) => (prefix === '' ? 'no prefix' : printable(prefix));

function prefixesOf(names: Iterable<string>, config: BackboneConfig | undefined): string[] {
  const anchor = config && anchorOf(config).anchor;
  const found = new Set<string>();
  for (const name of names) {
    const prefix =
      anchor === undefined
        ? FIRST_CONVOLUTION.exec(name)?.[1]
        : name === anchor
          ? ''
          : name.endsWith(`.${anchor}`)
            ? name.slice(0, -anchor.length)
            : undefined;
    if (prefix !== undefined) found.add(prefix);
  }
  return [...found];
}

/** The first few groups of names before their last two parts, for an error about a file without a network. */
function groupsOf(names: Iterable<string>): string {
  const groups = new Set([...names].map((name) => name.split('.')[0]!));
  const list = [...groups].map(printable);
  return list.slice(0, 6).join(', ') + (list.length > 6 ? `, … (${list.length})` : '');
}

/**
 * Finds the network in `file`.
 *
 * Throws `E_WEIGHTS_UNKNOWN` where there is none; `E_WEIGHTS_KEY` where there are several and neither `key` nor `prefix` says which, or where
 * what they say is not there; lists what is.
 */
export async function findNetwork(file: TensorFile, path: string, search: NetworkSearch = {}): Promise<FoundNetwork> {
  const given = search.config && resolveBackboneConfig(search.config);
  const all = prefixesOf(file.tensors.keys(), given);
  const inKey = all.filter((prefix) => search.key === undefined || prefix.startsWith(`${search.key}.`));
  const candidates = search.prefix === undefined ? inKey : inKey.filter((prefix) => prefix === search.prefix);
  const wanted = [search.key !== undefined && `under ${search.key}`, search.prefix !== undefined && `with prefix ${shown(search.prefix)}`]
    .filter(Boolean)
    .join(' ');
  if (candidates.length === 0)
    throw new WeightsError(
      all.length > 0 ? 'E_WEIGHTS_KEY' : 'E_WEIGHTS_UNKNOWN',
      `${path}: expected a known network${wanted && ` ${wanted}`} among ${file.tensors.size} tensors, found ${all.length > 0 ? `it with ${all.map(shown).join(', ')}` : `names that begin with ${groupsOf(file.tensors.keys()) || 'nothing'}`}`,
      {
        help:
          all.length > 0
            ? 'give the prefix or the key that the file has, or none'
            : 'known are SongUNet (DDPM++, NCSN++) and DhariwalUNet (ADM) under their published names, and diffusers folders of UNet2DModel; rename the tensors of other files first',
      },
    );
  if (candidates.length > 1)
    throw new WeightsError(
      'E_WEIGHTS_KEY',
      `${path}: expected one network, found ${candidates.length}: ${candidates.map(shown).join(', ')}`,
      {
        help: `choose one by key, such as '${candidates.map((prefix) => prefix.split('.')[0]).find(Boolean) ?? 'ema'}', or by prefix`,
      },
    );

  const prefix = candidates[0]!;
  const config = given ?? (await inferBackboneConfig(weightsOf(file, path), prefix));
  const { published } = anchorOf(config);
  const names = new Map<string, string>();
  const rest: string[] = [];
  // The network's own parts: what else lies under an empty prefix is not the network's.
  for (const name of file.tensors.keys()) {
    if (name.startsWith(prefix)) names.set(published + name.slice(prefix.length), name);
    else rest.push(name);
  }
  const notes: string[] = [];
  if (prefix !== published)
    notes.push(
      `names begin with ${prefix === '' ? 'nothing' : printable(prefix)} instead of ${published || 'nothing'}; they are read as ${published || 'plain names'}`,
    );
  if (rest.length > 0) notes.push(`left out: ${rest.length} tensors besides the network (${groupsOf(rest)})`);
  const unused = unusedOf(config, names);
  if (unused.length > 0) {
    for (const name of unused) names.delete(name);
    notes.push(
      `left out: ${unused.length} tensors that the network does not have (${unused.slice(0, 3).map(printable).join(', ')}${unused.length > 3 ? ', …' : ''})`,
    );
  }
  return { config, weights: renamed(file, names), notes };
}

/** Names that the architecture does not have. */
function unusedOf(config: BackboneConfig, names: ReadonlyMap<string, string>): string[] {
  const own = new Set(
    createBackbone(config)
      .tensors()
      .map(({ name }) => name),
  );
  return [...names.keys()].filter((name) => !own.has(name));
}
