/** Every rule and kernel, to second order, on every engine of this machine. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { biasActivation, gelu, gradients, layerNorm, vectorJacobianProduct } from './index.js';
import { engines, random } from './test-support.js';

type Op = (...xs: any[]) => tf.Tensor;

interface Case {
  name: string;
  op: Op;
  shapes: number[][];
  /** Maps the uniform values in [-1, 1) into the domain of the operation. */
  domain?: (x: tf.Tensor) => tf.Tensor;
  /** Step of the finite differences. */
  h?: number;
}

const positive = (x: tf.Tensor) => tf.add(tf.mul(x, 0.7), 1.2);
/** Away from the kink at 0: |x| in [0.3, 1.3). */
const offZero = (x: tf.Tensor) => tf.add(x, tf.mul(0.3, tf.sub(tf.mul(2, tf.cast(tf.greaterEqual(x, 0), 'float32')), 1)));
/** All values far apart, so that no finite step changes their order. */
const distinct = (x: tf.Tensor) => {
  const sorted = Array.from(x.dataSync(), (v, i) => [v, i] as const).sort((a, b) => a[0] - b[0]);
  const out = new Float32Array(x.size);
  sorted.forEach(([, i], rank) => (out[i] = (rank / x.size) * 4 - 2));
  return tf.tensor(out, x.shape);
};

const sq = (x: tf.Tensor) => tf.square(x);
const unary = (name: string, op: Op, rest: Partial<Case> = {}): Case => ({ name, op, shapes: [[3, 5]], ...rest });
const binary = (name: string, op: Op, rest: Partial<Case> = {}): Case[] =>
  [
    [
      [3, 5],
      [3, 5],
    ],
    [[3, 5], [5]],
    [
      [3, 1],
      [2, 1, 5],
    ],
  ].map((shapes) => ({ name: `${name} ${JSON.stringify(shapes)}`, op, shapes, ...rest }));

/** Operations of one tensor by name. */
const operations = tf as unknown as Record<string, (x: tf.Tensor) => tf.Tensor>;

const elementwise: Case[] = [
  ...['abs', 'relu', 'elu', 'selu', 'leakyRelu'].map((n) => unary(n, operations[n]!, { domain: offZero })),
  ...['square', 'exp', 'expm1', 'sin', 'cos', 'atan', 'erf', 'sigmoid', 'tanh', 'softplus', 'neg', 'softmax', 'logSoftmax'].map((n) =>
    unary(n, operations[n]!),
  ),
  ...['sqrt', 'rsqrt', 'log', 'log1p', 'reciprocal'].map((n) => unary(n, operations[n]!, { domain: positive })),
  unary('relu6', (x) => tf.relu6(tf.mul(x, 4)), { domain: distinct }),
  unary('clipByValue', (x) => tf.clipByValue(x, -0.25, 0.25), { domain: offZero }),
  unary('step and sign as masks', (x) => tf.mul(tf.square(x), tf.add(tf.step(x), tf.sign(x))), { domain: offZero }),
  unary('where', (x) => tf.where(tf.greater(x, 0), tf.square(x), tf.exp(x)), { domain: offZero }),
  unary(
    'comparison as a mask',
    (x) => tf.mul(tf.cast(tf.logicalAnd(tf.less(x, 0.5), tf.logicalNot(tf.lessEqual(x, -0.5))), 'float32'), tf.square(x)),
    { domain: distinct },
  ),
  unary('softplus of large values', (x) => tf.softplus(tf.mul(x, 20))),
  unary('cast', (x) => tf.mul(tf.cast(tf.floor(tf.mul(x, 1.25)), 'int32'), tf.square(x)), { domain: distinct }),
  unary('gelu', (x) => tf.mul(tf.mul(0.5, x), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))))),
  unary('gelu, ours', (x) => gelu(tf.mul(x, 3))),
  ...(['none', 'relu', 'relu6'] as const).map((activation) => ({
    name: `biasActivation ${activation}`,
    op: (x: tf.Tensor, bias: tf.Tensor) => sq(biasActivation(tf.mul(x, 4), bias, activation)),
    shapes: [[2, 3, 19], [19]],
    h: 1e-4,
  })),
  ...[3, 5, 37].map((channels) => ({
    name: `layerNorm of ${channels}`,
    op: (x: tf.Tensor) => sq(tf.add(layerNorm(x, 1e-3), 1)),
    shapes: [[2, 3, channels]],
    h: 1e-3,
  })),
  { name: 'softmax of long rows', op: (x) => tf.softmax(tf.mul(x, 3)), shapes: [[2, 3, 41]] },
  { name: 'prelu', op: (x, a) => tf.prelu(x, a), shapes: [[3, 5], [5]], domain: offZero },
  ...binary('add', tf.add),
  ...binary('sub', tf.sub),
  ...binary('mul', tf.mul),
  ...binary('div', tf.div, { domain: positive }),
  ...binary('squaredDifference', tf.squaredDifference),
  ...binary('pow', tf.pow, { domain: positive }),
  ...binary('maximum', (a, b) => tf.maximum(tf.square(a), tf.add(tf.square(b), 0.013)), { h: 1e-4 }),
  ...binary('minimum', (a, b) => tf.minimum(tf.square(a), tf.add(tf.square(b), 0.013)), { h: 1e-4 }),
  {
    name: 'addN',
    op: (a, b) => tf.addN([a, b, a]),
    shapes: [
      [2, 3],
      [2, 3],
    ],
  },
];

