import { createRequire } from 'node:module';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Ema, emaDecay } from './ema.js';
import { Parameter } from './parameter.js';

const engines = ['cpu'];
try {
  createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu');
  engines.push('tensorflow');
} catch {
  console.log('skipped on tensorflow: the native binding is not set up');
}

describe('emaDecay', () => {
  it('follows the half-life, which is at most 5% of the images seen', () => {
    expect(emaDecay(1e9, 256)).toBeCloseTo(0.5 ** (256 / 500_000), 12);
    expect(emaDecay(256_000, 256)).toBeCloseTo(0.5 ** (256 / 12_800), 12);
    expect(emaDecay(1e9, 100, { halfLife: 100 })).toBe(0.5);
    expect(emaDecay(0, 256)).toBe(0);
  });
});

describe.each(engines)('Ema on %s', (engine) => {
  let numTensors: number;
  let ema: Ema;
  let a: Parameter, frozen: Parameter, b: Parameter;
  beforeAll(async () => {
    await tf.setBackend(engine);
  });
  beforeEach(() => {
    numTensors = tf.memory().numTensors;
    const parameter = (name: string, shape: number[], values: number[]) => {
      const made = new Parameter(name, shape, { kind: 'linear', role: 'mapping' });
      made.load(Float32Array.from(values));
      return made;
    };
    a = parameter('a', [2, 3], [1, 2, 3, 4, 5, 6]);
    frozen = parameter('frozen', [1], [9]);
    b = parameter('b', [2], [10, 20]);
    frozen.trainable = false;
    ema = new Ema({ halfLife: 100 });
    ema.bind([a, frozen, b]);
  });
  afterEach(() => {
    for (const thing of [ema, a, frozen, b]) thing.dispose();
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  it('starts from the weights, in the published layout', () => {
    expect([...ema.read('a')]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...ema.read('b')]).toEqual([10, 20]);
    expect([...ema.read('frozen')]).toEqual([9]);
    expect(() => ema.read('c')).toThrow(expect.objectContaining({ code: 'E_WEIGHTS_MISSING' }));
  });

  it('copies first, then averages by hand-computed decays', () => {
    a.load(Float32Array.of(3, 3, 3, 3, 3, 3));
    ema.update(0, 100);
    expect([...ema.read('a')]).toEqual([3, 3, 3, 3, 3, 3]);
    a.load(Float32Array.of(1, 2, 3, 4, 5, 6));
    ema.update(1e6, 200);
    // decay 1/4
    expect(ema.read('a')).toBeAllclose([1.5, 2.25, 3, 3.75, 4.5, 5.25]);
    expect(a.read()).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
  });

  it('keeps its averages when the weights move on', () => {
    a.load(new Float32Array(6));
    b.load(new Float32Array(2));
    expect([...ema.read('a')]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...ema.read('b')]).toEqual([10, 20]);
  });

  it('lends the averages to the network and gives its own weights back exactly', async () => {
    const own = Float32Array.of(0.1, -0, 1e-40, 3e38, 7, 8);
    a.load(own);
    const seen = await ema.withAverages(async () => {
      await Promise.resolve();
      return [[...a.read()], [...frozen.read()]];
    });
    expect(seen).toEqual([[1, 2, 3, 4, 5, 6], [9]]);
    expect(a.read()).toEqual(own);

    await expect(ema.withAverages(() => Promise.reject(new RangeError('inside')))).rejects.toThrow(RangeError);
    expect(a.read()).toEqual(own);
    await ema.withAverages(async () => {
      expect(() => ema.update(1, 1)).toThrow(expect.objectContaining({ code: 'E_RUN_AVERAGES' }));
      await expect(ema.withAverages(() => {})).rejects.toMatchObject({ code: 'E_RUN_AVERAGES' });
    });
    expect(a.read()).toEqual(own);
    ema.update(0, 1);
  });

  it('is restored exactly, and refuses what does not fit', () => {
    a.load(Float32Array.of(0.3, 0.1, 0.7, 0.9, 0.2, 0.5));
    ema.update(1e6, 33);
    const part = ema.saveState();
    expect(part.tensors.map(({ name, shape }) => [name, shape])).toEqual([
      ['a', [2, 3]],
      ['b', [2]],
    ]);
    const other = new Ema({ halfLife: 100 });
    other.bind([a, frozen, b]);
    other.restoreState(part);
    ema.update(1e6, 20);
    other.update(1e6, 20);
    expect(other.state()).toEqual(ema.state());
    expect(() => other.restore(new Map([['a', new Float32Array(1)]]))).toThrow(
      expect.objectContaining({
        code: 'E_WEIGHTS_MISMATCH',
        message: expect.stringMatching(/a: expected 6.*found 1.*b: expected, not found/s),
      }),
    );
    other.dispose();
  });

  it('leaves the number of tensors unchanged', () => {
    const before = tf.memory().numTensors;
    for (let i = 0; i < 5; i++) ema.update(i * 10, 10);
    ema.read('b');
    expect(tf.memory().numTensors).toBe(before);
  });
});
