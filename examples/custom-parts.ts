/**
 * Parts of one's own: a freeze policy, an adversarial loss and a data source take the place of ours by injection.
 *
 *     npx tsx examples/custom-parts.ts
 *
 * Tiny sizes and a teacher with random weights: it shows how parts are replaced, in seconds on any engine.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  ADVERSARIAL_LOSS,
  createBackbone,
  DATA_SOURCE,
  distill,
  distributional,
  encoderDiscriminator,
  formatFreezeSummary,
  FREEZE_POLICY,
  inject,
  injectable,
  normalAt,
  openBackend,
  PhiloxRandom,
  RANDOM,
  shapes,
  type AdversarialLoss,
  type BackboneOptions,
  type DataDescription,
  type DataSource,
  type FreezePolicy,
  type ImageBatch,
  type ParameterDescription,
  type RandomSource,
  type TeacherLoader,
} from 'onestep';
import { runExample } from './support/run-example.js';

/** Freezes the coarsest level and whatever belongs to no level. */
class FinestLevelOnly implements FreezePolicy {
  readonly name = 'finest level only';
  trains({ level }: ParameterDescription): boolean {
    return level === 0;
  }
}

/** Least squares (Mao et al. 2017): G: (D(fake) - 1)^2 / 2; D: (D(real) - 1)^2 / 2 + D(fake)^2 / 2. */
const leastSquares: AdversarialLoss = {
  name: 'least-squares',
  relativistic: false,
  generator: (fake) => tf.div(tf.squaredDifference(fake, 1), 2),
  discriminator: (real, fake) => tf.div(tf.add(tf.squaredDifference(real, 1), tf.square(fake)), 2),
};

/** Horizontal ramps of random colours, 8 px; image i depends on the run's seed and i alone. */
@injectable()
class Ramps implements DataSource {
  static reads = 0;
  constructor(@inject(RANDOM) private readonly random: RandomSource) {}

  open(): Promise<DataDescription> {
    return Promise.resolve({ name: 'ramps-8', resolution: 8, channels: 3, classes: 0, size: 1_000 });
  }

  read(indices: Uint32Array): Promise<ImageBatch> {
    Ramps.reads++;
    const images = new Uint8Array(indices.length * 8 * 8 * 3);
    indices.forEach((index, b) => {
      const slopes = normalAt(this.random.seed, index, 3);
      for (let pixel = 0; pixel < 64; pixel++)
        for (let c = 0; c < 3; c++)
          images[(b * 64 + pixel) * 3 + c] = Math.min(255, Math.max(0, 128 + 20 * slopes[c]! * ((pixel % 8) - 3.5)));
    });
    return Promise.resolve({ images, shape: [indices.length, 8, 8, 3] });
  }

  async close(): Promise<void> {}
}

const backbone: BackboneOptions = {
  model_type: 'SongUNet',
  img_resolution: 8,
  model_channels: 8,
  channel_mult: [1, 2],
  num_blocks: 1,
  attn_resolutions: [4],
  dropout: 0,
};
const teacher: TeacherLoader = {
  name: 'random-weights',
  describe: () => Promise.resolve(createBackbone(backbone).config),
  load: () => Promise.resolve({ name: 'random-weights', backbone: createBackbone(backbone).initialize(new PhiloxRandom(7)) }),
};

await runExample('npx tsx examples/custom-parts.ts', {}, async () => {
  const { description } = await openBackend();
  console.log(`engine: ${description}`);
  const options = {
    teacher,
    data: shapes({ resolution: 8 }), // replaced below
    loss: distributional({ discriminator: encoderDiscriminator({ sigmas: [0.5] }) }),
    schedule: { images: 512, batchSize: 32 },
  };
  const run = distill(options, (container) => {
    container.register(FREEZE_POLICY, { useClass: FinestLevelOnly });
    container.registerInstance(ADVERSARIAL_LOSS, leastSquares);
    container.register(DATA_SOURCE, { useClass: Ramps });
  });
  run.events$.subscribe((event) => {
    if (event.kind !== 'step' || event.step % 4 !== 0) return;
    const losses = Object.entries(event.losses).map(([name, value]) => `${name} ${value.toFixed(3)}`);
    console.log(`${event.images} images: ${losses.join(', ')}`);
  });
  const { student, freeze } = await run.completed;
  console.log(`\n${formatFreezeSummary(freeze)}\n`);
  console.log(`data: Ramps, ${Ramps.reads} reads; loss: ${leastSquares.name}`);
  console.log(`the student made ${student.generate({ count: 16 }).shape[0]} images`);
  student.dispose();
});