const reductions: Case[] = [
  ...[undefined, 0, 1, -1, [0, 2], [1, 2]].flatMap((axes) =>
    (['sum', 'mean'] as const).map((n) => ({
      name: `${n} ${JSON.stringify(axes)}`,
      op: (x: tf.Tensor) => tf[n](tf.square(x), axes),
      shapes: [[2, 3, 4]],
    })),
  ),
  { name: 'mean keepDims', op: (x) => tf.mul(x, tf.mean(x, [0, 1], true)), shapes: [[2, 3, 4]] },
  ...([0, -1, [0, 2]] as const).flatMap((axes) =>
    (['max', 'min'] as const).map((n) => ({
      name: `${n} ${JSON.stringify(axes)}`,
      op: (x: tf.Tensor) => tf.square(tf[n](x, axes as number)),
      shapes: [[2, 3, 4]],
      domain: distinct,
    })),
  ),
  ...[0, 1, 2].flatMap((axis) =>
    [false, true].map((exclusive) => ({
      name: `cumsum ${axis} ${exclusive}`,
      op: (x: tf.Tensor) => tf.square(tf.cumsum(x, axis, exclusive, axis === 1)),
      shapes: [[2, 3, 4]],
    })),
  ),
  { name: 'variance', op: (x) => tf.moments(x, [0, 1]).variance, shapes: [[2, 3, 4]] },
  { name: 'logSumExp', op: (x) => tf.logSumExp(x, 1), shapes: [[3, 4]] },
  { name: 'norm', op: (x) => tf.norm(x, 2, 1), shapes: [[3, 4]], domain: positive },
];

