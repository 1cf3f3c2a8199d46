/** Convolutions that are products of matrices against TensorFlow's own. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { gradients } from '../autodiff/index.js';
import { executeTensorflow } from '../autodiff/native.js';
import { random } from '../autodiff/test-support.js';
import { canFuse, runFused, withoutFused } from './fused.js';
import { pointwise, pointwiseBackpropFilter, pointwiseBackpropInput } from './pointwise.js';

const same = { strides: 1, pad: 'same' };

const tensorsOf = (pixels: number[], inputs: number, outputs: number) => {
  const [x, filter, dy] = [random([...pixels, inputs], 1), random([1, 1, inputs, outputs], 2), random([...pixels, outputs], 3)] as const;
  return { x, filter, dy, attrs: { ...same, inputShape: x.shape, filterShape: filter.shape } };
};

/** The convolution and both its gradients, by TensorFlow. */
function stock({ x, filter, dy }: ReturnType<typeof tensorsOf>): tf.Tensor[] {
  const how = { strides: [1, 1, 1, 1], padding: 'SAME' };
  const shapeOf = ({ shape }: tf.Tensor) => tf.tensor1d(shape, 'int32');
  return [
    executeTensorflow('Conv2D', [x, filter], how),
    executeTensorflow('Conv2DBackpropInput', [shapeOf(x), filter, dy], how),
    executeTensorflow('Conv2DBackpropFilter', [x, shapeOf(filter), dy], how),
  ];
}

