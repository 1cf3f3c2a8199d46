/** Winograd's convolutions against TensorFlow's own. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { gradients } from '../autodiff/index.js';
import { executeTensorflow } from '../autodiff/native.js';
import { random } from '../autodiff/test-support.js';
import { canFuse, runFused, withoutFused } from './fused.js';
import { winograd, winogradBackpropFilter, winogradBackpropInput } from './winograd.js';

interface Case {
  stride: 1 | 2;
  batch: number;
  height: number;
  width: number;
  inputs: number;
  outputs: number;
}

const tensorsOf = ({ stride, batch, height, width, inputs, outputs }: Case) => {
  const side = stride === 1 ? 3 : 4;
  const [x, filter] = [random([batch, height, width, inputs], 1), random([side, side, inputs, outputs], 2)] as const;
  const dy = random([batch, Math.ceil(height / stride), Math.ceil(width / stride), outputs], 3);
  return { x, filter, dy, attrs: { strides: [stride, stride], pad: 'same', inputShape: x.shape, filterShape: filter.shape } };
};

/** The convolution and both its gradients, by TensorFlow. */
function stock({ stride }: Case, { x, filter, dy }: ReturnType<typeof tensorsOf>): tf.Tensor[] {
  const how = { strides: [1, stride, stride, 1], padding: 'SAME' };
  const shapeOf = ({ shape }: tf.Tensor) => tf.tensor1d(shape, 'int32');
  return [
    executeTensorflow('Conv2D', [x, filter], how),
    executeTensorflow('Conv2DBackpropInput', [shapeOf(x), filter, dy], how),
    executeTensorflow('Conv2DBackpropFilter', [x, shapeOf(filter), dy], how),
  ];
}

