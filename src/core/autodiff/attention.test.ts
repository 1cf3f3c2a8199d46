import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { withShapeEngine } from '../shape-engine/index.js';
import { attention, gradients, vectorJacobianProduct } from './index.js';
import { random } from './test-support.js';

/** One head of one image, as one would write it. */
const oneHead = (q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D): tf.Tensor2D =>
  tf.matMul(tf.softmax(tf.div(tf.matMul(q, k, false, true), Math.sqrt(q.shape[1]))), v);

/** By image and head, with slices. */
function plain(qkv: tf.Tensor, heads: number): tf.Tensor {
  const [batch, width] = [qkv.shape[0]!, qkv.shape.at(-1)!];
  const rows = tf.reshape<tf.Rank.R3>(qkv, [batch, -1, width]);
  const [positions, perHead] = [rows.shape[1], width / 3 / heads];
  const part = (image: number, head: number, which: number) =>
    tf.reshape<tf.Rank.R2>(tf.slice(rows, [image, 0, (which * heads + head) * perHead], [1, positions, perHead]), [positions, perHead]);
  const images = Array.from({ length: batch }, (_, image) =>
    tf.concat(
      Array.from({ length: heads }, (_, head) => oneHead(part(image, head, 0), part(image, head, 1), part(image, head, 2))),
      1,
    ),
  );
  return tf.reshape(tf.stack(images), [...qkv.shape.slice(0, -1), width / 3]);
}

const agree = (actual: tf.Tensor[], expected: tf.Tensor[], rtol: number) =>
  actual.forEach((tensor, i) => expect(tensor.dataSync()).toBeCloseInL2(expected[i]!.dataSync(), rtol));

describe.each(engines)('attention on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('weighs values by the softmax of the scores, by hand', () => {
    // Scores of the first position: ln 3 and 0, of the second: 0 and 0.
    const q = tf.tensor3d([Math.log(3), 0], [1, 2, 1]);
    const [k, v] = [tf.tensor3d([1, 0], [1, 2, 1]), tf.tensor3d([8, 4], [1, 2, 1])];
    expect(attention([q, k, v]).dataSync()).toBeAllclose([7, 6]);
    expect(attention([q, k, v], { scale: 0 }).dataSync()).toBeAllclose([6, 6]);
  });

  it.each([
    [[2, 3, 4, 36], 2],
    [[1, 7, 15], 1],
    [[3, 9, 48], 4],
  ])('of %j and %d heads: values and gradients of both orders are those of the formula', (shape, heads) => {
    tf.tidy(() => {
      const qkv = random(shape, 1, 2);
      const weights = random([...shape.slice(0, -1), shape.at(-1)! / 3], 2);
      const separate = () => attention(tf.split(qkv, 3, -1) as [tf.Tensor, tf.Tensor, tf.Tensor], { heads });
      const expected = () => plain(qkv, heads);
      const first = (f: () => tf.Tensor) => vectorJacobianProduct(f, [qkv], weights);
      const second = (f: () => tf.Tensor) => gradients(() => tf.sum(tf.square(first(f)[0]!)), [qkv, weights]);
      for (const f of [() => attention(qkv, { heads }), separate]) {
        expect(f().shape).toEqual(weights.shape);
        agree([f()], [expected()], 1e-6);
        agree(first(f), first(expected), 1e-5);
        agree(second(f), second(expected), 1e-4);
      }
    });
  });

  it('has the gradient for the cotangent alone where nothing else is asked for', () => {
    tf.tidy(() => {
      // As in a penalty on the gradient of a frozen network under a head that trains.
      const [x, head] = [random([2, 6, 24], 1), random([2, 6, 8], 2)];
      const penalty = (f: (x: tf.Tensor) => tf.Tensor) => () =>
        gradients(() => tf.sum(tf.square(vectorJacobianProduct(() => tf.mul(f(x), head), [x])[0]!)), [head]);
      agree(penalty((of) => attention(of, { heads: 2 }))(), penalty((of) => plain(of, 2))(), 1e-5);
    });
  });

  it('has gradients of third order', () => {
    tf.tidy(() => {
      const [x, weights] = [random([2, 5, 12], 1, 2), random([2, 5, 4], 2)];
      const third = (f: () => tf.Tensor) => {
        const slope = () => vectorJacobianProduct(f, [x], weights)[0]!;
        const second = () => gradients(() => tf.sum(tf.square(slope())), [weights])[0]!;
        return gradients(() => tf.sum(tf.square(second())), [x, weights]);
      };
      agree(
        third(() => attention(x, { heads: 2 })),
        third(() => plain(x, 2)),
        1e-4,
      );
    });
  });

  it('leaves one tensor, and none behind a gradient', () => {
    const qkv = random([2, 5, 12], 1);
    const before = tf.memory().numTensors;
    attention(qkv).dispose();
    tf.dispose(vectorJacobianProduct(() => attention(qkv), [qkv]));
    expect(tf.memory().numTensors).toBe(before);
  });

  it('has its shapes known beforehand', () => {
    withShapeEngine(() =>
      tf.tidy(() => {
        const qkv = tf.zeros([2, 3, 4, 36]);
        expect(attention(qkv, { heads: 2 }).shape).toEqual([2, 3, 4, 12]);
        expect(vectorJacobianProduct(() => attention([qkv, qkv, qkv]), [qkv])[0]!.shape).toEqual([2, 3, 4, 36]);
      }),
    );
  });

  it('says which shapes do not fit', () => {
    const x = tf.zeros([1, 4, 12]);
    expect(() => attention(x, { heads: 3 })).toThrow('attention: expected qkv [B, ..., 3 C] with C a multiple of 3 heads, got [1, 4, 12]');
    expect(() => attention(tf.zeros([1, 4, 13]))).toThrow('got [1, 4, 13]');
    expect(() => attention([x, x, tf.zeros([1, 5, 12])])).toThrow('expected q, k and v [B, ..., C] of one shape');
  });
});
