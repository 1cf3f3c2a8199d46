/** The stock kernel of `wasm` copies the values; every tensor saved for a gradient goes through it. */
import * as tf from '@tensorflow/tfjs-core';
import { composed } from './kernel.js';

export const identity = composed('wasm', 'Identity', ({ x }, attrs, stock) => {
  if (x!.dtype === 'string') return stock({ x: x! }, attrs);
  const { dataId, shape, dtype } = x!;
  tf.backend().incRef(dataId);
  return tf.engine().makeTensorFromTensorInfo({ dataId, shape, dtype });
});
