/** The stock kernels of `tensorflow` are slow for rows of few channels, and to wake up; ours go along them, by threads that are awake. */
import * as tf from '@tensorflow/tfjs-core';
import { fusedConcat, fusedSlice, fusedSum } from '../../native/channels.js';
import { fusedAdd } from '../../native/residual.js';
import { composed, type ComposedKernel } from './kernel.js';

export const channels: ComposedKernel[] = [
  composed('tensorflow', 'Add', ({ a, b }, attrs, stock) => fusedAdd(a!, b!) ?? stock({ a: a!, b: b! }, attrs)),
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
