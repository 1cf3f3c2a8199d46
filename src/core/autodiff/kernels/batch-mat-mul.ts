/**
 * The stock kernel of `wasm` packs a single matrix `b` once and finds the packed form again by b's data alone: the same
 * data seen with another shape, as after a reshape, is read as the first shape and gives garbage.
 */
import * as tf from '@tensorflow/tfjs-core';
import { composed } from './kernel.js';

/** The form in which each data was packed first. */
const packedAs = new WeakMap<object, string>();

export const batchMatMul = composed('wasm', 'BatchMatMul', ({ a, b }, attrs, stock) => {
  const form = `${b!.shape.join()} ${JSON.stringify(attrs)}`;
  const first = packedAs.get(b!.dataId);
  if (first === undefined) packedAs.set(b!.dataId, form);
  if (first === undefined || first === form) return stock({ a: a!, b: b! }, attrs);
  // A slice is a copy, and a copy has data of its own.
  const zeros = b!.shape.map(() => 0);
  return stock({ a: a!, b: tf.slice(b!, zeros, b!.shape) }, attrs);
});
