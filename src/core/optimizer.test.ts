import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Optimizer } from './contracts/optimizer.js';
import { Adam, RAdam, lazyRegularization } from './optimizer.js';
import { Parameter } from './parameter.js';

interface Golden {
  shapes: Record<string, number[]>;
  initial: Record<string, number[]>;
  gradients: Record<string, number[]>[];
  runs: {
    optimizer: 'Adam' | 'RAdam';
    options: { learningRate: number; beta1: number; beta2: number; epsilon: number };
    weights: Record<string, number[]>[];
    m: Record<string, number[]>;
    v: Record<string, number[]>;
  }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL('../../test/golden/optimizer.json', import.meta.url), 'utf8'));

const engines = ['cpu'];
try {
  createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu');
  engines.push('tensorflow');
} catch {
  console.log('skipped on tensorflow: the native binding is not set up');
}

/** Published `[out, in]`, so that the engine's layout differs from it. */
function parametersOf(values: Record<string, number[]>, shapes: Record<string, number[]>): Parameter[] {
  return Object.entries(values).map(([name, data]) => {
    const parameter = new Parameter(name, shapes[name]!, { kind: 'linear', role: 'mapping' });
    parameter.load(Float32Array.from(data));
    return parameter;
  });
}
const vector = (name: string, data: number[]) => parametersOf({ [name]: data }, { [name]: [data.length] })[0]!;

/** Gradients in the engine's layout. */
function step(optimizer: Optimizer, gradients: Record<string, number[]>, options = {}) {
  const tensors = tf.tidy(() =>
    optimizer.parameters.map((parameter) => {
      const values = tf.tensor(gradients[parameter.name]!, [...parameter.shape]);
      return parameter.shape.length === 2 ? tf.transpose(values) : values;
    }),
  );
  const result = optimizer.step(tensors, options);
  tf.dispose(tensors);
  return result;
}

