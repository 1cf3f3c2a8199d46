/** For the tests of this folder: the engines of this machine, finite differences, reproducible values. */
import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';
import { installAutodiff } from './index.js';

function loadTensorflow(): string | undefined {
  try {
    createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu');
    return undefined;
  } catch (error) {
    return `the native TensorFlow binding does not load: ${(error as Error).message.split('\n')[0]}`;
  }
}

const absent = loadTensorflow();
installAutodiff();

/** Every engine, with the reason why it cannot be tested here. */
export const engines: { engine: string; skip: string | undefined }[] = [
  { engine: 'tensorflow', skip: absent },
  { engine: 'wasm', skip: undefined },
  { engine: 'cpu', skip: undefined },
];
for (const { engine, skip } of engines) if (skip) console.log(`engine ${engine} skipped: ${skip}`);

/** Uniform values in [-1, 1) that depend on the seed only. */
export function values(size: number, seed = 1): Float32Array {
  let state = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

export const random = (shape: number[], seed = 1, scale = 1): tf.Tensor =>
  tf.tensor(
    values(tf.util.sizeFromShape(shape), seed).map((v) => v * scale),
    shape,
  );

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
