/** Augmentation in a run: what sees it, what reports it, what resumes it; and labels for a teacher in training. */
import * as tf from '@tensorflow/tfjs-core';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  adaptiveAugmentation,
  Adam,
  adaTransforms,
  AUGMENTATION,
  augmentationPipe,
  ConfigError,
  diffAugment,
  distill,
  distributional,
  edmTransforms,
  encoderDiscriminator,
  planDistillation,
  r1,
  r2,
  shapes,
  trainTeacher,
  type Augmentation,
  type BackboneOptions,
  type DistillOptions,
  type DistributionalOptions,
  type RunEvent,
} from '../src/index.js';
import { engines, useEngine } from './support/engines.js';
import { tinyBackbone, tinyRun } from './support/tiny.js';

let directory: string;
beforeAll(async () => {
  await useEngine(engines[0]!);
  directory = await mkdtemp(join(tmpdir(), 'onestep-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const augmented = (options: Partial<DistributionalOptions>, run: Parameters<typeof tinyRun>[0] = {}) =>
  tinyRun({
    loss: distributional({
      discriminator: encoderDiscriminator({ sigmas: [0.5], end: 4 }),
      regularizers: [r1({ gamma: 0.1, every: 2 })],
      optimizer: new Adam({ learningRate: 1e-3 }),
      ...options,
    }),
    ...run,
  });

async function losses(options: DistillOptions, configure?: Parameters<typeof distill>[1]) {
  const run = distill(options, configure);
  const events: Record<string, number>[] = [];
  run.events$.subscribe((event: RunEvent) => event.kind === 'step' && events.push(event.losses));
  (await run.completed).student.dispose();
  return events;
}

/** Writes down what it sees and changes nothing. */
function spy(): Augmentation & { seen: string[] } {
  const seen: string[] = [];
  return {
    name: 'spy',
    seen,
    apply: (images, { on }) => (seen.push(on), tf.clone(images)),
    observe: ({ step, realSign }) => (seen.push(`observed ${step}`), { copiedSign: realSign }),
  };
}

describe('augmentation in a distillation', () => {
  it('is off by default: the run is the same as with one that changes nothing', async () => {
    const plain = await losses(tinyRun());
    expect(await losses(augmented({ augment: augmentationPipe({ ...adaTransforms, probability: 0 }) }))).toEqual(plain);
    expect(await losses(augmented({ augment: diffAugment() }))).not.toEqual(plain);
  });

  it('sees generated images twice and real ones once; regularizers see the images themselves unless asked', async () => {
    const iteration = ['fake', 'fake', 'real'];
    const without = spy();
    const reported = await losses(augmented({ augment: without }, { images: 16 }));
    expect(without.seen).toEqual([...iteration, 'observed 0', ...iteration, 'observed 1']);
    expect(reported[1]!['copiedSign']).toBe(reported[1]!['realSign']);
    const asked = spy();
    const regularizers = [r1({ every: 1 }), r2({ every: 1 })];
    await losses(augmented({ augment: asked, augmentRegularizers: true, regularizers }, { images: 8 }));
    expect(asked.seen).toEqual([...iteration, 'observed 0', 'real', 'fake']);
  });

  it('runs on the engine of shapes, so that a run with it can be planned', async () => {
    const augment = adaptiveAugmentation(augmentationPipe({ ...adaTransforms, yflip: 1 }), { initial: 1 });
    const [plain, planned] = [await planDistillation(tinyRun()), await planDistillation(augmented({ augment, augmentRegularizers: true }))];
    expect(planned.updates).toEqual(plain.updates);
    expect(planned.memory.total).toBeGreaterThan(plain.memory.total);
    await expect(planDistillation(augmented({ augment: diffAugment() }))).resolves.toBeDefined();
  });

  it('can be replaced behind its token', async () => {
    const mine = spy();
    await losses(augmented({ augment: diffAugment() }, { images: 8 }), (container) => container.registerInstance(AUGMENTATION, mine));
    expect(mine.seen).toContain('real');
  });

  it('passes gradients to the generator and R1 through every transform, finite, and leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const pipe = augmentationPipe({ ...adaTransforms, yflip: 1, probability: 0.8 });
    for (const augment of [pipe, diffAugment()]) {
      const events = await losses(augmented({ augment, augmentRegularizers: true }));
      expect(events.flatMap((event) => Object.values(event)).every(Number.isFinite)).toBe(true);
      expect(events[2]!['r1']).toBeGreaterThan(0);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('an adaptive probability is reported, kept in checkpoints and resumed bit for bit', async () => {
    // Below its target from the first step on: a target of -1 is always passed.
    const options = (runDir?: string) =>
      augmented(
        { augment: adaptiveAugmentation(augmentationPipe(adaTransforms), { target: -1, kimg: 0.1, initial: 0.1, every: 2 }) },
        { images: 64, runDir },
      );
    const whole = await losses(options());
    expect(whole.map((event) => event['augmentProbability']!)).toBeAllclose([0.1, 0.26, 0.26, 0.42, 0.42, 0.58, 0.58, 0.74]);

    const runDir = join(directory, 'adaptive');
    const run = distill(options(runDir));
    run.events$.subscribe((event) => {
      if (event.kind === 'step' && event.step === 3) void run.stop();
    });
    (await run.completed).student.dispose();
    const state = JSON.parse(await readFile(join(runDir, 'checkpoint-0.024', 'augmentation.json'), 'utf8')) as unknown;
    expect(state).toMatchObject({ probability: expect.closeTo(0.26, 6) as number, count: 1 });
    expect(await losses(options(runDir))).toEqual(whole.slice(3));
    const config = JSON.parse(await readFile(join(runDir, 'config.json'), 'utf8')) as { loss: { options: { augment: unknown } } };
    expect(config.loss.options.augment).toMatchObject({ part: 'adaptiveAugmentation', options: { kimg: 0.1 } });
  });
});

describe('augmentation of a teacher in training', () => {
  const options = {
    backbone: { ...tinyBackbone, augment_dim: 9 } as BackboneOptions,
    data: shapes({ resolution: 8, size: 1000 }),
    optimizer: new Adam({ learningRate: 3e-3 }),
    schedule: { images: 64, batchSize: 32 },
    intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0 },
    sampleCount: 2,
    samplerSteps: 2,
  };

  it('labels of what was done train the mapping; where nothing is done it stays as it was', async () => {
    const before = tf.memory().numTensors;
    const mapping = async (probability: number) => {
      const augment = augmentationPipe({ ...edmTransforms, probability });
      const { teacher } = await trainTeacher({ ...options, augment }).completed;
      const values = teacher.backbone
        .tensors()
        .find(({ name }) => name.endsWith('map_augment.weight'))!
        .read();
      teacher.backbone.dispose();
      return values;
    };
    const [trained, again, untrained] = [await mapping(0.5), await mapping(0.5), await mapping(0)];
    expect(again).toEqual(trained);
    expect(trained).not.toEqual(untrained);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses labels of another width, and a network whose labels nothing makes', () => {
    const wrong = { ...options, augment: augmentationPipe(adaTransforms) };
    expect(() => trainTeacher(wrong)).toThrow(ConfigError);
    expect(() => trainTeacher(wrong)).toThrow('labels have 18 values, the backbone takes augment_dim 9');
    expect(() => trainTeacher(options)).toThrow('labels have 0 values, the backbone takes augment_dim 9');
  });
});
