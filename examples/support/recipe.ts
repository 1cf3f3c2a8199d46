/** The examples' distillation: what is tuned for `shapes` on two CPU cores, in one place. */
import {
  Adam,
  distributional,
  encoderDiscriminator,
  freezeConvolutions,
  nonSaturating,
  r1,
  safetensorsTeacher,
  type DataSource,
  type Discriminator,
  type DistillOptions,
  type FreezePolicy,
  type Part,
  type TeacherLoader,
} from 'onestep';
import { asset, trainingSet } from './shapes16.js';

export interface RecipeOptions {
  images: number;
  seed?: number;
  freeze?: FreezePolicy;
  /** Default: the quickstart's, 16 px. */
  teacher?: TeacherLoader;
  data?: DataSource;
  /** Default: the teacher's encoder. */
  discriminator?: Part<Discriminator>;
  batchSize?: number;
  /** Of the generator. */
  learningRate?: number;
}

export function recipe({
  images,
  seed = 0,
  freeze = freezeConvolutions(),
  teacher = safetensorsTeacher(asset('shapes16-teacher.safetensors')),
  data = trainingSet(),
  discriminator = encoderDiscriminator({ sigmas: [0.1, 0.5, 2] }),
  batchSize = 64,
  learningRate = 3e-4,
}: RecipeOptions): DistillOptions {
  return {
    teacher,
    data,
    freeze,
    loss: distributional({
      discriminator,
      adversarial: nonSaturating(),
      regularizers: [r1({ gamma: 0.1, every: 16 })],
      optimizer: new Adam({ learningRate: 1e-3 }),
    }),
    optimizer: new Adam({ learningRate }),
    schedule: { images, batchSize, coolDown: images / 2 },
    seed,
  };
}
