/** Preconditioning, samplers, resampling: against formulas, not against themselves. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../test/support/engines.js';
import { PhiloxRandom } from '../core/random.js';
import type { Backbone } from './backbones/backbone.js';
import { createBackbone } from './backbones/config.js';
import { resample2d, resampleMatrix } from './nn/resample.js';
import { denoise, edmPreconditioning, gddPreconditioning, generateOneStep } from './preconditioning.js';
import { edmSigmas, sampleFewSteps, sampleHeun } from './samplers/edm.js';

/** A "network" whose output is a constant: everything else is preconditioning. */
const constantBackbone = (value: number) => ({ forward: (x: tf.Tensor4D) => tf.fill(x.shape, value) }) as unknown as Backbone;

describe('preconditioning', () => {
  it('EDM: c_skip^2 sd-weighted variances add up to the data variance', () => {
    for (const sigma of [0.002, 0.5, 80]) {
      const { skip, out, in: scale, noise } = edmPreconditioning().coefficients(sigma);
      expect(scale ** 2 * (sigma ** 2 + 0.25)).toBeCloseTo(1, 12);
      // EDM appendix B.6: c_out^2 = (1 - c_skip)^2 sd^2 + c_skip^2 s^2.
      expect(out ** 2).toBeCloseTo((1 - skip) ** 2 * 0.25 + skip ** 2 * sigma ** 2, 12);
      expect(noise).toBe(Math.log(sigma) / 4);
    }
  });

  it('GDD: the identity at epsilon', () => {
    expect(gddPreconditioning().coefficients(0.002)).toMatchObject({ skip: 1, out: 0 });
  });
});

describe.each(engines)('samplers on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('one step is c_skip 80 z + c_out F', () => {
    const { skip, out } = gddPreconditioning().coefficients(80);
    const image = generateOneStep(constantBackbone(3), tf.fill<tf.Rank.R4>([1, 2, 2, 1], 0.5));
    expect(image.dataSync()).toBeAllclose(new Array(4).fill(skip * 40 + out * 3), { rtol: 1e-5 });
  });

  it('one noise level per image', () => {
    const x = tf.ones<tf.Rank.R4>([2, 1, 1, 1]);
    const expected = [0.5, 2].map((sigma) => edmPreconditioning().coefficients(sigma)).map(({ skip, out }) => skip + out * 3);
    expect(denoise(constantBackbone(3), edmPreconditioning(), x, [0.5, 2]).dataSync()).toBeAllclose(expected);
  });

  it('the EDM grid falls from 80 to 0.002 and ends in 0', () => {
    const sigmas = edmSigmas({ steps: 18 });
    expect(sigmas).toHaveLength(19);
    expect([sigmas[0], sigmas[17], sigmas[18]]).toEqual([expect.closeTo(80, 9), expect.closeTo(0.002, 12), 0]);
    expect(sigmas.every((sigma, i) => i === 0 || sigma < sigmas[i - 1]!)).toBe(true);
    expect(() => edmSigmas({ steps: 0 })).toThrow('positive integer');
  });

  it('Heun evaluates the network 2N - 1 times and ends in the denoiser of a point mass', () => {
    // The ideal denoiser of a single image c is c: the solution of the flow ends in c exactly.
    let evaluations = 0;
    const c = 0.25;
    const ideal = {
      forward: (x: tf.Tensor4D, noise: tf.Tensor1D) => {
        evaluations++;
        const sigma = Math.exp(4 * noise.dataSync()[0]!);
        const { skip, out, in: scale } = edmPreconditioning().coefficients(sigma);
        return tf.div(tf.sub(c, tf.mul(x, skip / scale)), out);
      },
    } as unknown as Backbone;
    const steps: number[] = [];
    const before = tf.memory().numTensors;
    const latents = tf.randomNormal<tf.Rank.R4>([2, 2, 2, 1], 0, 1, 'float32', 1);
    const sample = sampleHeun(ideal, latents, { steps: 18, onStep: (step) => steps.push(step) });
    expect(evaluations).toBe(35);
    expect(steps).toEqual(Array.from({ length: 18 }, (_, i) => i + 1));
    expect(sample.dataSync()).toBeAllclose(new Array(8).fill(c), { atol: 1e-4 });
    tf.dispose([sample, latents]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('few steps renoise; they refuse levels that rise and steps without noise', () => {
    const latents = tf.zeros<tf.Rank.R4>([1, 1, 1, 1]);
    const noise = () => tf.ones<tf.Rank.R4>([1, 1, 1, 1]);
    const gdd = gddPreconditioning();
    const [first, second] = [gdd.coefficients(80), gdd.coefficients(0.8)];
    const expected = second.skip * (first.out * 2 + 0.8) + second.out * 2;
    expect(sampleFewSteps(constantBackbone(2), latents, { sigmas: [80, 0.8], noise }).dataSync()[0]).toBeCloseTo(expected, 4);
    expect(() => sampleFewSteps(constantBackbone(2), latents, { sigmas: [0.8, 80], noise })).toThrow('falling');
    expect(() => sampleFewSteps(constantBackbone(2), latents, { sigmas: [80, 0.8] })).toThrow('fresh noise');
  });

  it('resampling by (1,1) is the mean and the repetition', () => {
    const x = tf.tensor4d([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [1, 4, 4, 1]);
    expect(resample2d(x, [1, 1], 'down').dataSync()).toBeAllclose([3.5, 5.5, 11.5, 13.5]);
    const up = resample2d(tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1]), [1, 1], 'up');
    expect(up.dataSync()).toBeAllclose([1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
  });

  it('resampling by (1,3,3,1) keeps constants away from the border, and up is 4 times the transpose of down', () => {
    const down = resampleMatrix(8, [1, 3, 3, 1], 'down');
    const up = resampleMatrix(4, [1, 3, 3, 1], 'up');
    expect([down.outputs, up.outputs]).toEqual([4, 8]);
    for (let i = 0; i < 4; i++) for (let j = 0; j < 8; j++) expect(up.matrix[j * 4 + i]).toBeCloseTo(2 * down.matrix[i * 8 + j]!, 6);
    const constant = resample2d(tf.ones<tf.Rank.R4>([1, 8, 8, 1]), [1, 3, 3, 1], 'down').dataSync();
    expect(constant[5]).toBeCloseTo(1, 6);
  });

  it('computes no encoder stage after the last one asked for', () => {
    const network = createBackbone({
      model_type: 'SongUNet',
      img_resolution: 8,
      model_channels: 8,
      channel_mult: [1, 2],
      num_blocks: 1,
      attn_resolutions: [],
    });
    network.initialize(new PhiloxRandom(0));
    const x = tf.ones<tf.Rank.R4>([1, 8, 8, 3]);
    const kernels = (stages: string[]) => {
      let count = 0;
      const engine = tf.engine() as unknown as { runKernelFunc(kernel: unknown): unknown };
      const original = engine.runKernelFunc.bind(engine);
      engine.runKernelFunc = (kernel) => (count++, original(kernel));
      const [features] = network.encode(x, tf.tensor1d([0]), stages);
      engine.runKernelFunc = original;
      return { count, shape: features!.shape };
    };
    const early = kernels(['enc.8x8_block0']);
    const late = kernels(['enc.4x4_block0']);
    expect(early.shape).toEqual([1, 8, 8, 8]);
    expect(late.shape).toEqual([1, 4, 4, 16]);
    expect(early.count).toBeLessThan(late.count / 2 + 20);
    network.dispose();
  });
});
