import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients, groupNorm, leakyRelu, silu, valueAndGradients } from './index.js';
import { dot, engines, values } from './test-support.js';

interface Case {
  shape: [number, number, number, number];
  groups: number;
  silu: boolean;
  modulated: boolean;
  mean?: number;
}

const EPSILON = 1e-5;

/** Group norm in float64, from the definition. */
function exact(x: Float64Array, p: Float64Array[], { shape: [B, H, W, C], groups, silu }: Case): Float64Array {
  const [gamma, beta, scale, shift] = p;
  const y = new Float64Array(x.length);
  const D = C / groups;
  for (let b = 0; b < B; b++)
    for (let g = 0; g < groups; g++) {
      const at: number[] = [];
      for (let i = 0; i < H * W; i++) for (let d = 0; d < D; d++) at.push((b * H * W + i) * C + g * D + d);
      const mean = at.reduce((s, i) => s + x[i]!, 0) / at.length;
      const variance = at.reduce((s, i) => s + (x[i]! - mean) ** 2, 0) / at.length;
      for (const i of at) {
        const c = i % C;
        let z = ((x[i]! - mean) / Math.sqrt(variance + EPSILON)) * gamma![c]! + beta![c]!;
        if (scale) z = z * (scale[b * C + c]! + 1) + shift![b * C + c]!;
        y[i] = silu ? z / (1 + Math.exp(-z)) : z;
      }
    }
  return y;
}

const cases: Case[] = [
  { shape: [2, 3, 5, 6], groups: 3, silu: true, modulated: true },
  { shape: [2, 3, 5, 6], groups: 3, silu: false, modulated: false },
  { shape: [2, 4, 4, 6], groups: 6, silu: true, modulated: false },
  { shape: [3, 3, 3, 4], groups: 1, silu: true, modulated: true },
  { shape: [2, 1, 1, 8], groups: 2, silu: true, modulated: true },
];

function setUp(c: Case) {
  const [B, H, W, C] = c.shape;
  const data = [values(B * H * W * C, 1).map((v) => v + (c.mean ?? 0)), values(C, 2).map((v) => v + 1.5), values(C, 3)];
  if (c.modulated) data.push(values(B * C, 4), values(B * C, 5));
  const shapes = [c.shape, [C], [C], [B, 1, 1, C], [B, 1, 1, C]];
  const tensors = data.map((d, i) => tf.tensor(d, shapes[i]!));
  const apply = () =>
    groupNorm(tensors[0]!, tensors[1]!, tensors[2]!, {
      groups: c.groups,
      epsilon: EPSILON,
      silu: c.silu,
      scale: tensors[3],
      shift: tensors[4],
    });
  const float64 = data.map((d) => Float64Array.from(d));
  const w = values(B * H * W * C, 6);
  const loss64 = (p: Float64Array[]) => dot(w, exact(p[0]!, p.slice(1), c));
  return { data, tensors, apply, float64, w: tf.tensor(w, c.shape), loss64 };
}

/** Central differences of `f` with respect to every value of every array. */
function numericGradient(f: (p: Float64Array[]) => number, p: Float64Array[], h: number): number[][] {
  return p.map((array, k) =>
    Array.from(array, (_, i) => {
      const moved = (step: number) => f(p.map((q, j) => (j === k ? q.map((v, at) => (at === i ? v + step : v)) : q)));
      return (moved(h) - moved(-h)) / (2 * h);
    }),
  );
}

