/** The fused operations against the composed ones, whose own tests are in `autodiff/`. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  biasActivation,
  gelu,
  gradients,
  groupNorm,
  type GroupNormOptions,
  layerNorm,
  residualAdd,
  vectorJacobianProduct,
} from '../autodiff/index.js';
import { dot, random, values } from '../autodiff/test-support.js';
import { findBindingPackage } from '../backend/binding-package.js';
import { movingAverages } from '../moving-average.js';
import { adamUpdate } from '../optimizer.js';
import { fusedAddon } from './build.js';
import { canFuse, loadFused, runFused, withoutFused } from './fused.js';

const binding = findBindingPackage();
const addon = binding && fusedAddon(binding);
const reason = tf.findBackend('tensorflow') === null || addon === undefined ? 'no TensorFlow' : loadFused(addon, 2);
if (reason !== undefined) console.log(`fused operations skipped: ${reason}`);

/** Relative L2 distance; both must be NaN and infinite at the same places. */
function distance(actual: tf.Tensor, expected: tf.Tensor): number {
  expect(actual.shape).toEqual(expected.shape);
  const [a, b] = [actual.dataSync(), expected.dataSync()];
  const difference = a.map((value, i) => {
    if (Number.isFinite(b[i])) return value - b[i]!;
    expect(value).toBe(b[i]);
    return 0;
  });
  const finite = b.filter(Number.isFinite);
  return Math.sqrt(dot(difference, difference) / (dot(finite, finite) || 1));
}

interface Case {
  shape: [number, number, number, number];
  groups: number;
  silu: boolean;
  scale: boolean;
  shift: boolean;
  offset: boolean;
}

const caseOf = fc
  .record({
    B: fc.integer({ min: 1, max: 5 }),
    H: fc.integer({ min: 1, max: 13 }),
    W: fc.integer({ min: 1, max: 13 }),
    groups: fc.integer({ min: 1, max: 9 }),
    perGroup: fc.integer({ min: 1, max: 9 }),
    silu: fc.boolean(),
    scale: fc.boolean(),
    shift: fc.boolean(),
    offset: fc.boolean(),
  })
  .map(({ B, H, W, groups, perGroup, ...rest }): Case => ({ shape: [B, H, W, groups * perGroup], groups, ...rest }));

function build({ shape, groups, silu, scale, shift, offset }: Case, seed = 1) {
  const [B, , , C] = shape;
  const options: GroupNormOptions = { groups, silu };
  const x = random(shape, seed, 2);
  const [gamma, beta] = [random([C], seed + 1), random([C], seed + 2)];
  if (scale) options.scale = random([B, 1, 1, C], seed + 3);
  if (shift) options.shift = random([B, 1, 1, C], seed + 4);
  if (offset) options.offset = random([B, 1, 1, C], seed + 6);
  const inputs = [x, gamma, beta, options.scale, options.shift, options.offset].filter((tensor) => tensor !== undefined);
  return { x, gamma, beta, options, inputs, dy: random(shape, seed + 5), apply: () => groupNorm(x, gamma, beta, options) };
}

/** True for a gradient that is zero but for rounding: of x with one value per group, of an offset with one channel per group. */
const vanishes = ({ shape: [, H, W, C], groups, scale, shift, offset }: Case, input: number): boolean =>
  (input === 0 && H * W * (C / groups) === 1) || (offset && input === 3 + Number(scale) + Number(shift) && C === groups);

const simple: Case = { shape: [2, 3, 5, 12], groups: 3, silu: true, scale: true, shift: true, offset: true };

