/** Attention without the matrix of probabilities, against the composed one, whose own tests are in `autodiff/`. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { attention, gradients, vectorJacobianProduct } from '../autodiff/index.js';
import { random } from '../autodiff/test-support.js';
import { findBindingPackage } from '../backend/binding-package.js';
import { fusedAddon } from './build.js';
import { canFuse, loadFused, runFused, withoutFused } from './fused.js';

interface Case {
  batch: number;
  /** Height and width. */
  positions: [number, number];
  heads: number;
  perHead: number;
  /** Three tensors, not one. */
  separate: boolean;
}

/** Scores of a few units, so that no probability is nearly everything nor all are equal. */
function build({ batch, positions, heads, perHead, separate }: Case) {
  const channels = heads * perHead;
  const tensorsOf = (count: number, width: number) =>
    Array.from({ length: count }, (_, i) => random([batch, ...positions, width], i + 1, 2 / perHead ** 0.25));
  const qkv = separate ? tensorsOf(3, channels) : tensorsOf(1, 3 * channels);
  const apply = () => attention(separate ? (qkv as [tf.Tensor, tf.Tensor, tf.Tensor]) : qkv[0]!, { heads });
  const dy = random([batch, ...positions, channels], 9);
  return { qkv, dy, apply, slopes: () => vectorJacobianProduct(apply, qkv, dy) };
}

const bytes = (tensor: tf.Tensor) => Buffer.from(tensor.dataSync().buffer);

