import * as tf from '@tensorflow/tfjs-core';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { gradients } from '../../core/autodiff/index.js';
import type { Augmentation } from '../../core/contracts/augmentation.js';
import { createContainer } from '../../core/container.js';
import { ArgumentError, ConfigError } from '../../core/errors.js';
import { PhiloxRandom } from '../../core/random.js';
import { AdaptiveAugmentation, adaptiveAugmentation } from './adaptive-augmentation.js';
import { adaTransforms, augmentationPipe, edmTransforms, type AugmentationPipeOptions } from './augmentation-pipe.js';
import { diffAugment } from './diff-augment.js';
import { identity, quarterTurn, rotation, scaling, translation, turnHue } from './matrices.js';
import { transformNames, transforms, type TransformName } from './transforms.js';
import { blit, mapColours, SYM6, warp } from './warp.js';

type Batch = [number, number, number, number];
const noise = (shape: Batch, seed = 1) => tf.tensor4d(new PhiloxRandom(seed).stream('images').normal(tf.util.sizeFromShape(shape)), shape);
const inputs = (seed = 0) => ({ random: new PhiloxRandom(seed), on: 'real' as const });
const dot = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b)).dataSync()[0]!;
const image = (x: tf.Tensor4D, index: number) => tf.slice(x, [index, 0, 0, 0], [1, x.shape[1], x.shape[2], x.shape[3]]);

/** A smooth picture: what a low-pass filter leaves alone. */
const smooth = (size: number) =>
  tf.tensor4d(
    Array.from({ length: size * size }, (_, i) => {
      const [x, y] = [(i % size) - 0.62 * size, Math.floor(i / size) - 0.45 * size];
      return Math.exp(-(x * x + 2 * y * y) / (0.03 * size * size));
    }),
    [1, size, size, 1],
  );

const everything: AugmentationPipeOptions = { ...adaTransforms, yflip: 1, probability: 0.7 };
const several: [string, Augmentation][] = [
  ['DiffAugment', diffAugment()],
  ['the whole pipe', augmentationPipe(everything)],
];

