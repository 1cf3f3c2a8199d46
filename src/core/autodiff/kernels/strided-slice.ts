/** The stock kernels of `cpu` and `wasm` read wrong elements where an axis is taken away and another has a stride. */
import * as tf from '@tensorflow/tfjs-core';
import { composed } from './kernel.js';

export const stridedSlices = ['cpu', 'wasm'].map((engine) =>
  composed(engine, 'StridedSlice', ({ x }, attrs, stock) => {
    const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attrs;
    if (!shrinkAxisMask || strides.some((stride: number) => stride < 0)) return stock({ x: x! }, attrs);
    const info = tf.slice_util.sliceInfo(x!.shape, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask);
    const plain = {
      begin: info.begin,
      end: info.end,
      strides: info.strides,
      beginMask: 0,
      endMask: 0,
      ellipsisMask: 0,
      newAxisMask: 0,
      shrinkAxisMask: 0,
    };
    return tf.reshape(stock({ x: x! }, plain), info.finalShape);
  }),
);
