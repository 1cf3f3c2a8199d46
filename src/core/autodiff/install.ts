import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs-core';
import { repairTape } from './tape.js';

let installed = false;

/** Registers the gradients and kernels that TensorFlow.js lacks. Does nothing the second time. */
export function installAutodiff(): void {
  if (installed) return;
  installed = true;
  if (!tf.getGradient('Sum')) createRequire(import.meta.url)('@tensorflow/tfjs');
  repairTape();
}