describe.runIf(engines.includes('tensorflow'))('Convolutions that are products of matrices', () => {
  beforeAll(async () => {
    await useEngine('tensorflow');
    if (!canFuse([])) console.log('skipped: the fused operations are not built');
  });

  const channels = fc.integer({ min: 6, max: 150 });
  const cases = fc.record({
    pixels: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 6, max: 30 })),
    inputs: channels,
    outputs: channels,
  });

  it("and their gradients are TensorFlow's, whatever the size", ({ skip }) => {
    if (!canFuse([])) skip();
    fc.assert(
      fc.property(cases, ({ pixels, inputs, outputs }) =>
        tf.tidy(() => {
          const tensors = tensorsOf(pixels, inputs, outputs);
          const { x, filter, dy, attrs } = tensors;
          const ours = [pointwise(x, filter, attrs), pointwiseBackpropInput(dy, filter, attrs), pointwiseBackpropFilter(x, dy, attrs)];
          stock(tensors).forEach((theirs, i) => {
            expect(ours[i]!.shape).toEqual(theirs.shape);
            expect(ours[i]!.dataSync()).toBeCloseInL2(theirs.dataSync(), 2e-6);
            // One wrong pixel or channel at an edge would hide in the whole.
            expect(ours[i]!.dataSync()).toBeAllclose(theirs.dataSync(), { rtol: 1e-4, atol: i === 2 ? 1e-2 : 1e-3 });
          });
        }),
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  it('take few channels and many, and sums of many parts', ({ skip }) => {
    if (!canFuse([])) skip();
    for (const [pixels, inputs, outputs] of [
      [[3, 5, 7], 1, 1],
      [[2, 9, 8], 3, 130],
      [[1, 2, 3], 300, 2],
      [[4, 67, 41], 24, 20],
      [[1, 8, 8], 700, 530],
    ] as const)
      tf.tidy(() => {
        const tensors = tensorsOf([...pixels], inputs, outputs);
        const { x, filter, dy, attrs } = tensors;
        const [y, dx, dfilter] = stock(tensors);
        expect(pointwise(x, filter, attrs)!.dataSync()).toBeCloseInL2(y!.dataSync(), 2e-6);
        expect(pointwiseBackpropInput(dy, filter, attrs)!.dataSync()).toBeCloseInL2(dx!.dataSync(), 2e-6);
        const ours = pointwiseBackpropFilter(x, dy, attrs);
        if (inputs < 6) expect(ours).toBeUndefined();
        else expect(ours!.dataSync()).toBeCloseInL2(dfilter!.dataSync(), 3e-6);
      });
  });

  it('take filters that cover the whole image', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const [x, filter, dy] = [random([7, 4, 3, 20], 1), random([4, 3, 20, 5], 2), random([7, 1, 1, 5], 3)] as const;
      const how = { strides: [1, 1, 1, 1], padding: 'VALID' };
      const shapeOf = ({ shape }: tf.Tensor) => tf.tensor1d(shape, 'int32');
      const attrs = { strides: 1, pad: 'valid', inputShape: x.shape, filterShape: filter.shape };
      for (const [ours, theirs] of [
        [pointwise(x, filter, attrs), executeTensorflow('Conv2D', [x, filter], how)],
        [pointwiseBackpropInput(dy, filter, attrs), executeTensorflow('Conv2DBackpropInput', [shapeOf(x), filter, dy], how)],
        [pointwiseBackpropFilter(x, dy, attrs), executeTensorflow('Conv2DBackpropFilter', [x, shapeOf(filter), dy], how)],
      ] as const) {
        expect(ours!.shape).toEqual(theirs.shape);
        expect(ours!.dataSync()).toBeCloseInL2(theirs.dataSync(), 2e-6);
      }
      expect(pointwise(x, filter, { ...attrs, pad: 'same' })).toBeUndefined();
      expect(pointwise(x, tf.slice(filter, [0, 0, 0, 0], [3, 3, 20, 5]), attrs)).toBeUndefined();
    });
  });

  it('give an image the same values in every batch', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { x, filter, attrs } = tensorsOf([4, 7, 9], 24, 40);
      const together = pointwise(x, filter, attrs)!;
      const alone = pointwise(tf.slice(x, [2, 0, 0, 0], [1, -1, -1, -1]), filter, attrs)!;
      expect(tf.slice(together, [2, 0, 0, 0], [1, -1, -1, -1]).dataSync()).toEqual(alone.dataSync());
    });
  });

  it('keep what is not a number, or infinite, in its pixel', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { x, filter, attrs } = tensorsOf([1, 4, 5], 10, 20);
      const values = x.dataSync().slice();
      values[7 * 10] = NaN;
      values[9 * 10] = Infinity;
      const y = pointwise(tf.tensor(values, x.shape), filter, attrs)!.dataSync();
      for (let i = 0; i < y.length; i++) expect(Number.isFinite(y[i])).toBe(![7, 9].includes(Math.floor(i / 20)));
    });
  });

  it('have gradients of second order', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { x, filter } = tensorsOf([2, 5, 6], 12, 18);
      // The gradient for the filter of the squared norm of the gradient for the images, as in R1.
      const loss = () => tf.sum<tf.Scalar>(tf.square(tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 'same')));
      const penalty = () => gradients(() => tf.sum<tf.Scalar>(tf.square(gradients(loss, [x])[0]!)), [filter])[0]!;
      expect(penalty().dataSync()).toBeCloseInL2(withoutFused(penalty).dataSync(), 1e-5);
    });
  });

  it('leave alone what they cannot do', ({ skip }) => {
    if (!canFuse([])) skip();
    const [x, filter] = [tf.ones([1, 4, 4, 8]), tf.ones([1, 1, 8, 8])];
    expect(pointwise(x, filter, { ...same, strides: 2 })).toBeUndefined();
    expect(pointwise(x, filter, { ...same, dataFormat: 'NCHW' })).toBeUndefined();
    expect(pointwise(x, tf.ones([1, 2, 8, 8]), same)).toBeUndefined();
    expect(pointwise(tf.ones([1, 1, 5, 8]), filter, same)).toBeUndefined();
    expect(pointwise(tf.ones([0, 4, 4, 8]), filter, same)).toBeUndefined();
  });

  it('say what does not fit', ({ skip }) => {
    if (!canFuse([])) skip();
    const run = (x: number[], filter: number[]) =>
      runFused('OnestepPointwise', [tf.ones(x), tf.ones(filter)], { flags: { transposed: false } }, 1);
    expect(() => run([1, 4, 4, 8], [1, 1, 9, 8])).toThrow(/expected \[B, H, W, C\].*got \[1, 4, 4, 8\] and \[1, 1, 9, 8\]/);
    expect(() => run([1, 1, 5, 8], [1, 1, 8, 8])).toThrow(/six pixels or more/);
    expect(() => runFused('OnestepPointwiseFilter', [tf.ones([1, 4, 4, 8]), tf.ones([1, 4, 3, 8])], {}, 1)).toThrow(
      /got \[1, 4, 4, 8\] and \[1, 4, 3, 8\]/,
    );
  });
});