describe.skipIf(reason !== undefined)('fused operations', () => {
  beforeAll(async () => {
    await tf.setBackend('tensorflow');
    expect(canFuse([])).toBe(true);
  });

  describe('operations of feature networks', () => {
    const depthwise = (kernel: number, stride: number, pad: 'same' | 'valid' | number, shape: [number, number, number, number]) => ({
      name: `depthwise ${kernel}x${kernel}/${stride} ${pad} of [${shape.join(', ')}]`,
      op: (x: tf.Tensor, w: tf.Tensor) => tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, pad),
      shapes: [shape, [kernel, kernel, shape[3], 1]],
    });
    const pool = (shape: number[], size: number) => ({
      name: `max pooling ${size}/${size} of [${shape.join(', ')}]`,
      op: (x: tf.Tensor) => tf.maxPool(x as tf.Tensor4D, size, size, 'valid'),
      shapes: [shape],
    });
    interface Operation {
      name: string;
      op: (...xs: tf.Tensor[]) => tf.Tensor;
      shapes: number[][];
    }

    it.each<Operation>([
      ...(['relu', 'relu6'] as const).map((activation) => ({
        name: `bias and ${activation}`,
        op: (x: tf.Tensor, bias: tf.Tensor) => biasActivation(tf.mul(x, 9), bias, activation),
        shapes: [[3, 17, 13, 45], [45]],
      })),
      depthwise(3, 1, 'same', [2, 9, 8, 35]),
      depthwise(3, 2, 'same', [2, 9, 8, 16]),
      depthwise(5, 2, 'same', [3, 14, 14, 24]),
      depthwise(5, 1, 2, [1, 7, 7, 17]),
      depthwise(4, 2, 'valid', [2, 11, 9, 8]),
      depthwise(3, 3, 1, [2, 10, 8, 3]),
      pool([2, 8, 6, 19], 2),
      pool([2, 9, 7, 8], 2),
      pool([1, 10, 11, 9], 3),
      { name: 'GELU', op: (x: tf.Tensor) => gelu(tf.mul(x, 8)), shapes: [[5, 7, 531]] },
      { name: 'layer norm', op: (x: tf.Tensor) => layerNorm(tf.add(x, 2), 1e-6), shapes: [[5, 7, 531]] },
      { name: 'layer norm of few channels', op: (x: tf.Tensor) => layerNorm(x, 1e-6), shapes: [[40, 5]] },
      { name: 'softmax', op: (x: tf.Tensor) => tf.softmax(tf.mul(x, 5)), shapes: [[3, 19, 43]] },
    ])('$name is what the composed one is, to second order', ({ op, shapes }) => {
      tf.tidy(() => {
        const xs = shapes.map((shape, i) => random(shape, i + 1));
        const cotangent = random(op(...xs).shape, 9);
        const first = () => vectorJacobianProduct(() => op(...xs), xs, cotangent);
        const second = () =>
          gradients(
            () => {
              const slopes = vectorJacobianProduct(() => op(...xs), xs, cotangent);
              return tf.addN([cotangent, ...slopes].map((slope, i) => tf.sum(tf.mul(slope, random(slope.shape, 20 + i)))));
            },
            [cotangent, ...xs],
            { allowUnused: true },
          );
        expect(
          distance(
            op(...xs),
            withoutFused(() => op(...xs)),
          ),
        ).toBeLessThan(3e-6);
        for (const order of [first, second]) {
          const expected = withoutFused(order);
          order().forEach((gradient, i) => expect(distance(gradient, expected[i]!)).toBeLessThan(1e-5));
        }
      });
    });

    it('gives the gradient of a tie to the first place of a window', () => {
      tf.tidy(() => {
        const x = tf.ones<tf.Rank.R4>([1, 2, 2, 8]);
        const [dx] = vectorJacobianProduct(() => tf.maxPool(x, 2, 2, 'valid'), [x]);
        expect([...dx!.dataSync()]).toEqual([...Array<number>(8).fill(1), ...Array<number>(24).fill(0)]);
      });
    });

    it('lets NaN through', () => {
      const y = biasActivation(tf.tensor2d([[NaN, 1]]), tf.tensor1d([0, 0]), 'relu');
      expect([...y.dataSync()]).toEqual([NaN, 1]);
      expect([...gelu(tf.tensor1d([NaN, 0])).dataSync()]).toEqual([NaN, 0]);
    });
  });

  describe('group norm', () => {
    it('is what the composed one is, with its gradients', () => {
      fc.assert(
        fc.property(caseOf, (c) => {
          tf.tidy(() => {
            const { inputs, dy, apply } = build(c);
            const first = () => vectorJacobianProduct(apply, inputs, dy);
            expect(distance(apply(), withoutFused(apply))).toBeLessThan(2e-6);
            const expected = withoutFused(first);
            first().forEach((gradient, i) => {
              if (!vanishes(c, i)) expect(distance(gradient, expected[i]!)).toBeLessThan(1e-5);
            });
          });
        }),
        { numRuns: 40, seed: 1 },
      );
    });

    it.each<[string, Case]>([
      ['one channel a group', { ...simple, shape: [2, 4, 4, 12], groups: 12 }],
      ['one group', { ...simple, groups: 1 }],
      ['one pixel', { ...simple, shape: [3, 1, 1, 12] }],
      ['many samples', { ...simple, shape: [64, 8, 8, 32], groups: 8 }],
      ['more pixels than a block', { ...simple, shape: [2, 33, 31, 19], groups: 19, silu: false }],
    ])('does %s', (_, c) => {
      tf.tidy(() => {
        const { inputs, dy, apply } = build(c);
        expect(distance(apply(), withoutFused(apply))).toBeLessThan(2e-6);
        const expected = withoutFused(() => vectorJacobianProduct(apply, inputs, dy));
        vectorJacobianProduct(apply, inputs, dy).forEach((gradient, i) => {
          if (!vanishes(c, i)) expect(distance(gradient, expected[i]!)).toBeLessThan(1e-5);
        });
      });
    });

    it('does an empty batch', () => {
      tf.tidy(() => {
        const x = tf.zeros([0, 4, 4, 8]);
        const [gamma, beta] = [tf.ones([8]), tf.zeros([8])];
        const apply = () => groupNorm(x, gamma, beta, { groups: 2, silu: true });
        expect(apply().shape).toEqual([0, 4, 4, 8]);
        const [dx, dgamma] = vectorJacobianProduct(apply, [x, gamma], tf.zeros([0, 4, 4, 8]));
        expect(dx!.shape).toEqual([0, 4, 4, 8]);
        expect([...dgamma!.dataSync()]).toEqual(Array(8).fill(0));
      });
    });

    it('keeps its precision where the mean is far from zero', () => {
      tf.tidy(() => {
        const signs = values(2 * 64 * 8, 3).map(Math.sign);
        const x = tf.tensor(
          signs.map((sign) => 1000 + sign),
          [2, 8, 8, 8],
        );
        const centred = tf.tensor(signs, [2, 8, 8, 8]);
        const apply = (of: tf.Tensor) => groupNorm(of, tf.ones([8]), tf.zeros([8]), { groups: 2, silu: true });
        expect(distance(apply(x), apply(centred))).toBeLessThan(1e-6);
      });
    });

    it('passes NaN and infinity on as the composed one does', () => {
      tf.tidy(() => {
        const shape = [2, 2, 2, 4] as const;
        const data = values(32, 1);
        data[3] = NaN;
        data[20] = Infinity;
        const x = tf.tensor(data, [...shape]);
        const shift = tf.tensor([0, 0, 0, 0, Infinity, -Infinity, 1e30, -1e30], [2, 1, 1, 4]);
        const clean = random([...shape]);
        for (const [of, options] of [
          [x, {}],
          [clean, { shift }],
        ] as const) {
          const apply = () => groupNorm(of, tf.ones([4]), tf.zeros([4]), { groups: 4, silu: true, ...options });
          const first = () => vectorJacobianProduct(apply, [of], random([...shape], 2));
          expect(distance(apply(), withoutFused(apply))).toBeLessThan(1e-6);
          const [actual, expected] = [first()[0]!, withoutFused(first)[0]!].map((tensor) => [...tensor.dataSync()].map(Number.isNaN));
          expect(actual).toEqual(expected);
        }
      });
    });

    it('has SiLU and its gradient as computed in double, over the whole range', () => {
      tf.tidy(() => {
        // With gamma 0, the values before the activation are beta.
        const special = [NaN, Infinity, -Infinity, 3e38, -3e38, -200, 0];
        const z = [...special, ...Array.from({ length: 20_000 }, (_, i) => Math.fround((i - 10_000) * 0.0087))];
        const C = z.length;
        const [x, gamma, beta] = [random([1, 1, 1, C]), tf.zeros([C]), tf.tensor1d(z)];
        const apply = () => groupNorm(x, gamma, beta, { groups: 1, silu: true });
        const y = apply().dataSync();
        const [slope] = vectorJacobianProduct(apply, [beta], tf.ones([1, 1, 1, C]));
        expect([...y.slice(0, special.length)]).toEqual([NaN, Infinity, NaN, Math.fround(3e38), -0, -0, 0]);
        const slopes = slope!.dataSync();
        z.slice(special.length).forEach((value, i) => {
          const sigma = 1 / (1 + Math.exp(-value));
          expect(Math.abs(y[special.length + i]! - value * sigma)).toBeLessThanOrEqual(2.5e-7 * Math.abs(value * sigma));
          expect(Math.abs(slopes[special.length + i]! - sigma * (1 + value * (1 - sigma)))).toBeLessThan(
            2e-7 * Math.max(1, Math.abs(value * sigma)),
          );
        });
      });
    });

    it('gives an image the same bits in any batch', () => {
      tf.tidy(() => {
        const { x, gamma, beta, dy } = build({ ...simple, shape: [5, 9, 7, 12], scale: false, shift: false, offset: false });
        const both = (images: tf.Tensor, cotangent: tf.Tensor) => {
          const apply = () => groupNorm(images, gamma, beta, { groups: 3, silu: true });
          return [apply(), vectorJacobianProduct(apply, [images], cotangent)[0]!];
        };
        const one = (of: tf.Tensor) => tf.slice(of, [3, 0, 0, 0], [1, 9, 7, 12]);
        const whole = both(x, dy);
        both(one(x), one(dy)).forEach((alone, i) => expect(alone.dataSync()).toEqual(one(whole[i]!).dataSync()));
      });
    });

    it('is differentiable twice', () => {
      tf.tidy(() => {
        const { inputs, dy, apply } = build(simple);
        const second = () =>
          gradients(() => tf.sum(tf.square(vectorJacobianProduct(apply, [inputs[0]!], dy)[0]!)), inputs, { allowUnused: true });
        const expected = withoutFused(second);
        second().forEach((gradient, i) => expect(distance(gradient, expected[i]!)).toBeLessThan(1e-4));
      });
    });

    it('gives the same bits with any number of threads', () => {
      const c: Case = { ...simple, shape: [16, 16, 16, 32], groups: 8 };
      const compute = (threads: number) =>
        tf.tidy(() => {
          loadFused(addon!, threads);
          const { inputs, dy, apply } = build(c);
          return [apply(), ...vectorJacobianProduct(apply, inputs, dy)].map((tensor) => tensor.dataSync());
        });
      const [one, three] = [compute(1), compute(3)];
      one.forEach((data, i) => expect(Buffer.compare(Buffer.from(data.buffer), Buffer.from(three[i]!.buffer))).toBe(0));
    });

    it('says what is wrong with its inputs', () => {
      const attributes = {
        integers: { groups: 3, N: 0 },
        floats: { epsilon: 1e-5 },
        flags: { silu: true, has_scale: false, has_shift: false, has_offset: false },
      };
      tf.tidy(() => {
        const [x, gamma] = [random([1, 2, 2, 8]), random([8])];
        const call = (inputs: tf.Tensor[], groups: number) => () =>
          runFused('OnestepGroupNorm', inputs, { ...attributes, integers: { groups, N: 0 } }, 3);
        expect(call([x, gamma, gamma], 3)).toThrow('x [1, 2, 2, 8]: expected channels that are a multiple of 3 groups');
        expect(call([x, random([7]), gamma], 2)).toThrow('expected gamma of 8 values, got [7]');
        expect(call([random([4, 8]), gamma, gamma], 2)).toThrow('expected [B, H, W, C]');
        expect(call([tf.cast(x, 'int32'), gamma, gamma], 2)).toThrow(/float/);
      });
    });
  });

  describe('residual sum', () => {
    it('is what the composed one is, with its gradients of both orders', () => {
      fc.assert(
        fc.property(
          fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 37 })),
          fc.boolean(),
          (shape, scaled) => {
            tf.tidy(() => {
              const inputs = [random(shape, 1), random(shape, 2), random(shape.slice(-1), 3)] as const;
              const apply = () => residualAdd(inputs[0], inputs[1], inputs[2], scaled ? Math.SQRT1_2 : 1);
              const weights = random(shape, 4);
              const first = () => vectorJacobianProduct(apply, [...inputs], weights);
              const second = () => gradients(() => tf.sum(tf.addN(first().map((dx) => tf.sum(tf.square(dx))))), [weights]);
              for (const compute of [() => [apply()], first, second]) {
                const expected = withoutFused(compute);
                compute().forEach((tensor, i) => expect(distance(tensor, expected[i]!)).toBeLessThan(1e-6));
              }
            });
          },
        ),
        { numRuns: 25, seed: 1 },
      );
    });

    it('sums many pixels precisely', () => {
      tf.tidy(() => {
        const dy = tf.fill([64, 32, 32, 9], 0.1);
        const [, dbias] = runFused('OnestepResidualGrad', [dy], { floats: { scale: 1 } }, 2);
        for (const sum of dbias!.dataSync()) expect(Math.abs(sum / 6553.6 - 1)).toBeLessThan(1e-6);
      });
    });
  });

  it.each([[0.9], [0], [1]])('moving averages are what the composed ones are: keep %d', (keep) => {
    tf.tidy(() => {
      const updates = [[40_001], [3, 5], [0]].map((shape, i) => ({
        former: random(shape, i + 1),
        value: random(shape, i + 7),
        scale: 1 + i,
      }));
      const [actual, expected] = [movingAverages(updates, keep), withoutFused(() => movingAverages(updates, keep))];
      expect(actual).toHaveLength(3);
      actual.forEach((average, i) => expect(distance(average, expected[i]!)).toBeLessThan(1e-6));
      const [equal] = movingAverages([{ former: updates[0]!.value, value: updates[0]!.value }], 0.3);
      expect(equal!.dataSync()).toEqual(updates[0]!.value.dataSync());
      expect(() => movingAverages([{ former: random([3]), value: random([4]) }], keep)).toThrow('one shape, got [3] and [4]');
    });
  });

  it.each([
    [0, 1e-8],
    [0.9, 1e-8],
    [0.9, undefined],
  ])('Adam is what the composed one is: beta1 %d, epsilon %d', (beta1, epsilon) => {
    tf.tidy(() => {
      const n = 40_001;
      const [weights, gradient, m] = [random([n], 1), random([n], 2), random([n], 3)] as tf.Tensor1D[];
      const tensors = { weights: weights!, gradient: gradient!, m: beta1 === 0 ? undefined : m!, v: tf.abs(random([n], 4)) as tf.Tensor1D };
      const update = () => adamUpdate(tensors, { beta1, beta2: 0.99, rate: 1, epsilon });
      const [actual, expected] = [update(), withoutFused(update)];
      expect(distance(actual.weights, expected.weights)).toBeLessThan(1e-6);
      expect(distance(actual.v, expected.v)).toBeLessThan(1e-6);
      expect(actual.m === undefined).toBe(beta1 === 0);
      if (actual.m) expect(distance(actual.m, expected.m!)).toBeLessThan(1e-6);
    });
  });
});