const shapeCases: Case[] = [
  { name: 'reshape', op: (x) => sq(tf.reshape(x, [4, 6])), shapes: [[2, 3, 4]] },
  { name: 'expandDims, squeeze', op: (x) => sq(tf.squeeze(tf.expandDims(x, 1))), shapes: [[2, 3]] },
  { name: 'transpose', op: (x) => sq(tf.transpose(x, [2, 0, 1])), shapes: [[2, 3, 4]] },
  { name: 'broadcastTo', op: (x) => sq(tf.broadcastTo(x, [2, 3, 4])), shapes: [[3, 1]] },
  { name: 'tile', op: (x) => sq(tf.tile(x, [2, 1, 3])), shapes: [[2, 3, 2]] },
  { name: 'reverse', op: (x) => sq(tf.reverse(x, [0, 2])), shapes: [[2, 3, 4]] },
  {
    name: 'concat',
    op: (a, b, c) => sq(tf.concat([a, b, c], 1)),
    shapes: [
      [2, 1, 3],
      [2, 4, 3],
      [2, 2, 3],
    ],
  },
  {
    name: 'split',
    op: (x) => {
      const [a, b] = tf.split(sq(x), [2, 3], 1);
      return tf.mul(tf.sum(a!, 1), tf.sum(b!, 1));
    },
    shapes: [[2, 5]],
  },
  { name: 'one part of a split', op: (x) => sq(tf.split(x, 3, -1)[1]!), shapes: [[2, 6]] },
  {
    name: 'stack',
    op: (a, b) => sq(tf.stack([a, b], 1)),
    shapes: [
      [2, 3],
      [2, 3],
    ],
  },
  {
    name: 'unstack',
    op: (x) => {
      const [a, , c] = tf.unstack(x, 1);
      return tf.mul(a!, c!);
    },
    shapes: [[2, 3, 4]],
  },
  { name: 'slice', op: (x) => sq(tf.slice(x, [0, 1, 2], [2, -1, 1])), shapes: [[2, 3, 4]] },
  { name: 'stridedSlice', op: (x) => sq(tf.stridedSlice(x, [0, 1, 0], [2, 7, 5], [1, 2, 3])), shapes: [[2, 7, 5]] },
  { name: 'stridedSlice backwards', op: (x) => sq(tf.stridedSlice(x, [0, 5], [2, 0], [1, -2])), shapes: [[2, 7]] },
  {
    name: 'stridedSlice with masks',
    op: (x) => sq(tf.stridedSlice(x, [0, 1, 0], [0, 2, 0], [1, 1, 2], 5, 5, 0, 0, 2)),
    shapes: [[3, 4, 5]],
  },
  {
    name: 'pad',
    op: (x) =>
      sq(
        tf.pad(
          x,
          [
            [1, 0],
            [2, 3],
          ],
          0.5,
        ),
      ),
    shapes: [[2, 3]],
  },
  {
    name: 'mirrorPad reflect',
    op: (x) =>
      sq(
        tf.mirrorPad(
          x,
          [
            [0, 0],
            [2, 1],
            [1, 2],
            [0, 0],
          ],
          'reflect',
        ),
      ),
    shapes: [[1, 4, 3, 2]],
  },
  {
    name: 'mirrorPad symmetric',
    op: (x) =>
      sq(
        tf.mirrorPad(
          x,
          [
            [2, 1],
            [0, 3],
          ],
          'symmetric',
        ),
      ),
    shapes: [[4, 3]],
  },
  { name: 'gather', op: (x) => sq(tf.gather(x, tf.tensor1d([2, 0, 2], 'int32'), 1)), shapes: [[2, 3, 2]] },
  {
    name: 'gather rows by a matrix',
    op: (x) =>
      sq(
        tf.gather(
          x,
          tf.tensor2d(
            [
              [1, 3],
              [1, 0],
            ],
            [2, 2],
            'int32',
          ),
        ),
      ),
    shapes: [[4, 3]],
  },
  {
    name: 'gatherND',
    op: (x) =>
      sq(
        tf.gatherND(
          x,
          tf.tensor2d(
            [
              [0, 1],
              [1, 2],
              [0, 1],
            ],
            [3, 2],
            'int32',
          ),
        ),
      ),
    shapes: [[2, 3, 2]],
  },
  { name: 'depthToSpace', op: (x) => sq(tf.depthToSpace(x, 2)), shapes: [[1, 2, 3, 8]] },
  {
    name: 'spaceToBatchND',
    op: (x) =>
      sq(
        tf.spaceToBatchND(
          x,
          [2, 2],
          [
            [0, 0],
            [0, 0],
          ],
        ),
      ),
    shapes: [[1, 4, 4, 2]],
  },
  {
    name: 'batchToSpaceND',
    op: (x) =>
      sq(
        tf.batchToSpaceND(
          x,
          [2, 2],
          [
            [0, 0],
            [0, 0],
          ],
        ),
      ),
    shapes: [[4, 2, 2, 2]],
  },
];

const matmulCases: Case[] = [
  ...[false, true].flatMap((ta) =>
    [false, true].map((tb) => ({
      name: `matMul ${ta} ${tb}`,
      op: (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b, ta, tb),
      shapes: [ta ? [2, 4, 3] : [2, 3, 4], tb ? [2, 5, 4] : [2, 4, 5]],
    })),
  ),
  {
    name: 'matMul of a broadcast batch',
    op: (a, b) => tf.matMul(a, b),
    shapes: [
      [1, 3, 4],
      [2, 4, 5],
    ],
  },
  {
    name: 'matMul of matrices',
    op: (a, b) => tf.matMul(a, b),
    shapes: [
      [3, 4],
      [4, 5],
    ],
  },
  {
    name: 'attention',
    op: (q, k, v) => tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), 0.5)), v),
    shapes: [
      [2, 3, 4],
      [2, 5, 4],
      [2, 5, 4],
    ],
  },
];

