import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../test/support/engines.js';
import { gradients } from '../core/autodiff/index.js';
import { ConfigError } from '../core/errors.js';
import { PhiloxRandom } from '../core/random.js';
import { createBackbone } from '../models/backbones/config.js';
import { hinge, nonSaturating, relativistic } from './adversarial.js';
import { denoisingLoss } from './denoising.js';
import { reduceLogits } from './distributional.js';
import { r1, r2 } from './regularizers.js';

const softplus = (x: number) => Math.log1p(Math.exp(x));

describe.each(engines)('losses on %s', (engine) => {
  beforeAll(() => useEngine(engine));
  const logits = (values: number[]) => tf.tensor2d(values, [values.length, 1]);
  const [fake, real] = [
    [-1.5, 0.25],
    [2, -0.5],
  ] as const;

  it('non-saturating', () => {
    const loss = nonSaturating();
    expect(loss.generator(logits([...fake])).dataSync()).toBeAllclose(fake.map((f) => softplus(-f)));
    const expected = fake.map((f, i) => softplus(f) + softplus(-real[i]!));
    expect(loss.discriminator(logits([...real]), logits([...fake])).dataSync()).toBeAllclose(expected);
  });

  it('hinge', () => {
    const loss = hinge();
    expect(loss.generator(logits([...fake])).dataSync()).toBeAllclose([1.5, -0.25]);
    expect(loss.discriminator(logits([...real]), logits([...fake])).dataSync()).toBeAllclose([0, 1.5 + 1.25]);
  });

  it('relativistic: only the difference counts', () => {
    const loss = relativistic();
    const expected = fake.map((f, i) => softplus(real[i]! - f));
    expect(loss.generator(logits([...fake]), logits([...real])).dataSync()).toBeAllclose(expected);
    const shifted = loss.discriminator(logits(real.map((r) => r + 7)), logits(fake.map((f) => f + 7)));
    expect(shifted.dataSync()).toBeAllclose(
      fake.map((f, i) => softplus(f - real[i]!)),
      { atol: 1e-5 },
    );
  });

  it('reductions: the mean of all, or the mean over logits summed over images and networks', () => {
    const values = [
      tf.tensor2d([
        [1, 2],
        [3, 4],
      ]),
      tf.tensor2d([[10], [20]]),
    ];
    expect(reduceLogits(values, 'mean').dataSync()[0]).toBeCloseTo((2.5 + 15) / 2);
    expect(reduceLogits(values, 'sum').dataSync()[0]).toBeCloseTo(1.5 + 3.5 + 30);
  });

  it('R1 of a quadratic critic is worked out by hand, and its gradient has the second order', () => {
    // D(x) = w/2 |x|^2, so |grad|^2 = w^2 |x|^2 and d/dw = 2 w |x|^2.
    const images = tf.tensor4d([1, 2, 3, 4, -1, 0, 1, 0], [2, 2, 2, 1]);
    const w = tf.scalar(3);
    const penalty = () =>
      r1({ gamma: 0.5, every: 4 }).penalty(images, (x) => [tf.reshape(tf.sum(tf.mul(tf.square(x), tf.div(w, 2)), [1, 2, 3]), [2, 1])]);
    const meanNorm = (30 + 2) / 2;
    expect(penalty().dataSync()[0]).toBeCloseTo(0.25 * 9 * meanNorm, 3);
    expect(gradients(penalty, [w])[0]!.dataSync()[0]).toBeCloseTo(0.25 * 6 * meanNorm, 3);
  });

  it('R1 looks at real images, R2 at generated ones; wrong options are reported together', () => {
    expect([r1().on, r2().on, r1().every]).toEqual(['real', 'fake', 16]);
    expect(() => r1({ gamma: -1, every: 0.5 })).toThrow(ConfigError);
    expect(() => r1({ gamma: -1, every: 0.5 })).toThrow(/gamma[\s\S]*every/);
  });

  it('the denoising loss of a network that gives nothing is the data beyond the skip', () => {
    const network = createBackbone({
      model_type: 'SongUNet',
      img_resolution: 8,
      model_channels: 8,
      channel_mult: [1],
      num_blocks: 1,
      attn_resolutions: [],
    });
    network.initialize(new PhiloxRandom(0));
    for (const parameter of network.parameters()) if (parameter.role === 'output') parameter.load(new Float32Array(parameter.size));
    const images = tf.zeros<tf.Rank.R4>([512, 8, 8, 3]);
    const loss = denoisingLoss(network, images, new PhiloxRandom(1), {}, { logMean: Math.log(0.5), logStd: 1e-6 }).dataSync()[0]!;
    // At s = sd: c_skip = 1/2, weight = 8, E|n|^2 = 1: 8 * (0.5 * 0.5)^2 = 0.5.
    expect(loss).toBeCloseTo(0.5, 2);
    network.dispose();
  });
});
