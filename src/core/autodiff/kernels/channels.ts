/** The stock kernels of `tensorflow` are slow for rows of few channels; ours go along them. */
import * as tf from '@tensorflow/tfjs-core';
import { fusedConcat, fusedSlice, fusedSum } from '../../native/channels.js';
import { composed, type ComposedKernel } from './kernel.js';

export const channels: ComposedKernel[] = [
  composed('tensorflow', 'Concat', (inputs, attrs, stock) => {
    const parts = Object.values(inputs);
    const [axis] = tf.util.parseAxisParam(attrs.axis as number, parts[0]!.shape);
    return fusedConcat(parts, axis!) ?? stock(inputs, attrs);
  }),
  composed('tensorflow', 'Slice', ({ x }, attrs, stock) => {
    const [begin, size] = tf.slice_util.parseSliceParams(x!, attrs.begin as number[], attrs.size as number[]) as [number[], number[]];
    return fusedSlice(x!, begin, size) ?? stock({ x: x! }, attrs);
  }),
  composed('tensorflow', 'Sum', ({ x }, attrs, stock) => {
    const axes = tf.util.parseAxisParam(attrs.axis as number[], x!.shape);
    return fusedSum(x!, axes, attrs.keepDims as boolean) ?? stock({ x: x! }, attrs);
  }),
];