const convCases: Case[] = [];
for (const k of [1, 3, 4])
  for (const stride of [1, 2])
    for (const pad of ['same', 'valid', 'explicit'] as const)
      for (const size of [
        [6, 6],
        [7, 5],
      ]) {
        const p =
          pad === 'explicit'
            ? ([
                [0, 0],
                [1, 0],
                [Math.min(1, k - 1), 1],
                [0, 0],
              ] as tf.backend_util.ExplicitPadding)
            : pad;
        const label = `${k}x${k}/${stride} ${pad} ${size.join('x')}`;
        convCases.push({
          name: `conv2d ${label}`,
          op: (x, w) => tf.conv2d(x, w, stride, p),
          shapes: [
            [2, ...size, 3],
            [k, k, 3, 4],
          ],
        });
        convCases.push({
          name: `depthwiseConv2d ${label}`,
          op: (x, w) => tf.depthwiseConv2d(x, w, stride, p),
          shapes: [
            [2, ...size, 3],
            [k, k, 3, 1],
          ],
        });
      }
convCases.push(
  {
    name: 'conv2d 1x3',
    op: (x, w) => tf.conv2d(x, w, 1, 'same'),
    shapes: [
      [1, 5, 6, 2],
      [1, 3, 2, 3],
    ],
  },
  {
    name: 'conv2d numeric pad',
    op: (x, w) => tf.conv2d(x, w, 1, 1),
    shapes: [
      [1, 5, 6, 2],
      [3, 3, 2, 3],
    ],
  },
  {
    name: 'depthwiseConv2d with multiplier 2',
    op: (x, w) => tf.depthwiseConv2d(x, w, 2, 'same'),
    shapes: [
      [2, 5, 6, 3],
      [3, 3, 3, 2],
    ],
  },
  ...([1, 2] as const).map((stride) => ({
    name: `depthwiseConv2d 5x5/${stride} of 35 channels`,
    op: (x: tf.Tensor, w: tf.Tensor) => tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, 'same'),
    shapes: [
      [2, 7, 6, 35],
      [5, 5, 35, 1],
    ],
  })),
  {
    name: 'conv2dTranspose',
    op: (x, w) => tf.conv2dTranspose(x, w, [2, 8, 8, 3], 2, 'same'),
    shapes: [
      [2, 4, 4, 5],
      [4, 4, 3, 5],
    ],
  },
  {
    name: 'separableConv2d',
    op: (x, d, p) => tf.separableConv2d(x, d, p, 1, 'same'),
    shapes: [
      [1, 5, 5, 2],
      [3, 3, 2, 1],
      [1, 1, 2, 3],
    ],
  },
  {
    name: 'batchNorm',
    op: (x, m, v, o, s) => tf.batchNorm(x, m, tf.square(v), o, s, 1e-3),
    shapes: [[2, 3, 3, 4], [4], [4], [4], [4]],
    domain: positive,
  },
  {
    name: 'batchNorm without scale',
    op: (x, m, v) => tf.batchNorm(x, m, tf.square(v), undefined, undefined, 1e-3),
    shapes: [[2, 3, 3, 4], [4], [4]],
    domain: positive,
  },
);

const poolCases: Case[] = [];
const floor = (pad: string | number) => (typeof pad === 'number' ? (['floor'] as const) : []);
for (const [k, stride] of [
  [2, 2],
  [3, 2],
  [3, 1],
] as const)
  for (const pad of ['same', 'valid', 1] as const) {
    const label = `${k}/${stride} ${pad}`;
    poolCases.push({
      name: `maxPool ${label}`,
      op: (x) => tf.maxPool(sq(tf.add(x, 3)) as tf.Tensor4D, k, stride, pad, ...floor(pad)),
      shapes: [[2, 7, 6, 2]],
      domain: distinct,
    });
    poolCases.push({
      name: `avgPool ${label}`,
      op: (x) => tf.avgPool(sq(x) as tf.Tensor4D, k, stride, pad, ...floor(pad)),
      shapes: [[2, 7, 6, 2]],
    });
  }
