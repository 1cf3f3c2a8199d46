/** One flat tensor of many, and other shapes of the same values. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { random } from '../autodiff/test-support.js';
import { fusedFlatten, fusedUnflatten } from './flatten.js';
import { canFuse, runFused, withoutFused } from './fused.js';
import { sharedReshape } from './reshape.js';

describe.runIf(engines.includes('tensorflow'))('fused operations that move values', () => {
  beforeAll(async () => {
    await useEngine('tensorflow');
    if (!canFuse([])) console.log('skipped: the fused operations are not built');
  });

  it('flatten tensors of any shape, and give them back', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const shapes = [[3, 3, 2, 5], [7], [], [0, 4], [1, 9]];
      const tensors = shapes.map((shape, i) => random(shape, i + 1));
      const flat = fusedFlatten(tensors)!;
      expect(flat.shape).toEqual([90 + 7 + 1 + 0 + 9]);
      expect([...flat.dataSync()]).toEqual(tensors.flatMap((tensor) => [...tensor.dataSync()]));
      const back = fusedUnflatten(flat, shapes)!;
      expect(back.map(({ shape }) => shape)).toEqual(shapes);
      back.forEach((tensor, i) => expect(tensor.dataSync()).toEqual(tensors[i]!.dataSync()));
      expect(fusedFlatten([tensors[1]!])!.dataSync()).toEqual(tensors[1]!.dataSync());
    });
  });

  it('leave integers to the engine', () => {
    const integers = tf.tensor1d([1, 2], 'int32');
    expect(fusedFlatten([integers])).toBeUndefined();
    expect(fusedUnflatten(integers, [[2]])).toBeUndefined();
    expect(sharedReshape(integers, [2, 1])).toBeUndefined();
    expect(tf.reshape(integers, [2, 1]).dataSync()).toEqual(Int32Array.from([1, 2]));
  });

  it('say what does not fit', ({ skip }) => {
    if (!canFuse([])) skip();
    expect(() => fusedUnflatten(tf.ones([5]), [[2], [2]])).toThrow('OnestepUnflatten: expected 4 values, got [5]');
    expect(() => runFused('OnestepReshape', [tf.ones([2, 3])], { integers: { shape: [5] } }, 1)).toThrow(
      'OnestepReshape: expected [5], got [2, 3]',
    );
  });

  it('reshape as the engine does, and outlive what they share values with', ({ skip }) => {
    if (!canFuse([])) skip();
    for (const [from, to] of [
      [
        [2, 3, 4],
        [6, -1],
      ],
      [[1, 1], []],
      [[], [1, 1, 1]],
      [
        [0, 3],
        [3, 0],
      ],
    ] as const) {
      const x = random([...from], 5);
      const reshaped = tf.reshape(x, [...to]);
      const expected = withoutFused(() => tf.reshape(x, [...to]));
      expect(reshaped.shape).toEqual(expected.shape);
      x.dispose();
      // Another tensor may now lie where x was, unless its values are still held.
      tf.fill([24], 7).dispose();
      expect(reshaped.dataSync()).toEqual(expected.dataSync());
      tf.dispose([reshaped, expected]);
    }
  });
});
