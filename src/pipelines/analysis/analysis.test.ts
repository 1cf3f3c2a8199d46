import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import type { DataSource } from '../../core/contracts/data.js';
import { normalAt, PhiloxRandom } from '../../core/random.js';
import { toFloat } from '../../data/images.js';
import { permutation } from '../../data/permutation.js';
import { shapes } from '../../data/shapes.js';
import type { Backbone } from '../../models/backbones/backbone.js';
import { createBackbone, type BackboneOptions } from '../../models/backbones/config.js';
import { freezeConvolutions } from '../../models/freeze/policies.js';
import { Conv2d, type LayerInitialization } from '../../models/nn/layers.js';
import { Module } from '../../models/nn/module.js';
import { edmPreconditioning, gddPreconditioning } from '../../models/preconditioning.js';
import { assertWellFormed } from '../../sinks/testing.js';
import { analyzeActivations, type ActivationAnalysis, type ActivationOptions } from './analyze-activations.js';
import { activationChange, activationsOf, median, rangeOf, relativeToPeak, rowsOf, summarizeActivations } from './compare.js';
import { activationHeatMap, spectrumCharts, spectrumHeatMap, spreadIndices } from './figures.js';
import { writeActivationAnalysis } from './files.js';
import { activationsCsv, formatActivations, spectraCsv, spectralDistance } from './table.js';

const song: BackboneOptions = {
  model_type: 'SongUNet',
  img_resolution: 8,
  model_channels: 8,
  channel_mult: [1, 2],
  num_blocks: 1,
  attn_resolutions: [4],
  encoder_type: 'residual',
  dropout: 0,
};
const adm: BackboneOptions = {
  model_type: 'DhariwalUNet',
  img_resolution: 8,
  model_channels: 32,
  channel_mult: [1, 2],
  num_blocks: 1,
  attn_resolutions: [4],
  dropout: 0,
  label_dim: 3,
};
const ddpm: BackboneOptions = {
  model_type: 'DdpmUNet',
  img_resolution: 8,
  block_out_channels: [8, 16],
  layers_per_block: 1,
  down_block_types: ['DownBlock2D', 'AttnDownBlock2D'],
  up_block_types: ['AttnUpBlock2D', 'UpBlock2D'],
  norm_num_groups: 4,
  attention_head_dim: null,
};

/** Random weights everywhere, also where a network begins with zeros. */
function network(options: BackboneOptions, seed = 1): Backbone {
  const backbone = createBackbone(options).initialize(new PhiloxRandom(seed));
  for (const parameter of backbone.parameters())
    parameter.load(
      new PhiloxRandom(seed)
        .stream(parameter.name)
        .normal(parameter.size)
        .map((value) => value / 8),
    );
  return backbone;
}

/** A student: all that GDD-I trains is moved a little. */
function student(teacher: Backbone, options: BackboneOptions, trains = freezeConvolutions().trains): Backbone {
  const backbone = createBackbone(options).initialize(new PhiloxRandom(2)).copyFrom(teacher) as Backbone;
  for (const parameter of backbone.parameters())
    if (trains(parameter)) parameter.assign(tf.tidy(() => tf.add(tf.mul(parameter.value, 1.5), 0.01)));
  return backbone;
}

const data = () => shapes({ resolution: 8, size: 100 });

/** Shapes with three classes, as the conditional network has. */
function labelled(): DataSource {
  const source = data();
  return {
    open: async () => ({ ...(await source.open()), classes: 3 }),
    read: async (indices, signal) => ({ ...(await source.read(indices, signal)), labels: indices.map((index) => index % 3) }),
    close: () => source.close(),
  };
}

const small = { sigmas: [0.1, 2, 80], images: 6, batchSize: 4 };

describe('numbers of an analysis', () => {
  it('are relative to the peak, as ratios, ranges and medians', () => {
    expect(relativeToPeak([1, 4, 2])).toEqual([0.25, 1, 0.5]);
    expect(relativeToPeak([0, 0])).toEqual([0, 0]);
    expect([rangeOf([2, 8, 4]), rangeOf([0, 0])]).toEqual([4, 1]);
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, NaN]);
    const layer = (rms: number[]) => ({
      name: 'x',
      kind: 'layer' as const,
      resolution: 8,
      channels: 1,
      rms,
      meanAbsolute: rms,
      unchanged: true,
    });
    expect(activationChange(layer([1, 2, 0]), layer([2, 0.5, 0]), 'rms')).toEqual([1, -2, 0]);
    expect(() => activationsOf(layer([1]), 'contribution')).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
    // The ring of the mean does not count: |10 dB| and |-10 dB| remain.
    expect(spectralDistance([5, 10, 0.1], [1, 1, 1])).toBeCloseTo(10, 12);
    expect([spreadIndices(3, 5), spreadIndices(15, 5)]).toEqual([
      [0, 1, 2],
      [0, 4, 7, 11, 14],
    ]);
  });
});

