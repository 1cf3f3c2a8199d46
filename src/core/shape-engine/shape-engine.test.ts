/** Shapes and bytes of the shape engine, against an engine that computes. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { valueAndGradients } from '../autodiff/index.js';
import { defineKernel, type ForwardContext, type KernelInputs } from '../autodiff/define-kernel.js';
import { MemoryMeter } from './memory-meter.js';
import { withShapeEngine } from './shape-engine.js';

const filled = (...shape: number[]) => tf.fill(shape, 0.5);

/** One entry an operation: a function of freshly made tensors. */
const operations: Record<string, () => tf.Tensor | tf.Tensor[]> = {
  'elementwise with broadcasting': () => tf.mul(filled(2, 1, 3), filled(4, 1)),
  comparison: () => tf.greater(filled(2, 3), 0),
  'all of a comparison': () => tf.all(tf.isFinite(filled(2, 3))),
  'mean over axes': () => tf.mean(filled(2, 3, 4, 5), [1, 2]),
  'sum that keeps axes': () => tf.sum(filled(2, 3, 4), -1, true),
  maximum: () => tf.max(filled(2, 3), 1),
  argMax: () => tf.argMax(filled(2, 3), 1),
  convolution: () => tf.conv2d(filled(2, 9, 9, 3) as tf.Tensor4D, filled(4, 4, 3, 5) as tf.Tensor4D, 2, 1),
  'same convolution': () => tf.conv2d(filled(1, 8, 8, 4) as tf.Tensor4D, filled(3, 3, 4, 6) as tf.Tensor4D, 1, 'same'),
  'depthwise convolution': () => tf.depthwiseConv2d(filled(1, 8, 8, 4) as tf.Tensor4D, filled(3, 3, 4, 2) as tf.Tensor4D, 2, 'same'),
  'max pool': () => tf.maxPool(filled(1, 9, 9, 4) as tf.Tensor4D, 3, 2, 'valid'),
  'matrices, the second transposed': () => tf.matMul(filled(3, 4, 5), filled(1, 6, 5), false, true),
  transpose: () => tf.transpose(filled(2, 3, 4), [2, 0, 1]),
  reshape: () => tf.reshape(filled(2, 6), [3, -1]),
  expandDims: () => tf.expandDims(filled(2, 6), -1),
  split: () => tf.split(filled(2, 7), [3, 4], 1),
  concat: () => tf.concat([filled(2, 3), filled(2, 5)], 1),
  stack: () => tf.stack([filled(2, 3), filled(2, 3)], -1),
  unstack: () => tf.unstack(filled(2, 3), 1),
  slice: () => tf.slice(filled(4, 5), [1, 2], [2, -1]),
  'strided slice': () => tf.stridedSlice(filled(6, 5), [5, 0], [0, 5], [-2, 2]),
  pad: () =>
    tf.pad(filled(2, 3), [
      [1, 0],
      [2, 2],
    ]),
  tile: () => tf.tile(filled(2, 3), [2, 2]),
  gather: () => tf.gather(filled(4, 5), [0, 3, 1]),
  oneHot: () => tf.oneHot([0, 2], 4),
  where: () => tf.where(tf.greater(filled(2, 3), 0), filled(2, 3), filled(2, 3)),
  cast: () => tf.cast(filled(2), 'int32'),
  addN: () => tf.addN([filled(2, 3), filled(2, 3)]),
  resize: () => tf.image.resizeBilinear(filled(1, 4, 4, 2) as tf.Tensor4D, [7, 9]),
  softmax: () => tf.softmax(filled(2, 5)),
};

const described = (make: () => tf.Tensor | tf.Tensor[]) =>
  tf.tidy(() => {
    const made = make();
    return JSON.stringify((Array.isArray(made) ? made : [made]).map(({ shape, dtype }) => [shape, dtype])) as unknown as tf.TensorContainer;
  }) as unknown as string;

describe('the shape engine', () => {
  beforeAll(() => useEngine(engines[0]!));

  for (const [name, make] of Object.entries(operations))
    it(`gives shape and type of ${name} as an engine that computes`, () => {
      expect(withShapeEngine(() => described(make))).toBe(described(make));
    });

  it('goes back to the engine there was, also by an error, and leaves no tensors', () => {
    const [engine, tensors] = [tf.getBackend(), tf.memory().numTensors];
    expect(withShapeEngine(() => tf.getBackend())).toBe('shapes');
    expect(() =>
      withShapeEngine(() => {
        throw new Error('stop');
      }),
    ).toThrow('stop');
    expect(tf.getBackend()).toBe(engine);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(tf.tidy(() => tf.add(1, 2).dataSync()[0])).toBe(3);
  });

  it('finds shapes that do not fit', () => {
    expect(() => withShapeEngine(() => tf.tidy(() => tf.matMul(filled(2, 3), filled(2, 3))))).toThrow('inner sizes that agree');
  });

  it('names an operation that it does not know', () => {
    const unknown = () => tf.tidy(() => tf.topk(filled(5), 2).values);
    expect(() => withShapeEngine(unknown)).toThrow(
      expect.objectContaining({ code: 'E_ENGINE_SHAPE_RULE', message: expect.stringContaining('TopK') as string }) as Error,
    );
  });

  it('runs kernels of our own by their composed form', () => {
    const cube = defineKernel({
      name: 'OnestepTestCube',
      forward: ({ inputs: { x } }: ForwardContext<KernelInputs<'x'>, object>) => tf.mul(x, tf.square(x)),
      inputsToSave: ['x'],
      gradient: ({ dy, inputs: { x } }) => ({ x: () => tf.mul(dy, tf.mul(3, tf.square(x))) }),
    });
    expect(withShapeEngine(() => described(() => cube({ x: filled(2, 3) }, {})))).toBe('[[[2,3],"float32"]]');
  });
});

describe('the meter', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('counts values once, however many tensors share them, and the peak', () => {
    const meter = new MemoryMeter();
    const a = filled(10, 10);
    const shared = [tf.reshape(a, [100]), a.clone(), tf.expandDims(a, 0)];
    expect(meter.bytes).toBe(400);
    const peak = meter.peakOf(() => tf.tidy(() => void tf.add(tf.add(a, 1), 1)));
    // Both sums and the second one's constant.
    expect(peak).toBe(800 + 4);
    a.dispose();
    expect(meter.bytes).toBe(400);
    tf.dispose(shared);
    expect(meter.bytes).toBe(0);
    expect(() => new MemoryMeter()).toThrow('no other meter');
    meter.stop();
  });

  it('sees of a gradient the same on the shape engine as on one that computes', () => {
    const measure = () => {
      const meter = new MemoryMeter();
      const peak = meter.peakOf(() =>
        tf.tidy(() => {
          const w = filled(3, 3, 4, 8) as tf.Tensor4D;
          const x = filled(2, 16, 16, 4) as tf.Tensor4D;
          const { value } = valueAndGradients(() => tf.mean(tf.square(tf.relu(tf.conv2d(x, w, 1, 'same')))), [w]);
          value.dataSync();
        }),
      );
      meter.stop();
      return peak;
    };
    const [shapes, computed] = [withShapeEngine(measure), measure()];
    expect(shapes).toBeGreaterThan(2 * 16 * 16 * 8 * 4);
    expect(Math.abs(shapes / computed - 1)).toBeLessThan(0.02);
  });
});