describe.each(engines)('$engine', ({ engine, skip }) => {
  beforeAll(async () => {
    if (!skip) await tf.setBackend(engine);
  });

  describe.skipIf(skip)('groupNorm', () => {
    it.each([...cases, { shape: [4, 32, 32, 32], groups: 8, silu: true, modulated: true } as Case])('equals the definition: %j', (c) => {
      const { apply, float64 } = setUp(c);
      expect(apply().dataSync()).toBeCloseInL2(exact(float64[0]!, float64.slice(1), c), 1e-6);
    });

    it('loses no more to a large mean than rounding of its input does', () => {
      const c: Case = { shape: [2, 32, 32, 8], groups: 2, silu: false, modulated: false, mean: 1000 };
      const { apply, float64 } = setUp(c);
      // x a and b are near 1700 with 2^-24 relative rounding each; values are near 1.
      expect(apply().dataSync()).toBeCloseInL2(exact(float64[0]!, float64.slice(1), c), 5e-4);
    });

    it.each(cases)('has the right gradients: %j', (c) => {
      const { apply, tensors, float64, w, loss64 } = setUp(c);
      const found = gradients(() => tf.sum(tf.mul(apply(), w)), tensors);
      numericGradient(loss64, float64, 1e-5).forEach((expected, i) =>
        expect(found[i]!.dataSync()).toBeAllclose(expected, { rtol: 1e-4, atol: 1e-4 }),
      );
    });

    it.each(cases)('has the right second-order gradients: %j', (c) => {
      const { apply, tensors, float64, w, loss64 } = setUp(c);
      const directions = float64.map((p, i) => Float64Array.from(values(p.length, 10 + i)));
      const u = directions.map((d, i) => tf.tensor(Array.from(d), tensors[i]!.shape));
      const found = gradients(
        () => tf.addN(gradients(() => tf.sum(tf.mul(apply(), w)), tensors).map((g, i) => tf.sum(tf.mul(g, u[i]!)))),
        tensors,
      );
      const h = 1e-4;
      const along = (p: Float64Array[]) => {
        const moved = (step: number) => loss64(p.map((q, i) => q.map((v, j) => v + step * directions[i]![j]!)));
        return (moved(h) - moved(-h)) / (2 * h);
      };
      const largest = Math.max(...float64.map((_, i) => Math.max(...found[i]!.dataSync().map(Math.abs))));
      numericGradient(along, float64, h).forEach((expected, i) =>
        expect(found[i]!.dataSync()).toBeAllclose(expected, { rtol: 1e-3, atol: 2e-5 * Math.max(1, largest) }),
      );
    });

    it('leaves no tensor behind', () => {
      const { apply, tensors, w } = setUp(cases[0]!);
      const before = tf.memory().numTensors;
      const { value, gradients: found } = valueAndGradients(() => tf.sum(tf.mul(apply(), w)), tensors);
      tf.dispose([value, found]);
      tf.dispose(apply());
      tf.dispose(gradients(() => tf.sum(tf.square(gradients(() => tf.sum(tf.mul(apply(), w)), [tensors[0]!])[0]!)), tensors.slice(0, 2)));
      expect(tf.memory().numTensors).toBe(before);
    });

    it('refuses shapes that do not fit', () => {
      const x = tf.zeros([1, 2, 2, 6]);
      expect(() => groupNorm(x, tf.zeros([6]), tf.zeros([6]), { groups: 4 })).toThrow(/4 groups, got \[1, 2, 2, 6\]/);
      expect(() => groupNorm(x, tf.zeros([5]), tf.zeros([6]), { groups: 2 })).toThrow(/gamma of 6 values/);
    });
  });

  describe.skipIf(skip).each([
    { name: 'silu', ours: silu, f: (x: number) => x / (1 + Math.exp(-x)) },
    { name: 'leakyRelu', ours: (x: tf.Tensor) => leakyRelu(x, 0.2), f: (x: number) => Math.max(x, 0.2 * x) },
    { name: 'relu', ours: (x: tf.Tensor) => leakyRelu(x, 0), f: (x: number) => Math.max(x, 0) },
  ])('$name', ({ ours, f }) => {
    it('equals its definition up to the second derivative', () => {
      const data = [-30, -4, -0.7, -0.02, 0.03, 0.6, 5, 30];
      const x = tf.tensor1d(data);
      const h = 1e-3;
      const first = () => gradients(() => tf.sum(ours(x)), [x])[0]!;
      expect(ours(x).dataSync()).toBeAllclose(data.map(f), { rtol: 1e-6, atol: 1e-6 });
      expect(first().dataSync()).toBeAllclose(
        data.map((v) => (f(v + h) - f(v - h)) / (2 * h)),
        { rtol: 1e-5, atol: 1e-5 },
      );
      const second = gradients(() => tf.sum(tf.mul(first(), tf.add(x, 2))), [x])[0]!;
      // d/dx (f'(x) (x + 2)) = f''(x) (x + 2) + f'(x)
      const expected = data.map((v) => ((f(v + h) - 2 * f(v) + f(v - h)) / h ** 2) * (v + 2) + (f(v + h) - f(v - h)) / (2 * h));
      expect(second.dataSync()).toBeAllclose(expected, { rtol: 1e-4, atol: 1e-4 });
    });
  });
});
