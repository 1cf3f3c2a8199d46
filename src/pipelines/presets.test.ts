/** The paper's recipes: every number, what they resolve to, and that they run. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { engines, useEngine } from '../../test/support/engines.js';
import { tinyTeacher } from '../../test/support/tiny.js';
import { ConfigError } from '../core/errors.js';
import { shapes } from '../data/shapes.js';
import type { BackboneConfig } from '../models/backbones/backbone.js';
import { createBackbone, publishedBackbones } from '../models/backbones/config.js';
import { encoderDiscriminator } from '../models/discriminators/encoder-discriminator.js';
import { saveBackbone } from '../models/teachers/safetensors-teacher.js';
import { describeProvided, type Part } from '../core/container.js';
import type { Objective } from '../core/contracts/training.js';
import { PhiloxRandom } from '../core/random.js';
import { distill } from './distill.js';
import type { DistillOptions } from './distillation.js';
import { planDistillation } from './plan.js';
import { formatPlan, formatPresets } from './plan-table.js';
import { describePreset, presets, type PresetOptions } from './presets.js';
import { presetTable, type PresetName } from './preset-table.js';

const names = Object.keys(presetTable) as PresetName[];

// SPEC.md section 5: networks, lr G, lr D, batch, images, gamma, EMA half-life, teacher; section 3: parameters, frozen at level 1.
const spec = {
  cifar10: [['VGG16-BN', 'EfficientNet-lite0'], 1e-4, 1e-4, 256, 5e6, 1e-4, 0.5e6, 'edm-cifar10-32x32-uncond-ve', 56_395_523, 47_597_568],
  cifar10Conditional: [
    ['VGG16-BN', 'EfficientNet-lite0'],
    1e-4,
    1e-4,
    256,
    5e6,
    1e-4,
    0.5e6,
    'edm-cifar10-32x32-cond-ve',
    56_398_339,
    47_597_568,
  ],
  ffhq64: [
    ['DeiT-base-distilled', 'EfficientNet-lite0'],
    2e-5,
    4e-5,
    256,
    10e6,
    1e-4,
    0.5e6,
    'edm-ffhq-64x64-uncond-ve',
    62_758_787,
    52_614_144,
  ],
  afhqv2: [
    ['DeiT-base-distilled', 'EfficientNet-lite0'],
    2e-5,
    4e-5,
    256,
    10e6,
    1e-4,
    0.5e6,
    'edm-afhqv2-64x64-uncond-ve',
    62_758_787,
    52_614_144,
  ],
  imagenet64: [
    ['DeiT-base-distilled', 'EfficientNet-lite0'],
    8e-6,
    4e-5,
    512,
    10e6,
    1e-4,
    50e6,
    'edm-imagenet-64x64-cond-adm',
    295_899_267,
    233_065_920,
  ],
} as const satisfies Record<PresetName, readonly unknown[]>;

const problemsOf = (f: () => unknown): readonly string[] => {
  try {
    f();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  return [];
};

describe('the table', () => {
  for (const name of names)
    it(`${name} is the paper's`, async () => {
      const [features, generator, discriminator, batchSize, images, gamma, emaHalfLife, teacher] = spec[name];
      const row = presetTable[name];
      expect(row).toMatchObject({ features, learningRates: { generator, discriminator }, batchSize, images, emaHalfLife, teacher });
      expect(row.r1).toEqual({ gamma, every: 16 });

      const { options } = await describePreset(name);
      expect(options).toMatchObject({ emaHalfLife, flip: false, schedule: { images, batchSize, warmUp: 0, coolDown: 0 } });
      expect(options['optimizer']).toMatchObject({
        part: 'Adam',
        options: { learningRate: generator, beta1: 0, beta2: 0.99, epsilon: 1e-8, nonFinite: 'paper' },
      });
      const loss = (
        options['loss'] as { options: Record<string, { options: Record<string, number> }[] & { options: Record<string, number> }> }
      ).options;
      expect(loss).toMatchObject({
        reduction: 'mean',
        adversarial: 'non-saturating',
        regularizers: [{ part: 'r1', options: { gamma, every: 16 } }],
      });
      const judge = loss['optimizer']!.options;
      expect(judge['learningRate']).toBeCloseTo((discriminator * 16) / 17, 12);
      expect(judge['beta2']).toBeCloseTo(0.99 ** (16 / 17), 12);
      expect(judge).toMatchObject({ beta1: 0, epsilon: 1e-8 });
    });

  it('teaches the network of its row', () => {
    for (const name of names)
      expect(presetTable[name].classes).toBe(createBackbone(publishedBackbones[presetTable[name].network]).config.label_dim);
  });

  it('prints a row a recipe', () => {
    const lines = formatPresets().split('\n');
    expect(lines).toHaveLength(6);
    expect(lines[5]).toMatch(
      /imagenet64 +edm-imagenet-64x64-cond-adm +DeiT-base-distilled, EfficientNet-lite0 +8e-6 \/ 4e-5 +512 +10 M +1e-4, every 16 +50 M/,
    );
  });
});

describe('plans of the recipes', () => {
  for (const name of names)
    for (const method of ['GDD', 'GDD-I'] as const)
      it(`${name}, ${method}: resolves and prints without any file`, async () => {
        const plan = await describePreset(name, { method, schedule: { microBatch: 1 } });
        const parameters = spec[name][8];
        const frozen = method === 'GDD' ? 0 : spec[name][9];
        expect(plan.freeze).toMatchObject({ total: parameters, frozen });
        expect(plan.teacher).toEqual({ name: presetTable[name].teacher, architecture: 'published' });
        expect(plan.iterations).toBe(Math.ceil(presetTable[name].images / presetTable[name].batchSize));
        // The teacher, and in the generator what is not the teacher's; published networks have 9 augmentation labels (ADM none).
        const teacher = createBackbone(plan.network);
        const buffers = teacher.buffers().reduce((sum, { size }) => sum + size, 0);
        // Heads of the paper's setting; a class-conditional one has 64 outputs, embeddings and their projection, eight times.
        const { classes } = presetTable[name];
        const trained = 20_662_656 + (classes > 0 ? 8 * (63 * 16 * 512 + classes * 1280 + 1280 * 64 + 64) : 0);
        expect(plan.discriminator!.trained).toBe(trained);
        // With the feature networks, whose convolutions are there as published and with their normalisation folded in.
        const generatorAndHeads = 4 * (teacher.parameterCount() + buffers + parameters - frozen + trained);
        const published = { 'VGG16-BN': 14_714_688, 'EfficientNet-lite0': 3_371_024, 'DeiT-base-distilled': 85_800_192 };
        const features = 4 * presetTable[name].features.reduce((sum, feature) => sum + published[feature], 0);
        expect(plan.memory.weights).toBeGreaterThan(generatorAndHeads + features);
        expect(plan.memory.weights).toBeLessThan(generatorAndHeads + 2.1 * features);
        expect(plan.memory.averages).toBe(4 * (parameters - frozen));
        expect(plan.memory.optimizer).toBe(4 * (parameters - frozen + trained));
        const largest = plan.memory.stages.reduce((a, b) => (b.bytes > a.bytes ? b : a)).stage;
        expect(plan.memory.gradients).toBe(4 * (largest === 'generator' ? parameters - frozen : trained));
        expect(plan.memory.activations).toBeGreaterThan(50e6);
        const text = formatPlan(plan);
        expect(text).toContain(parameters.toLocaleString('en-US'));
        expect(text).toContain(frozen.toLocaleString('en-US'));
        expect(text).toMatch(/missing +data: no images/);
        const networks = { 'VGG16-BN': 'vgg16_bn', 'EfficientNet-lite0': 'tf_efficientnet_lite0', 'DeiT-base-distilled': 'deit_base' };
        for (const feature of presetTable[name].features) expect(text).toContain(networks[feature]);
        expect(plan.updates.map(({ stage }) => stage)).toEqual(['generator', 'discriminator', 'r1']);
      });

  it('with a discriminator count its stages', async () => {
    const plan = await describePreset('cifar10', {
      discriminator: encoderDiscriminator(),
      schedule: { microBatch: 4 },
      data: shapes({ resolution: 32 }),
    });
    expect(plan.missing).toEqual([]);
    expect(plan.notes).toEqual([]);
    expect(plan.updates).toEqual([
      { stage: 'generator', every: 1, updates: 19_532 },
      { stage: 'discriminator', every: 1, updates: 19_532 },
      { stage: 'r1', every: 16, updates: 1_221 },
    ]);
    expect(plan.discriminator!.trained).toBeGreaterThan(1e6);
  });
});

describe('options of a recipe', () => {
  it('names what is missing before anything starts, and what to give', () => {
    const problems = problemsOf(() => distill(presets.cifar10()));
    expect(problems).toEqual([expect.stringMatching(/^data: no images of .*pass the path of a data set/)]);
  });

  it('reports every wrong override at once', () => {
    const wrong = {
      method: 'GDD-II',
      learningRates: { generator: -1, discriminators: 1 },
      r1: { gamma: -1 },
      schedule: { batchSize: 256, microBatch: 7, epochs: 1 },
      seed: -1,
      colour: 'red',
      teacher: 3,
      discriminator: 'vgg',
      features: { vgg16bn: '', vgg19: 'a.pth' },
      classEmbeddings: [1000],
    };
    const problems = problemsOf(() => presets.ffhq64(wrong as unknown as PresetOptions)).join('\n');
    for (const part of [
      'method',
      'learningRates.generator',
      'discriminators',
      'r1.gamma',
      'epochs',
      'seed',
      'colour',
      'teacher',
      'discriminator:',
      'features.vgg16bn',
      'vgg19',
      'classEmbeddings',
    ])
      expect(problems).toContain(part);
    expect(problemsOf(() => presets.ffhq64({ schedule: { microBatch: 7 } })).join()).toContain('7 does not divide the batch size 256');
    expect(problemsOf(() => presets.ffhq64({ schedule: 5 as never })).join()).toContain('schedule');
  });

  it('takes the place of the table, each for itself', async () => {
    const plan = await planDistillation(
      presets.afhqv2({
        learningRates: { discriminator: 1e-3 },
        r1: { every: 8 },
        emaHalfLife: 10,
        seed: 3,
        schedule: { batchSize: 32, microBatch: 1 },
      }),
    );
    expect(plan.options).toMatchObject({
      emaHalfLife: 10,
      seed: 3,
      schedule: { images: 10e6, batchSize: 32 },
      optimizer: { options: { learningRate: 2e-5 } },
    });
    expect(plan.options['loss']).toMatchObject({ options: { regularizers: [{ options: { gamma: 1e-4, every: 8 } }] } });
    const { learningRate } = (plan.options['loss'] as { options: { optimizer: { options: { learningRate: number } } } }).options.optimizer
      .options;
    expect(learningRate).toBeCloseTo((1e-3 * 8) / 9, 12);
  });

  it('names where the feature networks are, and what class embeddings start from', () => {
    const judge = (options: DistillOptions) =>
      (describeProvided(options.loss) as { options: { discriminator: { options: Record<string, unknown> } } }).options.discriminator
        .options;
    const weights = { vgg16bn: 'a.pth', efficientnetLite0: 'b.safetensors', deit: 'c.safetensors' };
    const features = (names: [string, string][]) => names.map(([part, file]) => ({ part, options: { weights: file } }));
    expect(judge(presets.cifar10({ features: weights }))['features']).toMatchObject(
      features([
        ['vgg16bn', 'a.pth'],
        ['efficientnetLite', 'b.safetensors'],
      ]),
    );
    expect(judge(presets.cifar10())['conditional']).toBeUndefined();
    const imagenet = judge(presets.imagenet64({ features: weights }));
    expect(imagenet['features']).toMatchObject(
      features([
        ['deit', 'c.safetensors'],
        ['efficientnetLite', 'b.safetensors'],
      ]),
    );
    expect(imagenet['conditional']).toMatchObject({
      classes: 1000,
      embeddings: { part: 'classifierEmbeddings', options: { weights: 'b.safetensors', tensor: 'classifier.weight' } },
    });
    expect(judge(presets.cifar10Conditional())['conditional']).toMatchObject({ classes: 10, embeddings: { part: 'randomEmbeddings' } });
    const notes = (options: DistillOptions) => (options.loss as Part<Objective>).notes;
    expect(notes(presets.cifar10())).toEqual([]);
    expect(notes(presets.cifar10Conditional())).toEqual([expect.stringMatching(/start random; the paper does not say .*classEmbeddings/)]);
    expect(notes(presets.cifar10Conditional({ classEmbeddings: 'random' }))).toEqual(['class embeddings start random']);
    expect(notes(presets.imagenet64())).toEqual([expect.stringContaining("ImageNet's classes in order")]);
    expect(notes(presets.cifar10Conditional({ classEmbeddings: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] }))).toEqual([
      expect.stringContaining('the ImageNet classes 1, 2, 3'),
    ]);
    const chosen = [404, 407, 13, 281, 345, 229, 30, 339, 510, 867];
    expect(judge(presets.cifar10Conditional({ classEmbeddings: chosen }))['conditional']).toMatchObject({
      embeddings: { part: 'classifierEmbeddings', options: { classes: chosen } },
    });
    expect(judge(presets.imagenet64({ classEmbeddings: 'random' }))['conditional']).toMatchObject({
      embeddings: { part: 'randomEmbeddings' },
    });
  });

  it('has types', () => {
    expectTypeOf(presets.cifar10).returns.toEqualTypeOf<DistillOptions>();
    expectTypeOf(presets).toHaveProperty('imagenet64');
    expectTypeOf<PresetOptions['method']>().toEqualTypeOf<'GDD' | 'GDD-I' | undefined>();
    // @ts-expect-error: no such recipe
    void presets.cifar100;
    // @ts-expect-error: no such option
    expect(() => presets.cifar10({ colour: 'red' })).toThrow('colour');
  });
});

describe('teachers of a recipe', () => {
  let directory: string;
  beforeAll(async () => {
    await useEngine(engines[0]!);
    directory = await mkdtemp(join(tmpdir(), 'onestep-presets-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  const saved = async (name: string, options: Partial<BackboneConfig>) => {
    const path = join(directory, name);
    const backbone = createBackbone({
      ...publishedBackbones['cifar10-ncsnpp-uncond'],
      model_channels: 8,
      num_blocks: 1,
      ...options,
    } as BackboneConfig).initialize(new PhiloxRandom(0));
    await saveBackbone(path, backbone);
    backbone.dispose();
    return path;
  };

  it('are looked at where they are', async () => {
    const teacher = await saved('own.safetensors', {});
    const plan = await describePreset('cifar10', { teacher, schedule: { microBatch: 1 } });
    expect(plan.teacher).toEqual({ name: 'own.safetensors', architecture: 'file' });
    expect(plan.network).toMatchObject({ model_channels: 8 });
  });

  it('must fit the data set; under the published name they must be the published network', async () => {
    const conditional = await saved('conditional.safetensors', { label_dim: 10 });
    await expect(describePreset('cifar10', { teacher: conditional })).rejects.toThrow('label_dim: expected 0, found 10');
    const impostor = await saved('edm-cifar10-32x32-uncond-ve.safetensors', {});
    await expect(describePreset('cifar10', { teacher: impostor })).rejects.toThrow(
      /model_channels: expected 128, found 8\n.*num_blocks: expected 4, found 1/,
    );
    const run = distill(presets.cifar10({ teacher: impostor, data: shapes({ resolution: 32 }), discriminator: encoderDiscriminator() }));
    await expect(run.completed).rejects.toMatchObject({ code: 'E_CONFIG' });
  });

  it('may be another published one of the data set, without its file', async () => {
    const plan = await describePreset('cifar10', { teacher: 'edm-cifar10-32x32-uncond-vp', schedule: { microBatch: 1 } });
    expect(plan.network).toMatchObject({ embedding_type: 'positional' });
    // SPEC.md section 3: DDPM++.
    expect(plan.freeze).toMatchObject({ total: 55_732_739, frozen: 47_597_568 });
    await expect(describePreset('cifar10', { teacher: 'edm-cifar10-32x32-cond-ve' })).rejects.toThrow('label_dim: expected 0, found 10');
    await expect(describePreset('ffhq64', { teacher: 'edm-cifar10-32x32-uncond-ve' })).rejects.toThrow(
      'img_resolution: expected 64, found 32',
    );
  });

  it('train and resume: the whole recipe on a small network', async () => {
    // 32 px because the data set fixes it; all else is small.
    const teacher = tinyTeacher({ img_resolution: 32, channel_mult: [1, 1], model_channels: 4, attn_resolutions: [] });
    const runDir = join(directory, 'run');
    const options = (images: number): PresetOptions => ({
      teacher,
      data: shapes({ resolution: 32, size: 100 }),
      discriminator: encoderDiscriminator({ sigmas: [0.5], end: 16 }),
      schedule: { images, batchSize: 4 },
      intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0 },
      sampleCount: 1,
      runDir,
    });
    const first = await distill(presets.cifar10(options(8))).completed;
    first.student.dispose();
    const run = distill(presets.cifar10(options(16)));
    const started: unknown[] = [];
    run.events$.subscribe((event) => event.kind === 'started' && started.push(event));
    const { student, reason, freeze } = await run.completed;
    expect(reason).toBe('completed');
    expect(started).toMatchObject([{ resumed: true, images: 8, totalImages: 16 }]);
    expect(freeze.policy).toBe('GDD-I (level 1)');
    const { images, shape } = student.generate({ count: 2, seed: 1 });
    expect(shape).toEqual([2, 32, 32, 3]);
    expect(new Set(images).size).toBeGreaterThan(2);
    student.dispose();
    await expect(distill(presets.cifar10({ ...options(16), learningRates: { generator: 1e-3 } })).completed).rejects.toMatchObject({
      code: 'E_RUN_CONFIG',
    });
  });
});
