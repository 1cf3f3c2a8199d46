/**
 * Tensors of a PyTorch file as one file of weights.
 */
import { WeightsError } from '../../core/errors.js';
import { printable } from '../../core/pickle/index.js';
import { stateDict, type TorchTensor } from '../../core/torch-file/index.js';
import type { TensorEntry, TensorFile } from '../../core/tensor-file.js';

/** All tensors below `root`, by their names joined with dots; values are read from `path` when asked for. */
export function torchTensors(root: unknown, path: string): TensorFile {
  const found = stateDict(root);
  const tensors = new Map<string, TensorEntry>([...found].map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const find = (name: string): TorchTensor => {
    const tensor = found.get(name);
    if (!tensor)
      throw new WeightsError('E_WEIGHTS_MISSING', `${path}: expected a tensor ${name}, found ${found.size} others`, {
        help: `the file begins with ${[...found.keys()].slice(0, 3).map(printable).join(', ') || 'nothing'}; does it belong to this network?`,
      });
    return tensor;
  };
  return {
    metadata: {},
    tensors,
    read: async (name) => find(name).read(name),
    readAsFloat32: async (name) => find(name).readAsFloat32(name),
  };
}
