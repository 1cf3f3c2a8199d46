/**
 * Teachers and students stored as safetensors under their published names.
 */
import { basename } from 'node:path';
import { readSafetensors, writeSafetensors } from '../../core/safetensors.js';
import type { TensorFile } from '../../core/tensor-file.js';
import type { Backbone, BackboneConfig } from '../backbones/backbone.js';
import { createBackbone, resolveBackboneConfig, type BackboneOptions } from '../backbones/config.js';
import type { WeightSource } from '../nn/module.js';
import { inferBackboneConfig } from './infer.js';
import type { TeacherLoader } from './teacher.js';

/** An opened safetensors file as a source of weights. */
export function weightsOf(file: TensorFile, name: string): WeightSource {
  return {
    name,
    has: (tensor) => file.tensors.has(tensor),
    shape: (tensor) => file.tensors.get(tensor)!.shape,
    read: (tensor) => file.readAsFloat32(tensor),
    names: () => file.tensors.keys(),
  };
}

/** Options of `safetensorsTeacher`. */
export interface SafetensorsTeacherOptions {
  /** The architecture; default: from the file's `config` metadata, else inferred from names and shapes. */
  config?: BackboneOptions;
  /** What stands before every published name in the file. Default: as the architecture's published files, see `createBackbone`. */
  prefix?: string;
}

/**
 * Loads a teacher from a safetensors file.
 *
 * Throws `FileError` for a missing or damaged file, `E_WEIGHTS_UNKNOWN` where the architecture cannot be inferred and
 * `E_WEIGHTS_MISMATCH` where tensors are missing or have other shapes.
 */
export function safetensorsTeacher(path: string, options: SafetensorsTeacherOptions = {}): TeacherLoader {
  const { prefix } = options;
  const open = async (): Promise<{ source: WeightSource; config: BackboneConfig }> => {
    const file = await readSafetensors(path);
    const source = weightsOf(file, path);
    const stored = file.metadata['config'];
    if (options.config) return { source, config: resolveBackboneConfig(options.config) };
    if (stored) return { source, config: resolveBackboneConfig(JSON.parse(stored) as BackboneOptions) };
    return { source, config: await inferBackboneConfig(source, prefix) };
  };
  return {
    name: basename(path),
    description: { part: 'safetensorsTeacher', options: { path, ...options } },
    describe: async () => (await open()).config,
    load: async () => {
      const { source, config } = await open();
      const backbone = createBackbone(config, prefix);
      await backbone.load(source);
      return { name: basename(path), backbone };
    },
  };
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
