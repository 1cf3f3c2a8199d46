/**
 * Teachers and students stored as safetensors under their published names.
 */
import { FileError } from '../../core/errors.js';
import { openSafetensors } from '../../core/safetensors-index.js';
import { writeSafetensors } from '../../core/safetensors.js';
import type { Backbone } from '../backbones/backbone.js';
import type { BackboneOptions } from '../backbones/config.js';
import { expectContainer } from './probe.js';
import { findNetwork } from './published-names.js';
import { fileTeacher, type FileTeacherLoader } from './teacher-file.js';

/** Options of `safetensorsTeacher`. */
export interface SafetensorsTeacherOptions {
  /** The architecture; default: from the file's `config` metadata, else inferred from names and shapes. */
  config?: BackboneOptions;
  /** Which network of a file that holds several, such as `ema`: the beginning of its names; default: the only one. */
  key?: string;
  /** What stands before every name of the network in the file, the key included; default: found out. */
  prefix?: string;
}

function storedConfig(metadata: Readonly<Record<string, string>>, path: string): BackboneOptions | undefined {
  const stored = metadata['config'];
  if (stored === undefined) return undefined;
  try {
    const config: unknown = JSON.parse(stored);
    // Other networks than ours keep their configuration under this name too.
    return typeof config === 'object' && config !== null && 'model_type' in config ? (config as BackboneOptions) : undefined;
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${path}: expected the metadata config to be JSON: ${(cause as Error).message}`, {
      cause,
      help: 'give the architecture yourself by the option config, or write the file again',
    });
  }
}

/**
 * Loads a teacher from safetensors: a file, an index with its shards, or a folder that holds either.
 *
 * Throws `FileError` for a missing, damaged or foreign file, `E_WEIGHTS_UNKNOWN` where no known network is found, `E_CONFIG` for a
 * configuration that is none, `E_WEIGHTS_KEY` where there are several networks, or none under `key`, and `E_WEIGHTS_MISMATCH` where tensors are missing or have other shapes.
 */
export function safetensorsTeacher(path: string, options: SafetensorsTeacherOptions = {}): FileTeacherLoader {
  return fileTeacher('safetensorsTeacher', path, { name: path, options: { path, ...options } }, async (found) => {
    expectContainer(found, ['safetensors', 'safetensors index', 'folder'], 'safetensors (a file, an index or a folder of them)');
    const file = await openSafetensors(found.path);
    const config = options.config ?? storedConfig(file.metadata, found.path);
    const network = await findNetwork(file, found.path, { config, key: options.key, prefix: options.prefix });
    const source = options.config
      ? 'given'
      : config
        ? 'from the metadata'
        : 'inferred from names and shapes; dropout leaves no trace there and is 0';
    return {
      path: found.path,
      format: found.container === 'safetensors' ? 'safetensors' : 'safetensors in shards',
      config: network.config,
      weights: network.weights,
      notes: [`architecture ${source}`, ...network.notes],
    };
  });
}

/** Writes a network under its published names and layout, with its configuration in the metadata. */
export async function saveBackbone(
  path: string,
  backbone: Backbone,
  options: { dtype?: 'F32' | 'F16'; metadata?: Record<string, string>; read?: (name: string) => Float32Array | undefined } = {},
): Promise<void> {
  await writeSafetensors(
    path,
    backbone.tensors().map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      data: () => options.read?.(tensor.name) ?? tensor.read(),
      dtype: options.dtype ?? 'F32',
    })),
    { format: 'pt', config: JSON.stringify(backbone.config), ...options.metadata },
  );
}
