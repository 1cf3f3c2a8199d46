import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { defineKernel, gradients, stopGradient, zeroLike, type ForwardContext, type KernelInputs } from './index.js';

type Context = ForwardContext<KernelInputs<'x', 'w'>, { power: number }>;

const define = (calls: string[] = []) =>
  defineKernel({
    name: 'OnestepTestPower',
    forward: ({ inputs: { x, w }, attrs: { power } }: Context): tf.Tensor[] => {
      calls.push('composed');
      const y = tf.pow(x, power);
      return [w ? tf.mul(y, w) : y, tf.neg(x)];
    },
    engines: {
      cpu: ({ inputs: { x, w }, attrs: { power } }) => {
        calls.push('cpu');
        const y = tf.pow(x, power);
        return [w ? tf.mul(y, w) : y, tf.neg(x)];
      },
    },
    inputsToSave: ['x', 'w'],
    gradient: ({ dys: [dy, dNegative], inputs: { x, w }, present, attrs: { power } }) => ({
      x: () => {
        const through = dy ? [tf.mul(tf.mul(dy, w ?? 1), tf.mul(power, tf.pow(x, power - 1)))] : [];
        return tf.addN([...through, ...(dNegative ? [tf.neg(dNegative)] : []), tf.zerosLike(x)]);
      },
      w: present.w ? () => tf.mul(dy!, tf.pow(x, power)) : zeroLike(x),
    }),
  });

beforeAll(() => tf.setBackend('cpu').then(() => undefined));

describe('defineKernel', () => {
  it('runs the version of the engine and takes optional inputs', () => {
    const calls: string[] = [];
    const power = define(calls);
    const [y, negative] = power({ x: tf.tensor1d([2, 3]) }, { power: 3 });
    expect(y!.arraySync()).toEqual([8, 27]);
    expect(negative!.arraySync()).toEqual([-2, -3]);
    expect(power({ x: tf.tensor1d([2, 3]), w: tf.scalar(2) }, { power: 3 })[0]!.arraySync()).toEqual([16, 54]);
    expect(calls).toEqual(['cpu', 'cpu']);
  });

  it('differentiates through either output, in second order too, without leaving a tensor', () => {
    const power = define();
    const x = tf.tensor1d([2, 3]);
    const w = tf.tensor1d([1, 2]);
    const before = tf.memory().numTensors;
    const found = [
      ...gradients(() => tf.sum(power({ x, w }, { power: 3 })[0]!), [x, w]),
      ...gradients(() => tf.sum(power({ x }, { power: 3 })[1]!), [x]),
      ...gradients(() => tf.sum(gradients(() => tf.sum(power({ x }, { power: 3 })[0]!), [x])[0]!), [x]),
    ];
    expect(found.map((g) => g.arraySync())).toEqual([
      [12, 54],
      [8, 27],
      [-1, -1],
      [12, 18],
    ]);
    tf.dispose(found);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is on every engine, also on one that is not loaded, and is redefined without a warning', () => {
    const warn = vi.spyOn(console, 'warn');
    define();
    define();
    expect(warn).not.toHaveBeenCalled();
    for (const engine of ['tensorflow', 'wasm', 'cpu', 'webgpu']) expect(tf.getKernel('OnestepTestPower', engine)).toBeDefined();
  });

  it('gives back a tensor of its own where forward returns an input', () => {
    const same = defineKernel({
      name: 'OnestepTestSame',
      forward: ({ inputs: { x } }: ForwardContext<KernelInputs<'x'>, object>) => x as tf.Tensor,
      gradient: ({ dy }) => ({ x: () => dy }),
    });
    const x = tf.tensor1d([1, 2]);
    same({ x }, {}).dispose();
    expect(x.arraySync()).toEqual([1, 2]);
  });
});

describe('stopGradient', () => {
  it('makes constants of what is computed inside', () => {
    const x = tf.scalar(3);
    expect(
      gradients(
        () =>
          tf.mul(
            x,
            stopGradient(() => tf.square(x)),
          ),
        [x],
      )[0]!.arraySync(),
    ).toBe(9);
  });
});
