/** Distillations with the projected discriminator: what a checkpoint brings back, what fails before training, several side by side. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Adam,
  classifierEmbeddings,
  combined,
  distill,
  distributional,
  embeddingsFrom,
  encoderDiscriminator,
  loadCheckpoint,
  planDistillation,
  projected,
  r1,
  vgg16bn,
  writeNpz,
  writeSafetensors,
  type DistillOptions,
  type ProjectedOptions,
  type RunEvent,
  type StepEvent,
} from '../src/index.js';
import { engines, useEngine } from './support/engines.js';
import { tinyFeatures } from './support/tiny-features.js';
import { tinyRun, tinyTeacher } from './support/tiny.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'onestep-projected-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const small = { nominalSize: 16, widths: [5, 8] };
const gan = (options: ProjectedOptions = {}) =>
  distributional({
    discriminator: projected([tinyFeatures('a', true), tinyFeatures('b')], { ...small, ...options }),
    regularizers: [r1({ gamma: 0.1, every: 2 })],
    optimizer: new Adam({ learningRate: 1e-3 }),
  });

async function finished(options: DistillOptions) {
  const run = distill(options);
  const events: RunEvent[] = [];
  run.events$.subscribe((event) => events.push(event));
  const { student } = await run.completed;
  const values = student.generate({ count: 2, seed: 1 }).images;
  student.dispose();
  return { values, losses: events.filter((event): event is StepEvent => event.kind === 'step').map(({ losses }) => losses) };
}

const classes = { teacher: tinyTeacher({ label_dim: 10 }) };
const table = Float32Array.from({ length: 12 * 4 }, (_, i) => Math.sin(i));

describe.each(engines)('distill with the projected discriminator on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('a resumed run equals an uninterrupted one, random layers and embeddings included, and frees everything', async () => {
    const path = join(directory, `table-${engine}.safetensors`);
    await writeSafetensors(path, [{ name: 'table', shape: [12, 4], data: () => table }]);
    const embeddings = embeddingsFrom(path, { classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 11] });
    const options = (extra: Partial<DistillOptions> = {}, images = 32) =>
      tinyRun({ images, ...classes, loss: gan({ conditional: { embeddings } }), ...extra });
    const before = tf.memory().numTensors;
    const whole = await finished(options());
    expect(tf.memory().numTensors).toBe(before);
    expect(whole.losses.every((losses) => Object.values(losses).every(Number.isFinite))).toBe(true);

    const runDir = join(directory, `resume-${engine}`);
    const first = distill(options({ runDir }));
    first.events$.subscribe((event) => {
      if (event.kind === 'step' && event.step === 2) void first.stop();
    });
    (await first.completed).student.dispose();
    const resumed = await finished(options({ runDir }));
    expect(resumed.losses).toEqual(whole.losses.slice(2));
    expect(resumed.values).toEqual(whole.values);
  });

  it('several discriminators side by side: weighted for the generator, each trained by itself', async () => {
    const loss = () =>
      combined([
        { name: 'projected', objective: gan() },
        { name: 'encoder', objective: distributional({ discriminator: encoderDiscriminator({ sigmas: [0.5] }) }), weight: 0.5 },
      ]);
    const before = tf.memory().numTensors;
    const { losses } = await finished(tinyRun({ images: 16, loss: loss() }));
    expect(tf.memory().numTensors).toBe(before);
    expect(Object.keys(losses[0]!).sort()).toEqual(
      [
        'encoder-discriminator',
        'encoder-r1',
        'encoder-realSign',
        'generator',
        'projected-discriminator',
        'projected-r1',
        'projected-realSign',
      ].sort(),
    );
    // Before any update the sum is that of each alone, drawn from the same latents.
    const alone = await finished(tinyRun({ images: 8, loss: gan() }));
    const without = await finished(tinyRun({ images: 8, loss: combined([{ name: 'projected', objective: gan(), weight: 3 }]) }));
    expect(without.losses[0]!['generator']).toBeCloseTo(3 * alone.losses[0]!['generator']!, 4);
    const plan = await planDistillation(tinyRun({ images: 16, loss: loss() }));
    expect(plan.updates.map(({ stage }) => stage)).toEqual([
      'generator',
      'projected-discriminator',
      'projected-r1',
      'encoder-discriminator',
      'encoder-r1',
    ]);
  });
});

describe('distill with the projected discriminator', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('fails before the teacher is loaded where files are absent or another network’s, and frees what it has made', async () => {
    const before = tf.memory().numTensors;
    let loaded = 0;
    const failing = async (loss: DistillOptions['loss'], options: Partial<DistillOptions> = {}) => {
      const teacher = options.teacher ?? tinyTeacher();
      loaded = 0;
      const counting = { ...teacher, load: () => (loaded++, teacher.load()) };
      const run = distill(tinyRun({ ...options, teacher: counting, loss: loss! }));
      const kinds: string[] = [];
      run.events$.subscribe(({ kind }) => kinds.push(kind));
      const error: { code: string; message: string } = await run.completed.then(
        () => expect.unreachable(),
        (reason: unknown) => reason as never,
      );
      expect(kinds).toEqual(['ended']);
      expect(tf.memory().numTensors).toBe(before);
      return error;
    };
    const over = (path: string) => distributional({ discriminator: projected([vgg16bn(path, { size: 32 })]) });
    const absent = join(directory, 'absent.pth');
    expect(() => over(absent)).toThrow('leaves');
    const heads = { nominalSize: 64 };
    const vgg = (path: string) => distributional({ discriminator: projected([vgg16bn(path, { size: 32 })], heads) });
    expect(await failing(vgg(absent))).toMatchObject({ code: 'E_FILE_ABSENT', message: expect.stringContaining('absent.pth') as string });
    const other = join(directory, 'other.safetensors');
    await writeSafetensors(other, [{ name: 'features.0.weight', shape: [1], data: () => new Float32Array(1) }]);
    expect((await failing(vgg(other))).code).toBe('E_WEIGHTS_MISMATCH');
    expect(loaded).toBe(0);
    expect(
      (
        await failing(
          combined([
            { name: 'a', objective: gan() },
            { name: 'b', objective: vgg(absent) },
          ]),
        )
      ).code,
    ).toBe('E_FILE_ABSENT');
    expect(loaded).toBe(0);
    // A plan misses nothing that is not there, and says what is wrong with what is.
    await expect(planDistillation(tinyRun({ loss: vgg(other) }))).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
    expect((await planDistillation(tinyRun({ loss: vgg(absent) }))).discriminator?.name).toBe('vgg16_bn');

    const conditional = (embeddings: ReturnType<typeof embeddingsFrom>) => gan({ conditional: { embeddings } });
    expect((await failing(conditional(classifierEmbeddings(absent, { classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] })), classes)).code).toBe(
      'E_FILE_ABSENT',
    );
    expect(loaded).toBe(0);
    const path = join(directory, 'twelve.safetensors');
    await writeSafetensors(path, [{ name: 'table', shape: [12, 4], data: () => table }]);
    expect((await failing(conditional(embeddingsFrom(path, { classes: [12] })), classes)).message).toContain('there is no row 12');
    expect(loaded).toBe(0);
    expect((await failing(conditional(embeddingsFrom(path)), classes)).message).toContain('each of 10 classes, got 12');
    expect((await failing(conditional(embeddingsFrom(path, { classes: [0] })), classes)).message).toContain('each of 10 classes, got 1');
    expect((await failing(gan({ conditional: {} }))).message).toContain('unconditional');
  });

  it('reads class embeddings from npz and safetensors, by tensor and by row, and says what does not fit', async () => {
    const npz = join(directory, 'table.npz');
    await writeNpz(npz, {
      mean: { shape: [3], data: Float32Array.from([1, 2, 3]) },
      table: { shape: [12, 4], data: Float64Array.from(table) },
    });
    const rows = await embeddingsFrom(npz, { tensor: 'table', dimensions: 4, classes: [2, 0] }).load(2);
    expect(rows).toEqual(Float32Array.from([...table.subarray(8, 12), ...table.subarray(0, 4)]));
    expect(await embeddingsFrom(npz, { tensor: 'table', dimensions: 4 }).load(12)).toEqual(table);
    await expect(embeddingsFrom(npz, { dimensions: 4 }).load(12)).rejects.toMatchObject({ code: 'E_WEIGHTS_MISSING' });
    await expect(embeddingsFrom(npz, { tensor: 'table', dimensions: 5 }).load(12)).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
    await expect(embeddingsFrom(npz, { tensor: 'mean' }).load(3)).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
    const inferred = embeddingsFrom(npz, { tensor: 'table' });
    expect([inferred.dimensions, inferred.classes]).toEqual([undefined, undefined]);
    await inferred.check!({ localOnly: true });
    expect([inferred.dimensions, inferred.classes]).toEqual([4, 12]);
    expect(await inferred.load(12)).toEqual(table);
    const elsewhere = embeddingsFrom(join(directory, 'elsewhere.npz'));
    await elsewhere.check!({ localOnly: true });
    await expect(elsewhere.check!({ localOnly: false })).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    await expect(planDistillation(tinyRun({ ...classes, loss: gan({ conditional: { embeddings: elsewhere } }) }))).rejects.toThrow(
      'not known before their file is opened',
    );
    await expect(embeddingsFrom(npz, { tensor: 'table', dimensions: 4 }).load(10)).rejects.toThrow('each of 10 classes, got 12');
    await expect(embeddingsFrom(npz, { tensor: 'table', dimensions: 4, classes: [12] }).load(1)).rejects.toThrow('there is no row 12');

    const file = join(directory, 'classifier.safetensors');
    const weight = Float32Array.from({ length: 1000 * 1280 }, (_, i) => i % 977);
    await writeSafetensors(file, [
      { name: 'model.classifier.bias', shape: [1000], data: () => new Float32Array(1000) },
      { name: 'model.classifier.weight', shape: [1000, 1280], data: () => weight },
    ]);
    const chosen = await classifierEmbeddings(file, { classes: [404, 7] }).load(2);
    expect(chosen!.subarray(0, 1280)).toEqual(weight.subarray(404 * 1280, 405 * 1280));
    expect(chosen!.subarray(1280)).toEqual(weight.subarray(7 * 1280, 8 * 1280));
    await writeFile(join(directory, 'text.npz'), 'no zip');
    await expect(embeddingsFrom(join(directory, 'text.npz')).load(1)).rejects.toMatchObject({ code: 'E_FILE_FORMAT' });
  });

  it('keeps random layers in checkpoints, and no published weights', async () => {
    const runDir = join(directory, 'kept');
    await finished(tinyRun({ images: 8, loss: gan(), runDir }));
    const [checkpoint] = (await readdir(runDir)).filter((name) => name.startsWith('checkpoint-'));
    const { parts } = await loadCheckpoint(join(runDir, checkpoint!));
    const names = parts['discriminator']!.tensors.map(({ name }) => name);
    expect(names).toContain('networks.0.readout.2.project.weight');
    expect(names).toContain('networks.1.projection.layer1_ccm.weight');
    expect(names.some((name) => name.includes('first.conv'))).toBe(false);
  });

  it('refuses combinations that cannot be told apart', () => {
    const objective = gan();
    expect(() => combined([])).toThrow('at least one objective');
    expect(() =>
      combined([
        { name: 'a', objective },
        { name: 'a', objective },
      ]),
    ).toThrow('each once');
    expect(() => combined([{ name: 'a b', objective, weight: -1 }])).toThrow(/letters, digits and hyphens[^]*weight/);
  });
});
