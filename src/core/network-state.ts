/**
 * A network's values as one part of a checkpoint.
 */
import type { Checkpointable, CheckpointPart } from './contracts/training.js';
import { WeightsError } from './errors.js';
import type { NamedTensor } from './parameter.js';

/** Saves and restores every tensor of `network`, or of those that `keep` names (the rest must not change in training). */
export function networkState(network: { tensors(): NamedTensor[] }, keep: (tensor: NamedTensor) => boolean = () => true): Checkpointable {
  const kept = () => network.tensors().filter(keep);
  return {
    saveState: (): CheckpointPart => ({
      json: {},
      tensors: kept().map((tensor) => ({ name: tensor.name, shape: tensor.shape, data: tensor.read() })),
    }),
    restoreState: ({ tensors }) => {
      const saved = new Map(tensors.map((tensor) => [tensor.name, tensor]));
      const missing = kept().filter(({ name }) => !saved.has(name));
      if (missing.length > 0)
        throw new WeightsError(
          'E_WEIGHTS_MISMATCH',
          `checkpoint: ${missing.length} tensors are missing, the first is ${missing[0]!.name}`,
          {
            help: 'the checkpoint belongs to another configuration; use another run directory',
          },
        );
      for (const tensor of kept()) {
        const { data, shape } = saved.get(tensor.name)!;
        tensor.load(data, shape);
      }
    },
  };
}
