import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { gradients, vectorJacobianProduct } from '../../core/autodiff/index.js';
import { PhiloxRandom } from '../../core/random.js';
import { RandomProjection } from './random-projection.js';

const normal = (name: string, shape: [number, number, number, number]) =>
  tf.tensor4d(new PhiloxRandom(3).stream(name).normal(shape.reduce((a, b) => a * b, 1)), shape);

describe('the random projection', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('has the published names, widths and default initialisation', () => {
    const projection = new RandomProjection({ prefix: 'p.', channels: [24, 40, 112, 320] }).initialize(new PhiloxRandom(0));
    expect(projection.parameters()).toEqual([]);
    expect(projection.outputs).toEqual([64, 64, 128, 256]);
    const shapes = Object.fromEntries(projection.buffers().map(({ name, shape }) => [name, shape]));
    expect(shapes['p.layer0_ccm.weight']).toEqual([64, 24, 1, 1]);
    expect(shapes['p.layer3_ccm.bias']).toEqual([512]);
    expect(shapes['p.layer0_csm.out_conv.weight']).toEqual([64, 64, 1, 1]);
    expect(shapes['p.layer3_csm.out_conv.weight']).toEqual([256, 512, 1, 1]);
    // U(-b, b), b = 1/sqrt(fan-in): deviation b/sqrt(3).
    for (const [name, fanIn] of [
      ['p.layer3_ccm.weight', 320],
      ['p.layer3_ccm.bias', 320],
      ['p.layer2_csm.out_conv.weight', 256],
    ] as const) {
      const values = projection
        .buffers()
        .find((buffer) => buffer.name === name)!
        .read();
      expect(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeLessThanOrEqual(1 / Math.sqrt(fanIn));
      const deviation = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
      expect(deviation * Math.sqrt(3 * fanIn)).toBeCloseTo(1, 1);
    }
    const other = new RandomProjection({ prefix: 'p.', channels: [24, 40, 112, 320] }).initialize(new PhiloxRandom(0));
    other.buffers().forEach((buffer, i) => expect(buffer.read()).toEqual(projection.buffers()[i]!.read()));
    projection.dispose();
    other.dispose();
  });

  it('refuses lists and maps that do not fit', () => {
    expect(() => new RandomProjection({ channels: [] })).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
    expect(() => new RandomProjection({ channels: [4, 4], widths: [2] })).toThrow(expect.objectContaining({ code: 'E_VALUE' }));
    const projection = new RandomProjection({ channels: [3, 5], widths: [2, 4] }).initialize(new PhiloxRandom(0));
    for (const maps of [
      [normal('a', [1, 4, 4, 3])],
      [normal('a', [1, 4, 4, 3]), normal('b', [1, 4, 4, 5])],
      [normal('a', [1, 4, 4, 3]), normal('b', [2, 2, 2, 5])],
      [normal('a', [1, 4, 4, 4]), normal('b', [1, 2, 2, 5])],
    ])
      expect(() => projection.forward(maps)).toThrow(expect.objectContaining({ code: 'E_SHAPE' }));
    projection.dispose();
  });
});

describe.each(engines)('the random projection on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('by hand: one channel, two stages', () => {
    const projection = new RandomProjection({ channels: [1, 1], widths: [1, 2] });
    const values: Record<string, number[]> = {
      'layer0_ccm.weight': [2],
      'layer0_ccm.bias': [1],
      'layer0_csm.out_conv.weight': [10],
      'layer0_csm.out_conv.bias': [-1],
      'layer1_ccm.weight': [1, -1],
      'layer1_ccm.bias': [0, 5],
      'layer1_csm.out_conv.weight': [1, 3],
      'layer1_csm.out_conv.bias': [0.5],
    };
    for (const buffer of projection.buffers()) buffer.load(Float32Array.from(values[buffer.name]!));
    const maps = [tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1]), tf.tensor4d([3], [1, 1, 1, 1])];
    const [fine, coarse] = projection.forward(maps);
    // Coarse: (3, -3 + 5) -> 3 + 6 + 0.5 everywhere. Fine: 10*(2*x + 1 + 9.5) - 1, corners kept.
    expect(coarse!.dataSync()).toBeAllclose([9.5, 9.5, 9.5, 9.5]);
    const corners = [0, 3, 12, 15].map((at) => fine!.dataSync()[at]);
    expect(corners).toEqual([1, 2, 3, 4].map((x) => 10 * (2 * x + 10.5) - 1));
    projection.dispose();
  });

  it('has second derivatives through a nonlinear head, and leaks nothing', () => {
    const projection = new RandomProjection({ channels: [3, 4], widths: [4, 8] }).initialize(new PhiloxRandom(1));
    const [fine, coarse] = [normal('fine', [1, 4, 4, 3]), normal('coarse', [1, 2, 2, 4])];
    const direction = normal('direction', [1, 2, 2, 4]);
    const weights = projection.outputs.map((channels, i) => normal(`head${i}`, [1, 1, 1, channels]));
    const before = tf.memory().numTensors;
    // Gradient penalty |d sum(tanh(w*mixed)) / d coarse|^2, as R1 asks of it.
    const penalty = (x: tf.Tensor4D) => {
      const score = () => tf.addN(projection.forward([fine, x]).map((map, i) => tf.sum(tf.tanh(tf.mul(map, weights[i]!)))));
      const [gradient] = vectorJacobianProduct(score, [x]);
      return tf.sum(tf.square(gradient!));
    };
    const step = 1e-2;
    const at = (t: number) => tf.tidy(() => penalty(tf.add(coarse, tf.mul(direction, t))).dataSync()[0]!);
    const numerical = (at(step) - at(-step)) / (2 * step);
    const [gradient] = gradients(() => penalty(coarse), [coarse]);
    const analytic = tf.tidy(() => tf.sum(tf.mul(gradient!, direction)).dataSync()[0]!);
    gradient!.dispose();
    expect(Math.abs(analytic)).toBeGreaterThan(0.1);
    expect(Math.abs(analytic / numerical - 1)).toBeLessThan(1e-2);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([fine, coarse, direction, weights]);
    projection.dispose();
  });
});