describe.each(engines)('augmentation on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('flips, turns and moves whole pixels bit for bit; what comes in is the mirror image', () => {
    const x = noise([1, 3, 3, 2]);
    const pixels = x.arraySync()[0]!;
    const moved = (maps: Parameters<typeof blit>[1]) => blit(x, maps).arraySync()[0]!;
    expect(moved([identity(3)])).toEqual(pixels);
    expect(moved([scaling(-1, 1)])).toEqual(pixels.map((row) => [...row].reverse()));
    expect(moved([scaling(1, -1)])).toEqual([...pixels].reverse());
    // Output pixel (row i, column j) of a quarter turn is the input's (j, 2 - i).
    expect(moved([quarterTurn(1)])).toEqual(pixels.map((row, i) => row.map((_, j) => pixels[j]![2 - i])));
    expect(moved([quarterTurn(3)])).toEqual(pixels.map((row, i) => row.map((_, j) => pixels[2 - j]![i])));
    // One to the right: column 0 shows what column 1 showed.
    expect(moved([translation(-1, 0)])).toEqual(pixels.map((row) => [row[1], row[0], row[1]]));
    expect(moved([translation(0, 2)])).toEqual([pixels[2], pixels[1], pixels[0]]);
  });

  it('the filter is orthonormal, so that resampling loses nothing: moves by whole pixels and the identity are exact', () => {
    for (const shift of [0, 2, 4, 6, 8, 10])
      expect(SYM6.reduce((sum, tap, i) => sum + tap * (SYM6[i + shift] ?? 0), 0)).toBeCloseTo(shift === 0 ? 1 : 0, 8);
    expect(SYM6.reduce((sum, tap) => sum + tap, 0)).toBeCloseTo(Math.SQRT2, 8);
    const x = noise([1, 9, 12, 2]);
    expect(warp(x, [identity(3)]).dataSync()).toBeAllclose(x.dataSync(), { atol: 1e-5 });
    const map = translation(2, -3);
    expect(warp(x, [map]).dataSync()).toBeAllclose(blit(x, [map]).dataSync(), { atol: 1e-5 });
  });

  it('warps about the centre of the image: turns of smooth images are those of their pixels', () => {
    const x = smooth(24);
    for (const [map, exact] of [
      [rotation(Math.PI / 2), quarterTurn(1)],
      [rotation(Math.PI), quarterTurn(2)],
      [scaling(-1, 1), scaling(-1, 1)],
    ] as const)
      expect(warp(x, [map]).dataSync()).toBeAllclose(blit(x, [exact]).dataSync(), { atol: 0.035 });
    // Twice as large about the centre between pixels 11 and 12: output 14 shows place 12.75.
    const row = (y: tf.Tensor4D) => y.arraySync()[0]![12]!.map(([value]) => value!);
    const centred = tf.tensor4d(
      Array.from({ length: 576 }, (_, i) => Math.exp(-(((i % 24) - 11.5) ** 2) / 12)),
      [1, 24, 24, 1],
    );
    expect(row(warp(centred, [scaling(0.5, 0.5)]))[14]).toBeCloseTo(Math.exp(-((2.5 / 2) ** 2) / 12), 1.5);
  });

  it("warps as PyTorch's operations do in float64", () => {
    const path = new URL('../../../test/golden/augmentation/warp.json', import.meta.url);
    const golden = JSON.parse(readFileSync(path, 'utf8')) as { shape: Batch; images: number[]; maps: number[][][]; warped: number[] };
    const x = tf.tensor4d(golden.images, golden.shape);
    expect(warp(x, golden.maps).dataSync()).toBeCloseInL2(golden.warped, 1e-5);
  });

  it('warping is linear and its gradient the transpose', () => {
    const maps = [rotation(0.4), scaling(1.7, 0.8)];
    const [x, y, w] = [noise([2, 7, 6, 2], 1), noise([2, 7, 6, 2], 2), noise([2, 7, 6, 2], 3)];
    const sum = warp(tf.add(tf.mul(x, 2), y), maps);
    const parts = tf.add(tf.mul(warp(x, maps), 2), warp(y, maps));
    expect(sum.dataSync()).toBeAllclose(parts.dataSync(), { atol: 2e-5 });
    const [back] = gradients(() => tf.sum(tf.mul(warp(x, maps), w)), [x]);
    expect(dot(back!, y)).toBeCloseTo(dot(warp(y, maps), w), 3);
  });

  it('colours: brightness, contrast, luma, hue and saturation of one pixel, by hand', () => {
    const x = tf.tensor4d([0.2, -0.4, 0.8], [1, 1, 1, 3]);
    const effect = (name: TransformName, uniform: number, normal: number) => {
      const strengths = augmentationPipe({}).description.options;
      const { matrix } = transforms[name].draw({ uniform: () => uniform, normal: () => normal }, strengths, [1, 1]);
      return Array.from(mapColours(x, [matrix]).dataSync());
    };
    expect(effect('brightness', 0, -1.5)).toBeAllclose([-0.1, -0.7, 0.5], { atol: 1e-6 });
    expect(effect('contrast', 0, 2)).toBeAllclose([0.4, -0.8, 1.6], { atol: 1e-6 });
    // Mean 0.2: mirrored to -0.2, the differences from it stay.
    expect(effect('lumaflip', 0.5, 0)).toBeAllclose([-0.2, -0.8, 0.4], { atol: 1e-6 });
    expect(effect('lumaflip', 0.4, 0)).toBeAllclose([0.2, -0.4, 0.8], { atol: 1e-6 });
    expect(effect('saturation', 0, 1)).toBeAllclose([0.2, -1.0, 1.4], { atol: 1e-6 });
    // A third of a turn moves red to green, green to blue, blue to red.
    expect(mapColours(x, [turnHue((2 * Math.PI) / 3)]).dataSync()).toBeAllclose([0.8, 0.2, -0.4], { atol: 1e-6 });
    const grey = tf.tensor4d([0.3], [1, 1, 1, 1]);
    expect(mapColours(grey, [turnHue(1)]).dataSync()).toBeAllclose([0.3], { atol: 1e-6 });
  });

  it('at probability 0 every image stays as it is, bit for bit, and so does each that nothing befalls', () => {
    const x = noise([16, 8, 8, 3]);
    const pipe = augmentationPipe(everything);
    const { images, labels } = augmentationPipe({ ...everything, probability: 0 }).applyWithLabels(x, inputs());
    expect(images.dataSync()).toEqual(x.dataSync());
    expect(labels.dataSync().every((value) => value === 0)).toBe(true);
    expect(pipe.apply(x, { ...inputs(), probability: 0 }).dataSync()).toEqual(x.dataSync());
    const rare = pipe.applyWithLabels(x, { ...inputs(), probability: 0.1 });
    const untouched = rare.labels.arraySync().flatMap((label, i) => (label.every((value) => value === 0) ? [i] : []));
    expect(untouched.length).toBeGreaterThan(0);
    expect(untouched.length).toBeLessThan(16);
    for (const index of untouched) expect(image(rare.images, index).dataSync()).toEqual(image(x, index).dataSync());
  });

  it.each(several)('%s: gradients of both orders agree with finite differences', (_, augmentation) => {
    const [x, direction] = [noise([3, 6, 6, 3], 1), noise([3, 6, 6, 3], 2)];
    const loss = (at: tf.Tensor4D) => tf.mean(tf.sin(augmentation.apply(at, inputs(4))));
    const penalty = (at: tf.Tensor4D) => tf.mul(1000, tf.sum(tf.square(gradients(() => loss(at), [at])[0]!)));
    for (const [f, h] of [
      [loss, 1e-2],
      [penalty, 1e-2],
    ] as const) {
      const [gradient] = gradients(() => f(x), [x]);
      const [plus, minus] = [h, -h].map((step) => f(tf.add(x, tf.mul(direction, step))).dataSync()[0]!);
      expect(dot(gradient!, direction) / ((plus! - minus!) / (2 * h))).toBeCloseTo(1, 1.7);
    }
  });

  it.each(several)('%s leaves no tensor behind, and the images', (_, augmentation) => {
    const x = noise([3, 6, 6, 3]);
    const before = tf.memory().numTensors;
    augmentation.apply(x, inputs()).dispose();
    expect(tf.memory().numTensors).toBe(before);
    expect(x.isDisposed).toBe(false);
  });

  it.each(several)('%s: micro-batches, and a stream restored half-way, change no draw', (_, augmentation) => {
    const x = noise([4, 8, 8, 3]);
    const whole = augmentation.apply(x, inputs(9)).dataSync();
    const source = inputs(9);
    const first = augmentation.apply(tf.slice(x, [0, 0, 0, 0], [2, 8, 8, 3]), source);
    const restored = new PhiloxRandom(9);
    restored.restore(source.random.state());
    const second = augmentation.apply(tf.slice(x, [2, 0, 0, 0], [2, 8, 8, 3]), { ...source, random: restored });
    // Margins, and so the order of summation, may depend on the rest of the batch.
    expect(tf.concat([first, second]).dataSync()).toBeAllclose(whole, { atol: 1e-5 });
    expect(augmentation.apply(x, inputs(10)).dataSync()).not.toEqual(whole);
    expect(augmentation.apply(x, { ...inputs(9), on: 'fake' }).dataSync()).not.toEqual(whole);
  });

  it('DiffAugment: translations bring in 0, cutouts are half the size, colours have the published ranges', () => {
    const ones = tf.ones<tf.Rank.R4>([200, 16, 16, 1]);
    const moved = diffAugment({ policy: ['translation'] }).apply(ones, inputs());
    const missing = moved.arraySync().map((rows) => ({
      rows: rows.filter((row) => row.every(([value]) => value === 0)).length,
      columns: rows[0]!.map((_, j) => j).filter((j) => rows.every((row) => row[j]![0] === 0)).length,
    }));
    for (const side of ['rows', 'columns'] as const) expect(new Set(missing.map((m) => m[side]))).toEqual(new Set([0, 1, 2]));

    const cut = diffAugment({ policy: ['cutout'] }).apply(ones, inputs());
    const areas = tf.sum(tf.sub(1, cut), [1, 2, 3]).dataSync();
    expect(Math.max(...areas)).toBe(64);
    expect(Math.min(...areas)).toBeGreaterThanOrEqual(1);
    expect(Math.min(...areas)).toBeLessThan(64);

    const x = noise([300, 4, 4, 3]);
    const coloured = diffAugment({ policy: ['color'] }).apply(x, inputs());
    const shift = tf.sub(tf.mean(coloured, [1, 2, 3]), tf.mean(x, [1, 2, 3])).dataSync();
    expect(Math.max(...shift.map(Math.abs))).toBeLessThanOrEqual(0.5 + 1e-5);
    expect(Math.max(...shift)).toBeGreaterThan(0.4);
    expect(Math.min(...shift)).toBeLessThan(-0.4);
    // The grey part is spread by contrast alone, 1/2 to 3/2; the rest by saturation as well, 0 to 3.
    const grey = (y: tf.Tensor4D) => tf.moments(tf.mean(y, 3), [1, 2]).variance;
    const contrast = tf.sqrt(tf.div(grey(coloured), grey(x))).dataSync();
    expect(Math.min(...contrast)).toBeGreaterThanOrEqual(0.4999);
    expect(Math.max(...contrast)).toBeLessThanOrEqual(1.5001);
    expect(Math.max(...contrast) - Math.min(...contrast)).toBeGreaterThan(0.9);
    const rest = (y: tf.Tensor4D) => tf.mean(tf.square(tf.sub(y, tf.mean(y, 3, true))), [1, 2, 3]);
    const saturation = tf
      .sqrt(tf.div(rest(coloured), rest(x)))
      .dataSync()
      .map((value, i) => value / contrast[i]!);
    expect(Math.min(...saturation)).toBeLessThan(0.1);
    expect(Math.max(...saturation)).toBeGreaterThan(1.9);
    expect(Math.max(...saturation)).toBeLessThanOrEqual(2.0001);
  });

  it('DiffAugment applies its policy in the order given', () => {
    const x = noise([8, 8, 8, 3]);
    const order = (policy: ('color' | 'cutout')[]) => diffAugment({ policy }).apply(x, inputs()).dataSync();
    const holes = (values: Float32Array | Int32Array | Uint8Array) => values.filter((value) => value === 0).length;
    expect(holes(order(['color', 'cutout']))).toBeGreaterThan(0);
    expect(holes(order(['cutout', 'color']))).toBe(0);
    expect(diffAugment({ policy: [] }).apply(x, inputs()).dataSync()).toEqual(x.dataSync());
  });
});