/** F(x) = 2 x + 0.25 by a convolution of our own: everything about it can be worked out by hand. */
class OneLayer extends Module {
  readonly config = createBackbone(song).config;
  readonly stages = [];
  readonly #conv: Conv2d;

  constructor() {
    super();
    const diagonal: LayerInitialization = {
      weight: () => () => Float32Array.from({ length: 9 }, (_, k) => (k % 4 === 0 ? 2 : 0)),
      bias: () => () => new Float32Array(3).fill(0.25),
    };
    this.#conv = this.addChild(new Conv2d({ name: 'model.only', role: 'input' }, 3, 3, diagonal, { kernel: 1 }));
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return this.#conv.forward(x);
  }

  encode(): tf.Tensor4D[] {
    return [];
  }
}

describe.each(engines)('analyzeActivations on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('measures a network of one layer as by hand', async () => {
    const backbone = new OneLayer().initialize(new PhiloxRandom(0));
    const { networks, real } = await analyzeActivations({ networks: [{ name: 'one', backbone }], data: data(), ...small, seed: 5 });
    const source = data();
    await source.open();
    const shuffled = permutation(100, 5);
    const clean = toFloat((await source.read(Uint32Array.from({ length: 6 }, (_, k) => shuffled(k)))).images);
    const noise = Array.from({ length: 6 }, (_, k) => [...normalAt(5, k, 192)]).flat();
    const mean = (value: (k: number) => number) => noise.reduce((sum, _, k) => sum + value(k), 0) / noise.length;
    small.sigmas.forEach((sigma, s) => {
      const c = edmPreconditioning().coefficients(sigma);
      const x = (k: number) => clean[k]! + sigma * noise[k]!;
      const raw = (k: number) => 2 * c.in * x(k) + 0.25;
      const [layer] = networks[0]!.layers;
      expect(layer!.rms[s]! / Math.sqrt(mean((k) => raw(k) ** 2))).toBeCloseTo(1, 5);
      expect(layer!.meanAbsolute[s]! / mean((k) => Math.abs(raw(k)))).toBeCloseTo(1, 5);
      const error = mean((k) => (c.skip * x(k) + c.out * raw(k) - clean[k]!) ** 2);
      expect(networks[0]!.denoisingError[s]! / error).toBeCloseTo(1, 4);
    });
    expect(networks[0]!.layers).toHaveLength(1);
    expect(networks[0]!.layers[0]).toMatchObject({
      name: 'model.only',
      kind: 'layer',
      role: 'input',
      resolution: 8,
      channels: 3,
      unchanged: true,
    });
    // Parseval over the ring of the mean: the square of each channel's mean, times the pixels.
    const means = Array.from({ length: 18 }, (_, k) => {
      const [image, channel] = [Math.floor(k / 3), k % 3];
      return Array.from({ length: 64 }, (_, p) => clean[image * 192 + p * 3 + channel]!).reduce((a, b) => a + b) / 64;
    });
    expect(real.power[0]).toBeCloseTo((means.reduce((sum, value) => sum + value ** 2, 0) / 18) * 64, 5);
    backbone.dispose();
  });

  it.each([
    ['SongUNet', song, data],
    ['DhariwalUNet', adm, labelled],
    ['DdpmUNet', ddpm, data],
  ] as const)('compares a student with its teacher: %s', { timeout: 300_000 }, async (_, options, source) => {
    const teacher = network(options);
    const trained = student(teacher, options);
    const networks = [
      { name: 'teacher', backbone: teacher },
      { name: 'student', backbone: trained, preconditioning: gddPreconditioning() },
      { name: 'same', backbone: teacher },
    ];
    const before = tf.memory().numTensors;
    const progress: number[] = [];
    const onProgress = (done: number, total: number) => progress.push(done / total);
    const analysis = await analyzeActivations({ networks, data: source(), ...small, onProgress });
    expect(tf.memory().numTensors).toBe(before);
    expect(progress).toHaveLength(2 * 3 * 3);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);

    const convolutions = teacher
      .parameters()
      .filter(({ kind, name, role }) => (kind === 'conv' || ['qkv', 'proj'].includes(role)) && name.endsWith('.weight'));
    const [first, second, third] = analysis.networks.map((seen) => seen.layers);
    expect(
      first!
        .filter(({ kind }) => kind === 'layer')
        .map(({ name }) => `${name}.weight`)
        .sort(),
    ).toEqual(convolutions.map(({ name }) => name).sort());
    expect(second!.map(({ name }) => name)).toEqual(first!.map(({ name }) => name));
    for (const layer of [...first!, ...second!]) {
      expect([layer.rms, layer.meanAbsolute].every((values) => values.length === 3 && values.every((value) => value > 0))).toBe(true);
      layer.rms.forEach((value, s) => expect(value).toBeGreaterThanOrEqual(layer.meanAbsolute[s]! * 0.9999));
      expect(layer.contribution?.length).toBe(layer.kind === 'block' ? 3 : undefined);
    }
    expect(third).toEqual(first);

    // Frozen are conv0, conv1 and proj; what reaches them has changed, so have their outputs.
    for (const layer of second!.filter(({ kind }) => kind === 'layer'))
      expect([layer.name, layer.unchanged]).toEqual([layer.name, ['conv0', 'conv1', 'proj'].includes(layer.role!)]);
    expect(second!.filter(({ kind, unchanged }) => kind === 'block' && unchanged).length).toBeGreaterThan(0);
    second!.forEach((layer, k) => expect(Math.abs(layer.rms[0]! / first![k]!.rms[0]! - 1)).toBeGreaterThan(1e-6));
    expect(new Set(first!.map(({ resolution }) => resolution))).toEqual(new Set([8, 4]));
    const summary = summarizeActivations(analysis, 'layer');
    expect(summary[2]!.change.all).toEqual([0, 0, 0]);
    expect(summary[1]!.change.unchanged!.every((value) => value > 0)).toBe(true);
    expect(summary[0]!.peaks.reduce((a, b) => a + b)).toBe(convolutions.length);

    if (source === labelled) {
      const other: DataSource = {
        ...labelled(),
        read: async (indices) => ({ ...(await data().read(indices)), labels: indices.map(() => 0) }),
      };
      const again = await analyzeActivations({ networks: networks.slice(0, 1), data: other, ...small });
      expect(again.networks[0]!.layers[0]!.rms).toEqual(first![0]!.rms);
      expect(again.networks[0]!.layers.at(-1)!.rms).not.toEqual(first!.at(-1)!.rms);
    }
    teacher.dispose();
    trained.dispose();
  });

  it('depends on the seed, not on the batches', async () => {
    const backbone = network(song);
    const run = (more: Partial<ActivationOptions>) =>
      analyzeActivations({ networks: [{ name: 'a', backbone }], data: data(), ...small, ...more });
    const [one, two, other] = [await run({}), await run({ batchSize: 1 }), await run({ seed: 1 })];
    one.networks[0]!.layers.forEach((layer, k) => {
      expect(layer.rms).toBeAllclose(two.networks[0]!.layers[k]!.rms, { rtol: 1e-4 });
      expect(layer.contribution ?? []).toBeAllclose(two.networks[0]!.layers[k]!.contribution ?? [], { rtol: 1e-4 });
    });
    expect(one.real.power).toBeAllclose(two.real.power, { rtol: 1e-9 });
    expect(one.networks[0]!.layers[0]!.rms[0]! / other.networks[0]!.layers[0]!.rms[0]! - 1).not.toBeCloseTo(0, 5);
    backbone.dispose();
  });

  it('ends where it is asked to, closes the data and leaves no tensor', async () => {
    const backbone = network(song);
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    let [closed, passes] = [0, 0];
    const source = data();
    const counted: DataSource = {
      open: () => source.open(),
      read: (...all) => source.read(...all),
      close: () => ((closed += 1), source.close()),
    };
    const run = analyzeActivations({
      networks: [{ name: 'a', backbone }],
      data: counted,
      ...small,
      signal: controller.signal,
      onProgress: () => (passes++, controller.abort(new Error('enough'))),
    });
    await expect(run).rejects.toThrow('enough');
    expect([passes, closed]).toEqual([1, 1]);
    expect(tf.memory().numTensors).toBe(before);
    backbone.dispose();
  });

  it('names the network and the noise level of what is not finite', async () => {
    const backbone = network(song);
    const [parameter] = backbone.parameters().filter(({ name }) => name.endsWith('in0.conv1.weight'));
    parameter!.load(new Float32Array(parameter!.size).fill(NaN));
    const before = tf.memory().numTensors;
    const run = analyzeActivations({ networks: [{ name: 'broken', backbone }], data: data(), ...small });
    await expect(run).rejects.toThrow(
      expect.objectContaining({ code: 'E_RUN_NON_FINITE', message: expect.stringContaining('broken at sigma 0.1') }),
    );
    expect(tf.memory().numTensors).toBe(before);
    backbone.dispose();
  });
});