poolCases.push({
  name: 'maxPool 2/2 of 11 channels',
  op: (x) => tf.maxPool(sq(tf.add(x, 3)) as tf.Tensor4D, 2, 2, 'valid'),
  shapes: [[2, 5, 6, 11]],
  domain: distinct,
});
for (const [align, half] of [
  [false, false],
  [true, false],
  [false, true],
] as const)
  for (const size of [
    [7, 5],
    [2, 3],
  ] as [number, number][]) {
    poolCases.push({
      name: `resizeBilinear ${align} ${half} ${size.join('x')}`,
      op: (x) => sq(tf.image.resizeBilinear(x, size, align, half)),
      shapes: [[2, 4, 3, 2]],
    });
    poolCases.push({
      name: `resizeNearestNeighbor ${align} ${half} ${size.join('x')}`,
      op: (x) => sq(tf.image.resizeNearestNeighbor(x, size, align, half)),
      shapes: [[2, 4, 3, 2]],
    });
  }

const cases = [...elementwise, ...reductions, ...shapeCases, ...matmulCases, ...convCases, ...poolCases];

/** sum(w * op(xs)) with fixed w, so that every output counts differently. */
const weighted = (y: tf.Tensor) => tf.sum(tf.mul(y, random(y.shape, 77)));
const inner = (a: tf.Tensor[], b: tf.Tensor[]) => tf.addN(a.map((t, i) => tf.sum(tf.mul(t, b[i]!))));

const found: Record<string, Record<string, Float32Array[]>> = {};

describe.each(engines)('$engine', ({ engine, skip }) => {
  beforeAll(async () => {
    if (!skip) await tf.setBackend(engine);
  });

  it.skipIf(skip).each(cases)('$name', ({ name, op, shapes, domain = (x) => x, h = 1e-2 }) => {
    tf.tidy(() => {
      const xs = shapes.map((shape, i) => domain(random(shape, i + 1)));
      const us = shapes.map((shape, i) => random(shape, i + 11));
      const along = (f: (xs: tf.Tensor[]) => tf.Tensor) => {
        const moved = (step: number) => f(xs.map((x, i) => tf.add(x, tf.mul(us[i]!, step)))).dataSync()[0]!;
        return (moved(h) - moved(-h)) / (2 * h);
      };
      const loss = (at: tf.Tensor[]) => weighted(op(...at));
      const first = (at: tf.Tensor[]) => gradients(() => loss(at), at);
      // A quadratic of the gradient makes the second order non-trivial also for linear operations.
      const penalty = (at: tf.Tensor[]) => {
        const g = vectorJacobianProduct(() => tf.square(op(...at)), at);
        return inner(g, us);
      };
      const g1 = first(xs);
      const g2 = gradients(() => penalty(xs), xs, { allowUnused: true });
      const d1 = inner(g1, us).dataSync()[0]!;
      const d2 = inner(g2, us).dataSync()[0]!;
      const size = (g: tf.Tensor[]) => Math.sqrt(inner(g, g).dataSync()[0]!);
      expect([d1]).toBeAllclose([along(loss)], { rtol: 1e-2, atol: 3e-3 * (1 + size(g1)) });
      expect([d2]).toBeAllclose([along(penalty)], { rtol: 1e-2, atol: 5e-3 * (1 + size(g2)) });
      (found[name] ??= {})[engine] = [...g1, ...g2].map((t) => Float32Array.from(t.dataSync()));
    });
  });
});

describe('engines agree', () => {
  it.each(cases)('$name', ({ name }) => {
    const [[, reference] = [], ...others] = Object.entries(found[name] ?? {});
    for (const [, other] of others)
      reference!.forEach((expected, i) => {
        const scale = Math.max(1e-3, ...expected.map(Math.abs));
        expect(other[i]!).toBeAllclose(expected, { rtol: 1e-4, atol: 1e-4 * scale });
      });
  });
});
