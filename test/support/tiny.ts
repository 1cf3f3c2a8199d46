/** A distillation small enough for tests: 8 px, a few thousand parameters, seconds on any engine. */
import {
  Adam,
  createBackbone,
  distributional,
  encoderDiscriminator,
  PhiloxRandom,
  r1,
  shapes,
  type BackboneOptions,
  type DistillOptions,
  type TeacherLoader,
} from '../../src/index.js';

export const tinyBackbone: BackboneOptions = {
  model_type: 'SongUNet',
  img_resolution: 8,
  model_channels: 8,
  channel_mult: [1, 2],
  num_blocks: 1,
  attn_resolutions: [4],
  dropout: 0,
  embedding_type: 'fourier',
  encoder_type: 'residual',
  channel_mult_noise: 2,
  resample_filter: [1, 3, 3, 1],
};

/** A teacher with random weights. */
export function tinyTeacher(options: Partial<BackboneOptions> = {}): TeacherLoader {
  const config = { ...tinyBackbone, ...options } as BackboneOptions;
  return {
    name: 'tiny',
    describe: () => Promise.resolve(createBackbone(config).config),
    load: () => Promise.resolve({ name: 'tiny', backbone: createBackbone(config).initialize(new PhiloxRandom(7)) }),
  };
}

/** Options of a whole distillation: `images` in batches of 8, R1 every second iteration. */
export function tinyRun(options: Partial<DistillOptions> & { images?: number } = {}): DistillOptions {
  const { images = 32, ...rest } = options;
  return {
    teacher: tinyTeacher(),
    data: shapes({ resolution: 8, size: 1000 }),
    loss: distributional({
      discriminator: encoderDiscriminator({ sigmas: [0.5], end: 4 }),
      regularizers: [r1({ gamma: 0.1, every: 2 })],
      optimizer: new Adam({ learningRate: 1e-3 }),
    }),
    optimizer: new Adam({ learningRate: 1e-3 }),
    schedule: { images, batchSize: 8 },
    intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0 },
    sampleCount: 4,
    ...rest,
  };
}
