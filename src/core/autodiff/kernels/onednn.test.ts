import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { engines, useEngine } from '../../../../test/support/engines.js';
import { executeTensorflow } from '../native.js';
import { hasOneDnn, oneDnnConv2D, oneDnnConv2DBackpropFilter, oneDnnConv2DBackpropInput } from './onednn.js';

describe.runIf(engines.includes('tensorflow'))('convolutions by oneDNN', () => {
  beforeAll(() => useEngine('tensorflow'));

  it.runIf(process.arch === 'x64')('are there', () => expect(hasOneDnn()).toBe(true));

  it.each([
    [9, 3, 1, 'same'],
    [9, 3, 2, 'same'],
    [8, 3, 2, 'same'],
    [10, 4, 2, 'same'],
    [10, 3, 2, 'valid'], // a row and a column are left over
    [11, 2, 3, 'valid'],
    [9, 4, 1, 'valid'],
  ] as const)("and their gradients are TensorFlow's: size %d, kernel %d, stride %d, %s", (size, kernel, stride, pad) => {
    const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
    const [x, filter] = [normal([2, size, size, 16], 1), normal([kernel, kernel, 16, 12], 2)];
    const attrs = { strides: [stride, stride], pad };
    const stock = { strides: [1, stride, stride, 1], padding: pad.toUpperCase() };
    const agree = (ours: tf.Tensor | undefined, theirs: tf.Tensor) => {
      expect(ours!.shape).toEqual(theirs.shape);
      expect(ours!.dataSync()).toBeAllclose(theirs.dataSync(), { rtol: 1e-5, atol: 1e-4 });
    };
    const y = executeTensorflow('Conv2D', [x, filter], stock);
    agree(oneDnnConv2D(x, filter, attrs), y);
    const dy = normal(y.shape, 3);
    const [xShape, filterShape] = [tf.tensor1d(x.shape, 'int32'), tf.tensor1d(filter.shape, 'int32')];
    agree(
      oneDnnConv2DBackpropInput(dy, filter, { ...attrs, inputShape: x.shape }),
      executeTensorflow('Conv2DBackpropInput', [xShape, filter, dy], stock),
    );
    if (kernel >= stride)
      agree(
        oneDnnConv2DBackpropFilter(x, dy, { ...attrs, filterShape: filter.shape }),
        executeTensorflow('Conv2DBackpropFilter', [x, filterShape, dy], stock),
      );
  });

  it('leave alone what they cannot do, or do no faster', () => {
    const [x, point, wide] = [tf.ones([1, 4, 4, 8]), tf.ones([1, 1, 8, 8]), tf.ones([3, 3, 8, 8])];
    expect(oneDnnConv2D(x, point, { strides: 1, pad: 'same' })).toBeUndefined();
    expect(oneDnnConv2D(x, wide, { strides: 1, pad: 'same', dilations: 2 })).toBeUndefined();
    expect(oneDnnConv2D(x, wide, { strides: 1, pad: 2 })).toBeUndefined();
    expect(oneDnnConv2D(x, wide, { strides: 1, pad: 'same', dataFormat: 'NCHW' })).toBeUndefined();
    // Its gradient is wrong where a stride leaves pixels out: now and then, by what lies in memory.
    expect(
      oneDnnConv2DBackpropFilter(tf.ones([2, 8, 6, 3]), tf.ones([2, 4, 3, 4]), { strides: 2, pad: 'valid', filterShape: [1, 1, 3, 4] }),
    ).toBeUndefined();
    expect(oneDnnConv2D(tf.zeros([0, 4, 4, 8]), wide, { strides: 1, pad: 'same' })).toBeUndefined();
  });

  it('leave no tensor but the result', () => {
    const [x, filter] = [tf.ones([1, 4, 4, 8]), tf.ones([3, 3, 8, 8])];
    const before = tf.memory().numTensors;
    tf.dispose([
      oneDnnConv2D(x, filter, { strides: 1, pad: 'same' })!,
      oneDnnConv2DBackpropInput(x, filter, { strides: 1, pad: 'same', inputShape: x.shape })!,
    ]);
    expect(tf.memory().numTensors).toBe(before);
  });

  // Last: oneDNN is left alone afterwards, in this process.
  it("say so once where they fail, and leave the work to TensorFlow's", () => {
    const said: string[] = [];
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
    const [x, filter] = [tf.ones([1, 4, 4, 8]), tf.ones([3, 3, 8, 8])];
    const execute = vi.spyOn(tf.backend() as unknown as { executeSingleOutput(): tf.Tensor }, 'executeSingleOutput');
    execute.mockImplementationOnce(() => {
      throw new Error('Invalid TF_Status: 10\nMessage: could not create a primitive');
    });
    try {
      expect(oneDnnConv2D(x, filter, { strides: 1, pad: 'same' })).toBeUndefined();
      expect(oneDnnConv2D(x, filter, { strides: 1, pad: 'same' })).toBeUndefined();
      expect(execute).toHaveBeenCalledTimes(1);
    } finally {
      write.mockRestore();
      execute.mockRestore();
    }
    expect(said).toHaveLength(1);
    expect(said[0]).toContain("oneDNN's Conv2D failed (Invalid TF_Status: 10)");
    expect(hasOneDnn()).toBe(false);
    expect(tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 'same').dataSync()[0]).toBe(32);
  });
});