describe.runIf(engines.includes('tensorflow'))("Winograd's convolutions", () => {
  beforeAll(async () => {
    await useEngine('tensorflow');
    if (!canFuse([])) console.log('skipped: the fused operations are not built');
  });

  const cases = fc.record<Case>({
    stride: fc.constantFrom(1, 2),
    batch: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 29 }),
    width: fc.integer({ min: 1, max: 29 }),
    inputs: fc.integer({ min: 1, max: 19 }).map((eights) => 8 * eights),
    outputs: fc.integer({ min: 1, max: 10 }).map((eights) => 8 * eights),
  });

  it("and their gradients are TensorFlow's, whatever the size", ({ skip }) => {
    if (!canFuse([])) skip();
    fc.assert(
      fc.property(cases, (given) =>
        tf.tidy(() => {
          const tensors = tensorsOf(given);
          const { x, filter, dy } = tensors;
          // Not through the functions that leave small ones alone.
          const run = (inputs: tf.Tensor[], { shape }: tf.Tensor, transposed: boolean) => {
            const integers = { stride: given.stride, height: shape[1]!, width: shape[2]! };
            return runFused('OnestepWinograd', inputs, { integers, flags: { transposed } }, 1)[0];
          };
          const ours = [
            run([x, filter], dy, false),
            run([dy, filter], x, true),
            runFused('OnestepWinogradFilter', [x, dy], { integers: { stride: given.stride } }, 1)[0],
          ];
          stock(given, tensors).forEach((theirs, i) => {
            expect(ours[i]!.shape).toEqual(theirs.shape);
            expect(ours[i]!.dataSync()).toBeCloseInL2(theirs.dataSync(), 3e-6);
            // One wrong pixel or tap at an edge would hide in the whole.
            expect(ours[i]!.dataSync()).toBeAllclose(theirs.dataSync(), { rtol: 1e-4, atol: i === 2 ? 1e-2 : 1e-3 });
          });
        }),
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  it('work through many tiles in blocks and groups', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      for (const stride of [1, 2] as const) {
        const given: Case = { stride, batch: 5, height: 96, width: 64, inputs: 56, outputs: 72 };
        const tensors = tensorsOf(given);
        const { x, filter, dy, attrs } = tensors;
        const ours = [winograd(x, filter, attrs), winogradBackpropInput(dy, filter, attrs), winogradBackpropFilter(x, dy, attrs)];
        stock(given, tensors).forEach((theirs, i) => expect(ours[i]!.dataSync()).toBeCloseInL2(theirs.dataSync(), 5e-6));
      }
    });
  });

  it('give an image the same values in every batch', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { x, filter, attrs } = tensorsOf({ stride: 1, batch: 4, height: 17, width: 19, inputs: 24, outputs: 40 });
      const together = winograd(x, filter, attrs)!;
      const alone = winograd(tf.slice(x, [2, 0, 0, 0], [1, -1, -1, -1]), filter, attrs)!;
      expect(tf.slice(together, [2, 0, 0, 0], [1, -1, -1, -1]).dataSync()).toEqual(alone.dataSync());
    });
  });

  it('keep what is not a number near where it was', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { x, filter, attrs } = tensorsOf({ stride: 1, batch: 2, height: 20, width: 20, inputs: 16, outputs: 16 });
      const values = x.dataSync().slice();
      values[(8 * 20 + 8) * 16] = NaN; // of the first image
      const y = winograd(tf.tensor(values, x.shape), filter, attrs)!.arraySync() as number[][][][];
      const wrong = y.map((image) => image.flatMap((row, i) => row.flatMap((pixel, j) => (pixel.every(Number.isFinite) ? [] : [[i, j]]))));
      expect(wrong[1]).toEqual([]);
      expect(wrong[0]!.length).toBeGreaterThanOrEqual(9);
      // In the results of the tiles of 6x6 that hold it.
      for (const [i, j] of wrong[0]!) expect(Math.max(Math.abs(i! - 8), Math.abs(j! - 8))).toBeLessThanOrEqual(4);
    });
  });

  it('have gradients of second order', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      for (const stride of [1, 2] as const) {
        const { x, filter } = tensorsOf({ stride, batch: 1, height: 18, width: 22, inputs: 16, outputs: 24 });
        // The gradient for the filter of the squared norm of the gradient for the images, as in R1.
        const loss = () => tf.sum<tf.Scalar>(tf.square(tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, stride, 'same')));
        const penalty = () => gradients(() => tf.sum<tf.Scalar>(tf.square(gradients(loss, [x])[0]!)), [filter])[0]!;
        expect(penalty().dataSync()).toBeCloseInL2(withoutFused(penalty).dataSync(), 1e-5);
      }
    });
  });

  it('leave alone what they cannot do, or do no faster', ({ skip }) => {
    if (!canFuse([])) skip();
    const same = { strides: 1, pad: 'same' };
    const [x, filter] = [tf.ones([1, 20, 20, 16]), tf.ones([3, 3, 16, 16])];
    const before = tf.memory().numTensors;
    expect(winograd(x, filter, { ...same, pad: 'valid' })).toBeUndefined();
    expect(winograd(x, filter, { ...same, strides: 2 })).toBeUndefined();
    expect(winograd(x, filter, { ...same, dilations: 2 })).toBeUndefined();
    expect(winograd(x, filter, { ...same, dataFormat: 'NCHW' })).toBeUndefined();
    expect(tf.memory().numTensors).toBe(before);
    expect(winograd(x, tf.ones([4, 4, 16, 16]), same)).toBeUndefined();
    expect(winograd(x, tf.ones([3, 3, 16, 12]), same)).toBeUndefined();
    expect(winograd(tf.ones([1, 20, 20, 8]), tf.ones([3, 3, 8, 16]), same)).toBeUndefined();
    expect(winograd(tf.ones([1, 8, 8, 16]), filter, same)).toBeUndefined();
    expect(winograd(tf.ones([0, 20, 20, 16]), filter, same)).toBeUndefined();
    expect(
      winogradBackpropFilter(tf.ones([0, 20, 20, 16]), tf.ones([0, 20, 20, 16]), { ...same, filterShape: [3, 3, 16, 16] }),
    ).toBeUndefined();
  });

  it('say what does not fit', ({ skip }) => {
    if (!canFuse([])) skip();
    const run = (x: number[], filter: number[], stride: number, height = 20) =>
      runFused(
        'OnestepWinograd',
        [tf.ones(x), tf.ones(filter)],
        { integers: { stride, height, width: 20 }, flags: { transposed: false } },
        1,
      );
    expect(() => run([1, 20, 20, 16], [3, 3, 24, 16], 1)).toThrow(
      /expected \[B, H, W, C\].*got \[1, 20, 20, 16\], \[3, 3, 24, 16\] and stride 1/,
    );
    expect(() => run([1, 20, 20, 16], [3, 3, 16, 16], 2)).toThrow(/stride 2/);
    expect(() => run([1, 20, 20, 16], [3, 3, 16, 16], 1, 19)).toThrow(/\[19, 20\] do not belong together/);
    expect(() =>
      runFused('OnestepWinogradFilter', [tf.ones([1, 20, 20, 16]), tf.ones([1, 19, 20, 16])], { integers: { stride: 1 } }, 1),
    ).toThrow(/got \[1, 20, 20, 16\], \[1, 19, 20, 16\] and stride 1/);
  });
});