describe.runIf(engines.includes('tensorflow'))('fused attention', () => {
  beforeAll(async () => {
    await useEngine('tensorflow');
    if (!canFuse([])) console.log('skipped: the fused operations are not built');
  });

  const simple: Case = { batch: 2, positions: [5, 7], heads: 3, perHead: 12, separate: false };
  const cases = fc.record<Case>({
    batch: fc.integer({ min: 1, max: 3 }),
    positions: fc.tuple(fc.integer({ min: 1, max: 19 }), fc.integer({ min: 1, max: 23 })),
    heads: fc.integer({ min: 1, max: 4 }),
    perHead: fc.integer({ min: 1, max: 70 }),
    separate: fc.boolean(),
  });

  /** Against a gradient that vanishes, as with one position, rounding has no relative size. */
  const compare = (given: Case) =>
    tf.tidy(() => {
      const { qkv, dy, apply, slopes } = build(given);
      const expected = withoutFused(apply);
      expect(apply().shape).toEqual(expected.shape);
      expect(apply().dataSync()).toBeCloseInL2(expected.dataSync(), 3e-6);
      // One wrong row or channel at an edge would hide in the whole.
      expect(apply().dataSync()).toBeAllclose(expected.dataSync(), { rtol: 1e-4, atol: 1e-5 });
      const expectedSlopes = withoutFused(slopes);
      const tangent = () => gradients(() => tf.addN(slopes().map((slope, i) => tf.sum(tf.mul(slope, qkv[i]!)))), [dy])[0]!;
      expect(tangent().dataSync()).toBeCloseInL2(withoutFused(tangent).dataSync(), 1e-5);
      slopes().forEach((slope, i) => {
        expect(slope.shape).toEqual(expectedSlopes[i]!.shape);
        expect(slope.dataSync()).toBeAllclose(expectedSlopes[i]!.dataSync(), { rtol: 1e-4, atol: 2e-5 });
      });
      const whole = (list: tf.Tensor[]) => tf.concat(list.map((slope) => tf.reshape(slope, [-1]))).dataSync();
      expect(whole(slopes())).toBeCloseInL2(whole(expectedSlopes), 1e-5);
    });

  it('is what the composed one is, with its gradients', ({ skip }) => {
    if (!canFuse([])) skip();
    fc.assert(fc.property(cases, compare), { numRuns: 50, seed: 1 });
  });

  it.each<[string, Case]>([
    ['one position', { ...simple, positions: [1, 1] }],
    ['one channel a head', { ...simple, perHead: 1 }],
    ['exactly a block of keys', { ...simple, positions: [8, 16], perHead: 16 }],
    ['one position more than that', { ...simple, positions: [1, 129], perHead: 16, separate: true }],
    ['exactly a block of queries', { ...simple, positions: [8, 12], perHead: 64 }],
    ['one image of one head, in parts', { batch: 1, positions: [25, 21], heads: 1, perHead: 40, separate: false }],
    ['many images', { ...simple, batch: 33, positions: [4, 4] }],
  ])('does %s', (_, given) => {
    if (canFuse([])) compare(given);
  });

  it('does an empty batch', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { apply, slopes } = build({ ...simple, batch: 0 });
      expect(apply().shape).toEqual([0, 5, 7, 36]);
      expect(slopes()[0]!.shape).toEqual([0, 5, 7, 108]);
    });
  });

  it('takes a scale, and scores of any size', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const { qkv } = build({ ...simple, positions: [15, 20] });
      for (const scale of [0, 0.02, -3, 400]) {
        const apply = () => attention(qkv[0]!, { heads: 3, scale });
        expect(apply().dataSync()).toBeCloseInL2(withoutFused(apply).dataSync(), scale === 400 ? 1e-3 : 1e-5);
      }
    });
  });

  it('is differentiable twice', ({ skip }) => {
    if (!canFuse([])) skip();
    for (const separate of [false, true])
      tf.tidy(() => {
        const { qkv, dy, slopes } = build({ ...simple, separate });
        const second = () =>
          gradients(() => tf.addN(slopes().map((slope, i) => tf.sum(tf.mul(slope, random(slope.shape, 20 + i))))), [dy, ...qkv]);
        const expected = withoutFused(second);
        second().forEach((slope, i) => expect(slope.dataSync()).toBeCloseInL2(expected[i]!.dataSync(), 1e-5));
      });
  });

  it('passes NaN and infinity on as the composed one does', ({ skip }) => {
    if (!canFuse([])) skip();
    const kinds = (tensor: tf.Tensor) => [...tensor.dataSync()].map((value) => (Number.isFinite(value) ? 'finite' : String(value)));
    tf.tidy(() => {
      // 200 positions are two blocks of keys; the value stands in the query, key or value of an early and of a late one.
      for (const positions of [6, 200])
        for (const value of [NaN, Infinity, -Infinity])
          for (const position of [1, positions - 2])
            for (const part of [0, 1, 2]) {
              const { qkv, dy } = build({ batch: 2, positions: [1, positions], heads: 2, perHead: 9, separate: false });
              const values = qkv[0]!.dataSync().slice();
              values[position * 54 + part * 18 + 3] = value;
              const x = tf.tensor(values, qkv[0]!.shape);
              const apply = () => attention(x, { heads: 2 });
              expect(kinds(apply())).toEqual(kinds(withoutFused(apply)));
              const slope = () => vectorJacobianProduct(apply, [x], dy)[0]!;
              expect(kinds(slope()).map((kind) => kind === 'finite')).toEqual(kinds(withoutFused(slope)).map((kind) => kind === 'finite'));
            }
    });
  });

  it('gives no probability to scores of minus infinity, nor to those too small for a float', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      // 200 keys are blocks of 112 and 88: the scores of the first one are the same, those of the second 0.
      const [positions, first] = [200, 112];
      const ones = tf.ones<tf.Rank.R3>([1, positions, 1]);
      const values = random([1, positions, 1]) as tf.Tensor3D;
      for (const score of [-Infinity, -200]) {
        const keys = tf.tensor3d(
          Array.from({ length: positions }, (_, j) => (j < first ? score : 0)),
          [1, positions, 1],
        );
        const apply = (v: tf.Tensor3D) => () => attention([ones, keys, v]);
        const mean = tf.mean(tf.slice(values, [0, first, 0], [1, -1, -1])).dataSync()[0]!;
        expect(apply(values)().dataSync()).toBeAllclose(Array(positions).fill(mean));
        // Zero times infinity.
        const infinite = tf.where(tf.less(keys, 0), Infinity, values) as tf.Tensor3D;
        for (const run of [apply(infinite), () => withoutFused(apply(infinite))]) expect(run().dataSync().every(Number.isNaN)).toBe(true);
      }
    });
  });

  it('gives an image the same values in every batch and with any number of threads', ({ skip }) => {
    if (!canFuse([])) skip();
    const addon = fusedAddon(findBindingPackage()!)!;
    tf.tidy(() => {
      const { qkv, dy } = build({ batch: 9, positions: [20, 15], heads: 2, perHead: 24, separate: false });
      const compute = (batch: number, threads: number) => {
        loadFused(addon, threads);
        const [x, slope] = [qkv[0]!, dy].map((tensor) => tf.slice(tensor, [0, 0, 0, 0], [batch, -1, -1, -1])) as [tf.Tensor, tf.Tensor];
        const apply = () => attention(x, { heads: 2 });
        return [apply(), vectorJacobianProduct(apply, [x], slope)[0]!].map((tensor) =>
          bytes(tf.slice(tensor, [0, 0, 0, 0], [1, -1, -1, -1])),
        );
      };
      const expected = compute(1, 1);
      // Of one image with many threads the keys are worked on in parts.
      for (const [batch, threads] of [
        [1, 2],
        [1, 5],
        [2, 3],
        [9, 2],
      ] as const)
        compute(batch, threads).forEach((data, i) => expect(data.equals(expected[i]!)).toBe(true));
      loadFused(addon, 2);
    });
  });

  it('keeps no matrix of probabilities and no tensors', ({ skip }) => {
    if (!canFuse([])) skip();
    const { qkv, dy, slopes } = build({ batch: 1, positions: [32, 32], heads: 2, perHead: 8, separate: false });
    const before = tf.memory();
    const rows = tf.tidy(() => runFused('OnestepAttention', qkv, { integers: { heads: 2, N: 1 }, floats: { scale: 1 } }, 2)[1]!.shape);
    expect(rows).toEqual([2, 1024, 2]);
    tf.dispose(slopes());
    expect(tf.memory().numTensors).toBe(before.numTensors);
    tf.dispose([...qkv, dy]);
  });

  it('says what is wrong with its inputs', ({ skip }) => {
    if (!canFuse([])) skip();
    tf.tidy(() => {
      const x = random([2, 6, 24]);
      const call = (inputs: tf.Tensor[], heads: number) => () =>
        runFused('OnestepAttention', inputs, { integers: { heads, N: inputs.length }, floats: { scale: 1 } }, 2);
      expect(call([x], 3)).toThrow('q [2, 6, 24]: expected channels that are a multiple of 3 heads');
      expect(call([random([2, 6, 25])], 1)).toThrow('expected [B, ..., C], or 3 C channels');
      expect(call([x, x, random([2, 5, 24])], 1)).toThrow('keys and values of this shape, got [2, 5, 24]');
      expect(call([x, x], 1)).toThrow('expected one tensor or three, got 2');
      expect(call([tf.cast(x, 'int32')], 1)).toThrow(/float/);
      const slope =
        (statistics: tf.Tensor, dy = random([2, 6, 8])) =>
        () =>
          runFused(
            'OnestepAttentionGrad',
            [dy, random([2, 6, 8]), statistics, x],
            { integers: { heads: 2, N: 1 }, floats: { scale: 1 } },
            1,
          );
      expect(slope(random([4, 6, 1]))).toThrow('expected statistics of 24 rows, got [4, 6, 1]');
      expect(slope(random([4, 6, 2]), x)).toThrow('expected dy and y [2, 6, 8], got [2, 6, 24]');
    });
  });
});
