/**
 * Calls the fused TensorFlow operations (`*.cc` in this folder), where they are loaded.
 */
import * as tf from '@tensorflow/tfjs-core';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

interface Attribute {
  name: string;
  type: number;
  value: number | boolean | readonly number[];
}

interface TensorflowBackend {
  binding: Record<'TF_ATTR_INT' | 'TF_ATTR_FLOAT' | 'TF_ATTR_BOOL', number>;
  executeMultipleOutputs(name: string, attributes: Attribute[], inputs: tf.Tensor[], outputs: number): tf.Tensor[];
}

export interface FusedAttributes {
  integers?: Record<string, number | readonly number[]>;
  floats?: Record<string, number>;
  flags?: Record<string, boolean>;
}

export const NOT_BUILT = 'not built';

let loaded = false;
let enabled = true;

/**
 * Loads the addon, after the binding, and lets one operation use `threads` threads. Returns why it cannot be loaded;
 * undefined: it is.
 */
export function loadFused(path: string, threads: number): string | undefined {
  if (!existsSync(path)) return NOT_BUILT;
  try {
    (createRequire(import.meta.url)(path) as { start(threads: number): void }).start(threads);
    loaded = true;
    return undefined;
  } catch (error) {
    return `do not load: ${(error as Error).message.split('\n')[0]}`;
  }
}

/** True where fused operations will take these tensors; the engine must be `tensorflow`. */
export const canFuse = (tensors: readonly (tf.Tensor | undefined)[]): boolean =>
  loaded && enabled && tensors.every((tensor) => tensor === undefined || tensor.dtype === 'float32');

/** The outputs of the operation `name`. */
export function runFused(
  name: string,
  inputs: tf.Tensor[],
  { integers = {}, floats = {}, flags = {} }: FusedAttributes,
  outputs: number,
): tf.Tensor[] {
  const backend = tf.backend() as unknown as TensorflowBackend;
  const { TF_ATTR_INT, TF_ATTR_FLOAT, TF_ATTR_BOOL } = backend.binding;
  const typed = (values: Record<string, number | boolean | readonly number[]>, type: number) =>
    Object.entries(values).map(([attribute, value]) => ({ name: attribute, type, value }));
  const attributes = [...typed(integers, TF_ATTR_INT), ...typed(floats, TF_ATTR_FLOAT), ...typed(flags, TF_ATTR_BOOL)];
  return backend.executeMultipleOutputs(name, attributes, inputs, outputs);
}

/** For tests and measurements: what `body` returns, computed without fused operations. */
export function withoutFused<T>(body: () => T): T {
  const before = enabled;
  enabled = false;
  try {
    return body();
  } finally {
    enabled = before;
  }
}