describe('the augmentation pipe', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('has the labels that EDM teachers know: nine values, by place', () => {
    const pipe = augmentationPipe({ ...edmTransforms, probability: 1 });
    expect(pipe.labelDimension).toBe(9);
    expect(pipe.transforms).toEqual(['xflip', 'yflip', 'scale', 'rotateFrac', 'aniso', 'translateFrac']);
    const labels = pipe.applyWithLabels(tf.zeros([2000, 2, 2, 1]), inputs()).labels.arraySync();
    const column = (index: number) => labels.map((label) => label[index]!);
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = (values: number[]) => mean(values.map((value) => value ** 2)) - mean(values) ** 2;
    for (const flip of [0, 1]) {
      expect(new Set(column(flip))).toEqual(new Set([0, 1]));
      expect(mean(column(flip))).toBeCloseTo(0.5, 1);
    }
    for (const normal of [2, 7, 8]) {
      expect(mean(column(normal))).toBeCloseTo(0, 0.8);
      expect(Math.abs(variance(column(normal)) - 1)).toBeLessThan(0.1);
    }
    for (const [cos, sin] of labels.map((label) => [label[3]! + 1, label[4]!] as const)) expect(cos ** 2 + sin ** 2).toBeCloseTo(1, 5);
    expect(mean(column(3))).toBeCloseTo(-1, 1);
    // Half of the directions are the x axis: the second part is 0 there.
    expect(column(6).filter((value) => value === 0).length / 2000).toBeCloseTo(0.5, 1);
    expect(mean(labels.map((label) => label[5]! ** 2 + label[6]! ** 2))).toBeCloseTo(1, 0.8);
  });

  it('takes place as often as its multipliers say; 1e8 is always', () => {
    const { labels } = augmentationPipe({ ...edmTransforms, xflip: 0, probability: 0.12 }).applyWithLabels(
      tf.zeros([3000, 2, 2, 1]),
      inputs(),
    );
    const share = (index: number) => labels.arraySync().filter((label) => label[index] !== 0).length / 3000;
    expect(Math.abs(share(0) - 0.06)).toBeLessThan(0.015);
    for (const index of [1, 2, 4, 6, 7]) expect(Math.abs(share(index) - 0.12)).toBeLessThan(0.02);
    const flips = augmentationPipe(edmTransforms).applyWithLabels(tf.zeros([1000, 2, 2, 1]), inputs()).labels;
    expect(Math.abs(flips.arraySync().filter(([flipped]) => flipped === 1).length / 1000 - 0.5)).toBeLessThan(0.05);
  });

  it('labels say what was done', () => {
    const x = noise([40, 8, 8, 3]);
    const flipped = augmentationPipe({ xflip: 1 }).applyWithLabels(x, inputs());
    const moved = augmentationPipe({ translateInt: 1, translateIntMax: 0.25 }).applyWithLabels(x, inputs());
    const turned = augmentationPipe({ rotateInt: 1 }).applyWithLabels(x, inputs());
    const quarters = { '0,0': 0, '1,0': 1, '1,1': 2, '0,1': 3 } as Record<string, number>;
    const met = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const one = image(x, i);
      const [flip] = flipped.labels.arraySync()[i]!;
      expect(image(flipped.images, i).dataSync()).toEqual((flip ? tf.reverse(one, 2) : one).dataSync());
      const [right, up] = moved.labels.arraySync()[i]!.map((value) => Math.round(value * 2));
      expect(image(moved.images, i).dataSync()).toEqual(blit(one, [translation(-right!, up!)]).dataSync());
      const quarter = quarters[turned.labels.arraySync()[i]!.join()]!;
      met.add(quarter);
      expect(image(turned.images, i).dataSync()).toEqual(blit(one, [quarterTurn(quarter)]).dataSync());
    }
    expect(met.size).toBe(4);
  });

  it('knows thirteen transforms, the twelve of ADA and a flip upside down, and draws for each what it says', () => {
    expect(transformNames).toHaveLength(13);
    expect(Object.keys(adaTransforms)).toHaveLength(12);
    expect(augmentationPipe(everything).labelDimension).toBe(1 + 1 + 2 + 2 + 1 + 2 + 2 + 2 + 1 + 1 + 1 + 2 + 1);
    const strengths = augmentationPipe({}).description.options;
    for (const name of transformNames) {
      const taken = { uniforms: 0, normals: 0 };
      const draws = { uniform: () => (taken.uniforms++, 0.3), normal: () => (taken.normals++, 0.3) };
      const { label } = transforms[name].draw(draws, strengths, [8, 8]);
      expect({ ...taken, labels: label.length }, name).toEqual({
        uniforms: transforms[name].uniforms,
        normals: transforms[name].normals,
        labels: transforms[name].labels,
      });
    }
  });

  it('refuses what it cannot do, and options it does not know, all at once', () => {
    expect(() => augmentationPipe({ hue: 1 }).apply(tf.zeros([1, 4, 4, 2]), inputs())).toThrow(ArgumentError);
    expect(() => augmentationPipe({ rotateInt: 1 }).apply(tf.zeros([1, 4, 6, 3]), inputs())).toThrow('square');
    const wrong = { xflip: -1, anisoRotateProb: 2, colour: 1 } as AugmentationPipeOptions;
    expect(() => augmentationPipe(wrong)).toThrow(ConfigError);
    expect(() => augmentationPipe(wrong)).toThrow(/xflip[\s\S]*anisoRotateProb[\s\S]*colour/);
    expect(() => diffAugment({ policy: ['color', 'color'] })).toThrow(/each once/);
    expect(() => diffAugment({ policy: ['mixup' as 'color'], cutoutRatio: 2 })).toThrow(/policy[\s\S]*cutoutRatio/);
    expect(() => adaptiveAugmentation(augmentationPipe({}), { target: 2, every: 0 })).toThrow(/target[\s\S]*every/);
  });
});

