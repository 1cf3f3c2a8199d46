import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import '@tensorflow/tfjs-backend-cpu';
import { convolutionLayout, linearLayout, NamedTensor } from './parameter.js';

const count = (shape: readonly number[]) => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);

describe('layouts', () => {
  it.each([[[17, 33, 3, 3]], [[16, 16, 1, 1]], [[1, 40, 3, 3]], [[2, 1, 1, 5]]])(
    'OIHW %j is HWIO in the engine, and comes back',
    (shape) => {
      const tensor = new NamedTensor('w', shape, convolutionLayout(shape));
      const data = count(shape);
      tensor.load(data);
      const expected = tf.tidy(() => tf.transpose(tf.tensor(data, shape), [2, 3, 1, 0]));
      expect(tensor.value.shape).toEqual(expected.shape);
      expect(tensor.value.dataSync()).toEqual(expected.dataSync());
      expect(tensor.read()).toEqual(data);
      tf.dispose([expected]);
      tensor.dispose();
    },
  );

  it.each([[[17, 33]], [[1, 64]], [[50, 1]]])('[out, in] %j is [in, out] in the engine, and comes back', (shape) => {
    const tensor = new NamedTensor('w', shape, linearLayout(shape));
    const data = count(shape);
    tensor.load(data);
    const [outputs, inputs] = shape as [number, number];
    const values = tensor.value.dataSync();
    for (let i = 0; i < inputs; i++) for (let o = 0; o < outputs; o++) expect(values[i * outputs + o]).toBe(o * inputs + i);
    expect(tensor.read()).toEqual(data);
    tensor.dispose();
  });
});
