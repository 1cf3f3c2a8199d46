/**
 * Teachers in PyTorch's state dicts: `.pth`, `.pt`, `.ckpt` and `.bin` in the zip container or the legacy one.
 */
import { WeightsError } from '../../core/errors.js';
import { openTorchFile, type TorchFile } from '../../core/torch-file/index.js';
import type { BackboneOptions } from '../backbones/config.js';
import { snapshotModules } from './edm-snapshot.js';
import { expectContainer } from './probe.js';
import { findNetwork } from './published-names.js';
import { fileTeacher, type FileTeacherLoader, type TeacherFile } from './teacher-file.js';
import { torchTensors } from './torch-tensors.js';

/** Options of `stateDictTeacher`. */
export interface StateDictTeacherOptions {
  /** The architecture; default: inferred from names and shapes. */
  config?: BackboneOptions;
  /** Which dict of a nested one, such as `ema` or `state.net`; default: the only one that holds a network. */
  key?: string;
  /** What stands before every name of the network, the key included; default: found out. */
  prefix?: string;
}

/** Reads a state dict that is open already. */
export async function readStateDict(file: TorchFile, { config, key, prefix }: StateDictTeacherOptions): Promise<TeacherFile> {
  const { path } = file;
  const modules = [...snapshotModules(file.root)];
  if (modules.length > 0)
    throw new WeightsError(
      'E_WEIGHTS_UNKNOWN',
      `${path}: expected a state dict, found an EDM snapshot with ${modules.map(([name, { className }]) => `${name || 'the file itself'} (${className})`).join(', ')}`,
      {
        help: 'edmSnapshot(path) reads it; its classes say how the network is preconditioned',
      },
    );
  const network = await findNetwork(torchTensors(file.root, path), path, { config, key, prefix });
  return {
    path,
    format: `PyTorch state dict (${file.container})`,
    config: network.config,
    weights: network.weights,
    notes: [
      `architecture ${config ? 'given' : 'inferred from names and shapes; dropout leaves no trace there and is 0'}`,
      ...network.notes,
    ],
  };
}

/**
 * Loads a teacher from a PyTorch state dict, nested or not. What stands before the published names (`module.`, `ema.`, nothing) is found out.
 *
 * The network is taken to be preconditioned as EDM does: a state dict does not say. Throws as `openTorchFile`; `E_WEIGHTS_UNKNOWN` where there is
 * no known network, `E_WEIGHTS_KEY` where there are several (lists them), `E_WEIGHTS_MISMATCH` where tensors are missing or have other shapes.
 */
export function stateDictTeacher(path: string, options: StateDictTeacherOptions = {}): FileTeacherLoader {
  return fileTeacher('stateDictTeacher', path, { name: path, options: { path, ...options } }, async (found) => {
    expectContainer(found, ['pickle', 'zip'], 'a PyTorch state dict');
    return readStateDict(await openTorchFile(found.path), options);
  });
}