describe('adaptive augmentation', () => {
  beforeAll(() => useEngine(engines[0]!));
  const observe = (adaptive: AdaptiveAugmentation, ...signs: number[]) =>
    signs.map((realSign, step) => adaptive.observe({ step, batchSize: 250, realSign })['augmentProbability']!);

  it('moves every fourth iteration by batch * 4 / (kimg * 1000), towards the target, within its bounds', () => {
    const adaptive = new AdaptiveAugmentation(augmentationPipe(adaTransforms), { kimg: 10, maximum: 0.25 });
    expect(observe(adaptive, 1, 1, 1, 1)).toBeAllclose([0, 0, 0, 0.1]);
    // The mean of four counts, not the last.
    expect(observe(adaptive, 1, 1, 1, 0)).toBeAllclose([0.1, 0.1, 0.1, 0.2]);
    expect(observe(adaptive, 1, 1, 1, 1).at(-1)).toBe(0.25);
    expect(observe(adaptive, 0.6, 0.6, 0.6, 0.5).at(-1)).toBeCloseTo(0.15);
    expect(observe(adaptive, 0, 0, 0, 0, 0, 0, 0, 0).at(-1)).toBe(0);
  });

  it('is what the images are changed with', () => {
    const adaptive = new AdaptiveAugmentation(augmentationPipe(adaTransforms), { kimg: 1 });
    const x = noise([2, 8, 8, 3]);
    expect(adaptive.apply(x, inputs()).dataSync()).toEqual(x.dataSync());
    observe(adaptive, 1, 1, 1, 1);
    expect(adaptive.probability).toBe(1);
    expect(adaptive.apply(x, inputs()).dataSync()).not.toEqual(x.dataSync());
  });

  it('goes on from a checkpoint as if nothing had happened, also between two adjustments', () => {
    const make = () => new AdaptiveAugmentation(augmentationPipe(adaTransforms), { kimg: 7 });
    const signs = [1, 1, 1, 0.9, 0.8, 0.1, 0.2, 0.7, 1, 1, 1, 1];
    const whole = observe(make(), ...signs);
    const [first, second] = [make(), make()];
    observe(first, ...signs.slice(0, 6));
    second.checkpoint.restoreState(
      JSON.parse(JSON.stringify(first.checkpoint.saveState())) as ReturnType<typeof first.checkpoint.saveState>,
    );
    expect(observe(second, ...signs.slice(6))).toEqual(whole.slice(6));
    expect(() => first.checkpoint.restoreState({ json: { probability: -1 }, tensors: [] })).toThrow(ConfigError);
  });

  it('each run starts anew and says what it was made with', () => {
    const part = adaptiveAugmentation(augmentationPipe({ xflip: 1 }), { target: 0.5 });
    expect(part.description).toMatchObject({
      part: 'adaptiveAugmentation',
      options: { target: 0.5, kimg: 500, every: 4, augmentation: { part: 'augmentationPipe', options: { xflip: 1, yflip: 0 } } },
    });
    const container = createContainer();
    expect(part.build(container)).not.toBe(part.build(container));
  });
});
