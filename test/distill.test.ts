/** The distillation as a whole: what it trains, what it leaves alone, what it leaks, what can be replaced. */
import * as tf from '@tensorflow/tfjs-core';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ADVERSARIAL_LOSS,
  Adam,
  ConfigError,
  DATA_SOURCE,
  distill,
  FREEZE_POLICY,
  freezeConvolutions,
  freezeNothing,
  generateOneStep,
  inject,
  injectable,
  loadStudent,
  nonSaturating,
  RANDOM,
  shapes,
  type AdversarialLoss,
  type DataSource,
  type DistillOptions,
  type FreezePolicy,
  type ParameterDescription,
  type RandomSource,
  type RunEvent,
} from '../src/index.js';
import { engines, useEngine } from './support/engines.js';
import { tinyRun, tinyTeacher } from './support/tiny.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'onestep-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** Values of every tensor of the student by name, and the run's events. */
async function finished(options: DistillOptions, configure?: Parameters<typeof distill>[1]) {
  const run = distill(options, configure);
  const events: RunEvent[] = [];
  run.events$.subscribe((event) => events.push(event));
  const { student, freeze, reason } = await run.completed;
  const values = new Map(student.backbone.tensors().map((tensor) => [tensor.name, tensor.read()]));
  student.dispose();
  return { values, freeze, reason, events };
}

const losses = (events: RunEvent[]) => events.flatMap((event) => (event.kind === 'step' ? [event.losses] : []));

describe.each(engines)('distill on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('trains what the policy leaves and keeps the rest bit-identical', async () => {
    const { backbone } = await tinyTeacher().load();
    const teacher = new Map(backbone.tensors().map((tensor) => [tensor.name, tensor.read()]));
    const policy = freezeConvolutions();
    const { values, freeze } = await finished(tinyRun({ freeze: policy }));
    expect(freeze.frozenShare).toBeGreaterThan(0.5);
    for (const parameter of backbone.parameters()) {
      const same = Buffer.compare(Buffer.from(values.get(parameter.name)!.buffer), Buffer.from(teacher.get(parameter.name)!.buffer)) === 0;
      // A zero gradient is no update: a convolution's bias before a norm of one channel a group, for one.
      if (!policy.trains(parameter)) expect(same, parameter.name).toBe(true);
      else if (parameter.role === 'output' || parameter.role === 'norm') expect(same, parameter.name).toBe(false);
    }
    for (const buffer of backbone.buffers()) expect(values.get(buffer.name)).toEqual(teacher.get(buffer.name));
    backbone.dispose();
  });

  it('leaves the number of tensors as it was, step by step and at the end', async () => {
    const before = tf.memory().numTensors;
    const counts: number[] = [];
    const run = distill(tinyRun({ images: 64 }));
    run.events$.subscribe((event) => event.kind === 'step' && counts.push(tf.memory().numTensors));
    const { student } = await run.completed;
    expect(counts).toHaveLength(8);
    expect(new Set(counts).size).toBe(1);
    student.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is the same run for the same seed and another for another', async () => {
    const [first, again, other] = [await finished(tinyRun()), await finished(tinyRun()), await finished(tinyRun({ seed: 1 }))];
    expect(losses(again.events)).toEqual(losses(first.events));
    expect(again.values).toEqual(first.values);
    expect(losses(other.events)).not.toEqual(losses(first.events));
  });

  it('resumed runs equal uninterrupted ones bit for bit, stopped in mid-epoch', async () => {
    const whole = await finished(tinyRun({ images: 80 }));
    const runDir = join(directory, `resume-${engine}`);
    const run = distill(tinyRun({ images: 80, runDir }));
    run.events$.subscribe((event) => {
      if (event.kind === 'step' && event.step === 3) void run.stop();
    });
    const stopped = await run.completed;
    expect(stopped.reason).toBe('stopped');
    stopped.student.dispose();
    const resumed = await finished(tinyRun({ images: 80, runDir }));
    expect(resumed.events.find(({ kind }) => kind === 'started')).toMatchObject({ resumed: true, step: 3 });
    expect(losses(resumed.events)).toEqual(losses(whole.events).slice(3));
    expect(resumed.values).toEqual(whole.values);
  });

  it('micro-batches change the memory, not the generator it leads to', async () => {
    // Without a discriminator update and its batch statistics the sums are the same up to rounding.
    const options = (microBatch?: number) =>
      tinyRun({ images: 8, freeze: freezeNothing(), schedule: { images: 8, batchSize: 8, microBatch } });
    const [whole, halves] = [await finished(options()), await finished(options(8))];
    expect(halves.values).toEqual(whole.values);
    const quarters = await finished(options(2));
    expect(losses(quarters.events)[0]!['generator']).toBeCloseTo(losses(whole.events)[0]!['generator']!, 0);
    await expect(async () => finished(options(3))).rejects.toThrow('3 does not divide the batch size 8');
  });

  it('saves students that load again to the same images', async () => {
    const { student } = await distill(tinyRun()).completed;
    const path = join(directory, `student-${engine}.safetensors`);
    await student.save(path);
    const loaded = await loadStudent(path);
    const options = { count: 3, seed: 5 };
    expect(loaded.generate(options).images).toEqual(student.generate(options).images);
    // Another batch size may sum in another order: a value on the edge between two bytes may fall to the other side.
    const whole = student.generate(options).images;
    const single = loaded.generate({ ...options, batchSize: 1 }).images;
    expect(Math.max(...Array.from(single, (value, i) => Math.abs(value - whole[i]!)))).toBeLessThanOrEqual(1);
    student.dispose();
    loaded.dispose();
  });
});