describe('analyzeActivations refuses', () => {
  beforeAll(() => useEngine(engines[0]!));
  const described = { name: 'a', backbone: createBackbone(song) };
  const wrong = (more: Partial<ActivationOptions>) => analyzeActivations({ networks: [described], data: data(), ...small, ...more });

  it.each([
    ['falling noise levels', { sigmas: [2, 1] }, 'sigmas: expected noise levels that rise'],
    ['a noise level twice', { sigmas: [1, 1] }, 'sigmas: expected noise levels that rise'],
    ['no noise level', { sigmas: [] }, 'sigmas'],
    ['noise level 0', { sigmas: [0, 1] }, 'sigmas.0'],
    ['a noise level that is no number', { sigmas: [1, NaN] }, 'sigmas.1'],
    ['an infinite noise level', { sigmas: [1, Infinity] }, 'sigmas.1'],
    ['no network', { networks: [] }, 'networks'],
    ['two networks of one name', { networks: [described, described] }, 'expected names that differ'],
    ['unknown options', { steps: 3 } as object, 'steps'],
    ['more images than there are', { images: 101 }, 'images: expected at most the 100 of shapes-8, got 101'],
    ['another architecture', { networks: [described, { name: 'b', backbone: createBackbone(ddpm) }] }, 'expected the architecture of a'],
    ['a part of an architecture', { networks: [described, { name: 'b', backbone: createBackbone({ ...song, num_blocks: 2 }) }] }, 'found'],
    ['images of another size', { data: shapes({ resolution: 16, size: 100 }) }, 'a makes 8 px, shapes-16 has 16 px'],
  ])('%s', async (_, options, message) => {
    await expect(wrong(options)).rejects.toThrow(expect.objectContaining({ code: 'E_CONFIG', message: expect.stringContaining(message) }));
  });

  it('a network that shows nothing', async () => {
    const config = described.backbone.config;
    const silent = { config, stages: [], parameters: () => [], forward: (x: tf.Tensor4D) => tf.clone(x) } as unknown as Backbone;
    const before = tf.memory().numTensors;
    await expect(wrong({ networks: [{ name: 'silent', backbone: silent }] })).rejects.toThrow('the network shows none');
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('what is made of an analysis', () => {
  const folder = mkdtempSync(join(tmpdir(), 'analysis-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  let analysis: ActivationAnalysis;

  beforeAll(async () => {
    await useEngine(engines[0]!);
    const teacher = network(song);
    const trained = student(teacher, song);
    const networks = [
      { name: 'teacher', backbone: teacher },
      { name: 'student, "short"', backbone: trained },
    ];
    analysis = await analyzeActivations({ networks, data: data(), ...small });
    teacher.dispose();
    trained.dispose();
  });

  it('the table has a row for each block or layer, and says which weights are the same', () => {
    const blocks = rowsOf(analysis.networks[0]!, 'block');
    const text = formatActivations(analysis);
    for (const { name } of blocks) expect(text).toContain(`\n${name} `);
    const rows = text.split('\n').slice(4, 4 + blocks.length);
    expect(rows.filter((row) => row.endsWith(' same'))).toHaveLength(
      rowsOf(analysis.networks[1]!, 'block').filter(({ unchanged }) => unchanged).length,
    );
    // A network's name stands over its three columns; lines stay readable where there are many noise levels.
    expect(text.split('\n')[2]).toMatch(/^ +teacher +student, "short" +student, "short"\/teacher$/);
    expect(text.split('\n')[3]).toMatch(/^block +peak +range +at 80 +peak +range +at 80 +log2 at 80 +weights$/);
    expect(text.match(/^sigma +0\.1 +2 +80$/gm)).toHaveLength(3);
    expect(formatActivations(analysis, { rows: 'layer' })).toContain('\nenc.8x8_block0.conv1 ');
    expect(text).not.toMatch(/NaN|undefined/);
  });

  it('the CSV files have a row for each value, with quotes where they are needed', () => {
    const lines = activationsCsv(analysis).trimEnd().split('\n');
    expect(lines).toHaveLength(1 + 2 * 3 * analysis.networks[0]!.layers.length);
    expect(lines[1]).toMatch(/^teacher,model\.enc\.8x8_conv,layer,input,,0,8,8,true,0\.1,[\d.]+,[\d.]+,$/);
    expect(lines.at(-1)).toMatch(/^"student, ""short""",/);
    const spectra = spectraCsv(analysis).trimEnd().split('\n');
    expect(spectra).toHaveLength(1 + 5 * (1 + 2 * 3));
    expect(spectra[1]).toMatch(/^real,,0,/);
    expect(spectra.at(-1)).toMatch(/^"student, ""short""",80,0\.5,/);
  });

  it('the pictures are well-formed and have every row, network and change', () => {
    const [blocks, layers, spectra] = [
      activationHeatMap(analysis),
      activationHeatMap(analysis, { rows: 'layer' }),
      spectrumCharts(analysis),
    ];
    for (const svg of [blocks, layers, spectra]) assertWellFormed(svg);
    const cells = (svg: string) => svg.match(/<rect [^>]*><title>/g)!.length;
    expect(cells(blocks)).toBe(3 * 3 * rowsOf(analysis.networks[0]!, 'block').length);
    expect(cells(layers)).toBe(3 * 3 * rowsOf(analysis.networks[0]!, 'layer').length);
    expect(layers.match(/class="mark"/g)).toHaveLength(rowsOf(analysis.networks[1]!, 'layer').filter(({ unchanged }) => unchanged).length);
    for (const text of ['enc.8x8_block0', 'encoder, 8 px', 'decoder, 4 px']) expect(blocks).toContain(`>${text}</text>`);
    expect(layers).toContain('>enc.8x8_block0.conv1</text>');
    expect(spectra.match(/>sigma 80<\/text>/g)).toHaveLength(2);
    expect(spectra.match(/>real<\/text>/g)).toHaveLength(2);
    const alone = activationHeatMap({ ...analysis, networks: analysis.networks.slice(0, 1) });
    assertWellFormed(alone);
    expect(cells(alone)).toBe(3 * rowsOf(analysis.networks[0]!, 'block').length);
  });

  it('the spectra at every noise level stand against the real ones, in dB', () => {
    const { real, networks, sigmas } = analysis;
    const twice = { ...networks[0]!, name: 'twice', spectra: sigmas.map(() => ({ ...real, power: real.power.map((value) => 2 * value) })) };
    const none = { ...twice, name: 'none', spectra: sigmas.map(() => ({ ...real, power: real.power.map(() => 0) })) };
    const svg = spectrumHeatMap({ ...analysis, networks: [twice, none] });
    assertWellFormed(svg);
    const cells = real.frequencies.length * sigmas.length;
    // 10 log10 2 = 3.01; of no power there is no logarithm.
    expect(svg.match(/: 3\.01<\/title>/g)).toHaveLength(cells);
    expect(svg.match(/: no value<\/title>/g)).toHaveLength(cells);
    for (const text of ['0.125', '0.5', 'twice', 'dB above real images']) expect(svg).toContain(`>${text}</text>`);
  });

  it('the files hold the numbers', async () => {
    const paths = await writeActivationAnalysis(join(folder, 'new'), analysis);
    expect(paths.map((path) => path.slice(join(folder, 'new').length + 1))).toEqual([
      'analysis.json',
      'table.txt',
      'activations.csv',
      'spectra.csv',
      'blocks.svg',
      'layers.svg',
      'spectra.svg',
      'spectra-by-sigma.svg',
    ]);
    const { summaries, ...read } = JSON.parse(readFileSync(paths[0]!, 'utf8')) as ActivationAnalysis & { summaries: object[] };
    expect(read).toEqual(analysis);
    expect(summaries).toHaveLength(4);
    expect(readFileSync(paths[4]!, 'utf8')).toBe(activationHeatMap(analysis));
  });
});
