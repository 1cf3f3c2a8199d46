/**
 * Opened files as sources of a network's weights.
 */
import type { TensorEntry, TensorFile } from '../../core/tensor-file.js';
import type { WeightSource } from './module.js';

/** An opened file as a source of weights; `name` stands for it in messages. */
export function weightsOf(file: TensorFile, name: string): WeightSource {
  return {
    name,
    has: (tensor) => file.tensors.has(tensor),
    shape: (tensor) => file.tensors.get(tensor)!.shape,
    read: (tensor) => file.readAsFloat32(tensor),
    names: () => file.tensors.keys(),
  };
}

/** Some tensors of `file` under other names: `names` gives the name in the file by the new one. */
export function renamed(file: TensorFile, names: ReadonlyMap<string, string>): TensorFile {
  const tensors = new Map<string, TensorEntry>();
  for (const [name, inFile] of names) tensors.set(name, file.tensors.get(inFile)!);
  // A name that is not in the map is not in the view, even where the file has it: the file's error says so.
  const nameInFile = (name: string) => names.get(name) ?? `${name} (of ${names.size} selected)`;
  return {
    metadata: file.metadata,
    tensors,
    read: (name) => file.read(nameInFile(name)),
    readAsFloat32: (name) => file.readAsFloat32(nameInFile(name)),
  };
}