describe('distill', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('lets a user replace the freeze policy, the loss and the data', async () => {
    @injectable()
    class HeadOnly implements FreezePolicy {
      readonly name = 'head only';
      constructor(@inject(RANDOM) readonly random: RandomSource) {}
      trains({ role }: ParameterDescription) {
        return this.random.seed === 0 && role === 'output';
      }
    }
    const asked: string[] = [];
    const spy: AdversarialLoss = {
      ...nonSaturating(),
      discriminator: (real, fake) => (asked.push('loss'), nonSaturating().discriminator(real, fake)),
    };
    const own: DataSource = shapes({ resolution: 8, size: 10, seed: 3 });
    const data: DataSource = {
      open: () => own.open(),
      close: () => own.close(),
      read: (indices, signal) => (asked.push('data'), own.read(indices, signal)),
    };
    const { freeze, events } = await finished(tinyRun(), (container) => {
      container.register(FREEZE_POLICY, { useClass: HeadOnly });
      container.registerInstance(ADVERSARIAL_LOSS, spy);
      container.registerInstance(DATA_SOURCE, data);
    });
    expect(freeze.policy).toBe('head only');
    expect(freeze.roles.find(({ role }) => role === 'output')).toMatchObject({ frozen: 0 });
    expect(freeze.roles.find(({ role }) => role === 'mapping')!.frozen).toBeGreaterThan(0);
    expect(asked).toContain('loss');
    expect(asked).toContain('data');
    expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: 'completed' });
  });

  it('reports every wrong option at once and starts nothing', () => {
    const wrong = { ...tinyRun(), seed: -1, schedule: { images: 0, batchSize: 8, epochs: 3 }, colour: 'red', teacher: 'teacher.pkl' };
    let error: ConfigError | undefined;
    try {
      distill(wrong as unknown as DistillOptions);
    } catch (caught) {
      error = caught as ConfigError;
    }
    expect(error).toBeInstanceOf(ConfigError);
    expect(error!.code).toBe('E_CONFIG');
    for (const part of ['seed', 'schedule.images', 'epochs', 'colour', 'teacher']) expect(error!.message).toContain(part);
  });

  it('distils a teacher with an augmentation mapping, as the published ones have, into a generator without', async () => {
    const [plain, augmented] = [await finished(tinyRun()), await finished(tinyRun({ teacher: tinyTeacher({ augment_dim: 9 }) }))];
    expect([...augmented.values.keys()]).toEqual([...plain.values.keys()]);
    expect(augmented.freeze.total).toBe(plain.freeze.total);
  });

  it('refuses a teacher and data of different sizes, and frees what it loaded', async () => {
    const before = tf.memory().numTensors;
    const run = distill(tinyRun({ data: shapes({ resolution: 16, size: 10 }) }));
    await expect(run.completed).rejects.toThrow('resolution: tiny makes 8 px, shapes-16 has 16 px');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('stops with an error that names stage and parameter where gradients are not finite', async () => {
    const poison: AdversarialLoss = { ...nonSaturating(), generator: (fake) => tf.div(fake, 0) };
    const run = distill(tinyRun({ optimizer: new Adam({ learningRate: 1e-3, nonFinite: 'stop' }) }), (container) =>
      container.registerInstance(ADVERSARIAL_LOSS, poison),
    );
    await expect(run.completed).rejects.toMatchObject({ code: 'E_RUN_NON_FINITE' });
    await expect(run.completed).rejects.toThrow(/generator.*model\./s);
  });

  it('a sink that fails ends the run with its error; an optional one becomes a warning', async () => {
    const failing = (optional: boolean) => ({
      name: 'failing',
      optional,
      attach: () => new Promise<void>((_, reject) => setTimeout(() => reject(new Error('no room')), 50)),
    });
    const run = distill(tinyRun({ images: 80_000, sinks: [failing(false)] }));
    const ended: RunEvent[] = [];
    run.events$.subscribe((event) => event.kind === 'ended' && ended.push(event));
    await expect(run.completed).rejects.toThrow('no room');
    expect(ended).toMatchObject([{ reason: 'failed' }]);
    const { events } = await finished(tinyRun({ images: 80, sinks: [failing(true)] }));
    expect(events.find(({ kind }) => kind === 'warning')).toMatchObject({
      code: 'W_SINK',
      message: expect.stringContaining('no room') as string,
    });
    expect(events.at(-1)).toMatchObject({ reason: 'completed' });
  });

  it('writes down what everything was made with, so that a changed learning rate or penalty is noticed', async () => {
    const runDir = join(directory, 'described');
    await finished(tinyRun({ images: 16, runDir }));
    const changed = distill(tinyRun({ images: 32, runDir, optimizer: new Adam({ learningRate: 2e-3 }) }));
    await expect(changed.completed).rejects.toThrow(/optimizer\.options\.learningRate: was 0\.001, is 0\.002/);
  });

  it('a class-conditional teacher gets the labels of the data', async () => {
    const before = tf.memory().numTensors;
    const { student, freeze } = await distill(tinyRun({ teacher: tinyTeacher({ label_dim: 10 }) })).completed;
    expect(freeze.total).toBeGreaterThan(0);
    expect(student.generate({ count: 12, seed: 1 }).labels).toEqual(Uint32Array.from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]));
    const latents = tf.ones<tf.Rank.R4>([1, 8, 8, 3]);
    const of = (label: number) =>
      generateOneStep(student.backbone, latents, { classLabels: tf.oneHot([label], 10, 1, 0, 'float32') as tf.Tensor2D }).dataSync();
    tf.tidy(() => {
      expect(of(3)).not.toEqual(of(4));
    });
    latents.dispose();
    expect(() => student.generate({ count: 1, classes: 10 })).toThrow('10 is not below the 10 classes');
    student.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('an AbortSignal ends the run; pausing holds it', async () => {
    const controller = new AbortController();
    const run = distill(tinyRun({ images: 8_000, signal: controller.signal }));
    const kinds: string[] = [];
    let steps = 0;
    run.events$.subscribe((event) => {
      if (event.kind !== 'step') return void kinds.push(event.kind);
      if (++steps === 2) {
        run.pause();
        setTimeout(() => {
          expect(steps).toBe(2);
          run.continue();
        }, 300);
      }
      if (steps === 4) controller.abort();
    });
    const { student, reason } = await run.completed;
    student.dispose();
    expect(reason).toBe('stopped');
    expect(steps).toBe(4);
    expect(kinds).toEqual(['started', 'samples', 'paused', 'continued', 'ended']);
  });

  it('keeps checkpoints and snapshots at their intervals and refuses a run begun with other options', async () => {
    const runDir = join(directory, 'intervals');
    const intervals = { checkpoint: 0.016, snapshot: 0.016, samples: 0.016, evaluation: 0 };
    const { events } = await finished(tinyRun({ images: 48, runDir, intervals }));
    expect(events.filter(({ kind }) => kind === 'checkpoint')).toHaveLength(3);
    const files = await readdir(runDir);
    expect(files.filter((name) => name.startsWith('checkpoint-'))).toHaveLength(2);
    expect(files.filter((name) => name.startsWith('snapshot-'))).toHaveLength(3);
    const changed = distill(tinyRun({ images: 96, runDir, intervals, emaHalfLife: 10 }));
    await expect(changed.completed).rejects.toThrow(/emaHalfLife: was 500000, is 10/);
    const refused = distill(tinyRun({ images: 96, runDir, intervals, resume: 'never' }));
    await expect(refused.completed).rejects.toMatchObject({ code: 'E_RUN_USED' });
  });
});
