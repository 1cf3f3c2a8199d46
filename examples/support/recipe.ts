/** The quickstart's distillation: what is tuned for `shapes` at 16 px on two CPU cores, in one place. */
import {
  Adam,
  distributional,
  encoderDiscriminator,
  freezeConvolutions,
  nonSaturating,
  r1,
  safetensorsTeacher,
  type DistillOptions,
  type FreezePolicy,
} from 'onestep';
import { asset, trainingSet } from './shapes16.js';

export interface RecipeOptions {
  images: number;
  seed?: number;
  freeze?: FreezePolicy;
}

export function recipe({ images, seed = 0, freeze = freezeConvolutions() }: RecipeOptions): DistillOptions {
  return {
    teacher: safetensorsTeacher(asset('shapes16-teacher.safetensors')),
    data: trainingSet(),
    freeze,
    loss: distributional({
      discriminator: encoderDiscriminator({ sigmas: [0.1, 0.5, 2] }),
      adversarial: nonSaturating(),
      regularizers: [r1({ gamma: 0.1, every: 16 })],
      optimizer: new Adam({ learningRate: 1e-3 }),
    }),
    optimizer: new Adam({ learningRate: 3e-4 }),
    schedule: { images, batchSize: 64, coolDown: images / 2 },
    seed,
  };
}
