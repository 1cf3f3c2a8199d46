/** Reads the golden vectors: NCHW files to NHWC tensors. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { readSafetensors } from '../../src/core/safetensors.js';
import type { TensorFile } from '../../src/core/tensor-file.js';

export const goldenPath = (name: string) => fileURLToPath(new URL(`../golden/${name}`, import.meta.url));

export const goldenJson = <T>(name: string) => JSON.parse(readFileSync(goldenPath(name), 'utf8')) as T;

export const openGolden = (name: string) => readSafetensors(goldenPath(name));

/** A tensor of any rank, NCHW turned to NHWC where it has four axes. */
export async function goldenTensor(file: TensorFile, name: string): Promise<tf.Tensor> {
  const { shape } = file.tensors.get(name)!;
  const tensor = tf.tensor(await file.readAsFloat32(name), [...shape]);
  return shape.length === 4 ? tf.transpose(tensor, [0, 2, 3, 1]) : tensor;
}