describe.each(engines)('on %s', (engine) => {
  beforeAll(async () => {
    await tf.setBackend(engine);
  });
  const used: { dispose(): void }[] = [];
  const use = <T extends { dispose(): void }>(thing: T): T => (used.push(thing), thing);
  let numTensors: number;
  beforeEach(() => {
    numTensors = tf.memory().numTensors;
  });
  afterEach(() => {
    for (const thing of used.splice(0)) thing.dispose();
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  it('one step of Adam by hand', () => {
    const parameter = use(vector('w', [1, 2]));
    const adam = use(new Adam({ learningRate: 0.1, beta1: 0.5, beta2: 0.5, epsilon: 1 }));
    adam.bind([parameter]);
    // m̂ = g and v̂ = g² at the first step: w - 0.1 g / (|g| + 1).
    step(adam, { w: [3, -1] });
    expect(parameter.read()).toBeAllclose([1 - 0.075, 2 + 0.05]);
    // m = 0.25·3 + 0.5·1 = 1.25, c1 = 0.75; v = 0.25·9 + 0.5·1 = 2.75, c2 = 0.75.
    step(adam, { w: [1, 0] });
    expect(parameter.read()[0]).toBeCloseTo(0.925 - (0.1 * (1.25 / 0.75)) / (Math.sqrt(2.75 / 0.75) + 1), 6);
  });

  it.each(golden.runs.map((run) => [`${run.optimizer} ${JSON.stringify(run.options)}`, run] as const))('as PyTorch: %s', (_, run) => {
    const parameters = parametersOf(golden.initial, golden.shapes).map(use);
    const optimizer = use(new { Adam, RAdam }[run.optimizer](run.options));
    optimizer.bind(parameters);
    golden.gradients.forEach((gradients, t) => {
      step(optimizer, gradients);
      for (const { name, read } of parameters.map((p) => ({ name: p.name, read: p.read() })))
        expect(read).toBeAllclose(run.weights[t]![name]!, { rtol: 1e-5, atol: 1e-6 });
    });
    for (const [name, { m, v }] of optimizer.state().tensors) {
      expect(v).toBeAllclose(run.v[name]!, { rtol: 1e-5, atol: 1e-12 });
      if (run.options.beta1 === 0) expect(m).toBeUndefined();
      else expect(m!).toBeAllclose(run.m[name]!, { rtol: 1e-5, atol: 1e-7 });
    }
  });

  it('goes on from its state as if it had not stopped, bit for bit', () => {
    const run = (stopAt: number) => {
      const parameters = parametersOf(golden.initial, golden.shapes).map(use);
      let optimizer: Optimizer = use(new Adam({ learningRate: 0.01, beta1: 0.9 }));
      optimizer.bind(parameters);
      golden.gradients.forEach((gradients, t) => {
        if (t === stopAt) {
          const part = optimizer.saveState();
          expect(part.tensors.map((tensor) => tensor.name).sort()).toEqual(['m.a', 'm.b', 'v.a', 'v.b']);
          optimizer = use(new Adam({ learningRate: 0.01, beta1: 0.9 }));
          optimizer.bind(parameters);
          optimizer.restoreState({ json: JSON.parse(JSON.stringify(part.json)), tensors: part.tensors });
        }
        step(optimizer, gradients);
      });
      expect(optimizer.steps).toBe(20);
      return parameters.map((parameter) => parameter.read());
    };
    expect(run(7)).toEqual(run(-1));
  });

  it('refuses the state of another network, with every problem', () => {
    const optimizer = use(new Adam({ learningRate: 0.01, beta1: 0.9 }));
    optimizer.bind(parametersOf(golden.initial, golden.shapes).map(use));
    const five = new Float32Array(5);
    const restore = () =>
      optimizer.restore({
        step: 1,
        tensors: new Map([
          ['b', { v: five }],
          ['c', { m: five, v: five }],
        ]),
      });
    expect(restore).toThrow(
      expect.objectContaining({
        code: 'E_WEIGHTS_MISMATCH',
        message: expect.stringMatching(/a: expected, not found.*b: expected 5 values of m, found none.*c: found, not expected/s),
      }),
    );
    expect(optimizer.steps).toBe(0);
  });

  it('trains only what is trainable', () => {
    const [a, b] = parametersOf(golden.initial, golden.shapes).map(use) as [Parameter, Parameter];
    a.trainable = false;
    const optimizer = use(new Adam({ learningRate: 0.1 }));
    const before = tf.memory().numBytes;
    optimizer.bind([a, b]);
    expect(tf.memory().numBytes - before).toBe(4 * b.size);
    expect(optimizer.parameters).toEqual([b]);
    step(optimizer, { b: [1, 1, 1, 1, 1] });
    expect([...a.read()]).toEqual(golden.initial.a!.map(Math.fround));
    expect([...optimizer.state().tensors.keys()]).toEqual(['b']);
  });

  it('neither leaks nor disposes the gradients', () => {
    const optimizer = use(new RAdam({ learningRate: 0.1, beta1: 0.9 }));
    optimizer.bind(parametersOf(golden.initial, golden.shapes).map(use));
    const gradients = optimizer.parameters.map((parameter) => tf.ones(parameter.engineShape));
    const { numTensors, numDataBuffers } = tf.memory();
    for (let t = 0; t < 8; t++) optimizer.step(gradients);
    optimizer.restore(optimizer.state());
    expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers });
    expect(gradients.some((gradient) => gradient.isDisposed)).toBe(false);
    tf.dispose(gradients);
  });

  it('packs many small parameters and large ones into the same result', () => {
    const sizes = [3, 2 ** 20, 5, 2 ** 20 - 5, 7];
    const parameters = sizes.map((size, i) => {
      const parameter = use(new Parameter(`p${i}`, [size], { kind: 'norm', role: 'norm' }));
      parameter.load(new Float32Array(size).fill(i));
      return parameter;
    });
    const optimizer = use(new Adam({ learningRate: 0.5 }));
    optimizer.bind(parameters);
    const gradients = sizes.map((size, i) => tf.fill([size], i % 2 ? -2 : 2));
    optimizer.step(gradients, { learningRateScale: 0.5 });
    tf.dispose(gradients);
    parameters.forEach((parameter, i) => {
      const values = parameter.read();
      for (const at of [0, values.length - 1]) expect(values[at]).toBeCloseTo(i % 2 ? i + 0.25 : i - 0.25, 5);
    });
  });

  describe('non-finite gradients', () => {
    const bad = { a: [1, 1, 1, 1, 1, 1], b: [NaN, Infinity, -Infinity, 2e5, 1] };
    const bound = (nonFinite: 'paper' | 'skip' | 'stop') => {
      const optimizer = use(new Adam({ learningRate: 0.01, nonFinite, epsilon: 1e5, beta2: 0 }));
      optimizer.bind(parametersOf({ a: [0, 0, 0, 0, 0, 0], b: [0, 0, 0, 0, 0] }, golden.shapes).map(use));
      return optimizer;
    };

    it('paper: NaN becomes 0, infinity 1e5; large finite values stay', () => {
      const optimizer = bound('paper');
      expect(step(optimizer, bad)).toEqual({ applied: true, nonFinite: ['b'] });
      // v = g² and epsilon 1e5: w = -0.01 g / (|g| + 1e5).
      expect(optimizer.parameters[1]!.read()).toBeAllclose([0, -0.005, 0.005, -0.02 / 3, -1e-7]);
    });

    it('skip: nothing changes', () => {
      const optimizer = bound('skip');
      expect(step(optimizer, bad)).toEqual({ applied: false, nonFinite: ['b'] });
      expect([...optimizer.parameters[0]!.read()]).toEqual([0, 0, 0, 0, 0, 0]);
      expect(optimizer.steps).toBe(0);
    });

    it('stop: names the stage, the step and the parameter', () => {
      const optimizer = bound('stop');
      const { numTensors } = tf.memory();
      const gradients = tf.tidy(() => [tf.ones([2, 3]), tf.tensor(bad.b)]);
      expect(() => optimizer.step(gradients, { stage: 'discriminator' })).toThrow(
        expect.objectContaining({
          name: 'RunError',
          code: 'E_RUN_NON_FINITE',
          message: expect.stringMatching(/^discriminator, step 1: expected finite gradients, found b \(1 NaN and 2 infinite of 5\)\nhelp:/),
        }),
      );
      tf.dispose(gradients);
      expect(tf.memory().numTensors).toBe(numTensors);
      expect(optimizer.steps).toBe(0);
    });
  });

  it('refuses gradients of other number or shape', () => {
    const optimizer = use(new Adam({ learningRate: 0.1 }));
    optimizer.bind(parametersOf(golden.initial, golden.shapes).map(use));
    expect(() => optimizer.step([])).toThrow(/expected 2 gradients, got 0/);
    const wrong = [tf.ones([3, 2]), tf.ones([5])];
    expect(() => optimizer.step(wrong)).toThrow(/gradient of a: expected \[2, 3\], got \[3, 2\]/);
    tf.dispose(wrong);
  });
});

describe('options', () => {
  it('are strict, and all problems are listed', () => {
    expect(() => new Adam({ learningRate: -1, beta2: 1, momentum: 0 } as never)).toThrow(
      expect.objectContaining({
        code: 'E_CONFIG',
        problems: expect.arrayContaining([expect.stringContaining('learningRate'), expect.stringContaining('beta2')]),
      }),
    );
  });

  it('lazy regularisation every 16 steps corrects by 16/17', () => {
    const corrected = lazyRegularization({ learningRate: 1e-4 }, 16);
    expect(corrected.learningRate).toBeCloseTo((1e-4 * 16) / 17, 12);
    expect(corrected.beta2).toBeCloseTo(0.99 ** (16 / 17), 12);
    expect(corrected.beta1).toBe(0);
  });
});
