/** Run in a process of its own: opens the engine that the first argument describes and prints what came of it as JSON. */
import * as tf from '@tensorflow/tfjs-core';
import { openBackend } from '../../src/core/backend/index.js';
import type { OnestepError } from '../../src/core/errors.js';

try {
  const backend = await openBackend(JSON.parse(process.argv[2] ?? '{}') as Parameters<typeof openBackend>[0]);
  const product = [...tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]])).dataSync()]; // prettier-ignore
  const listeners = process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection');
  console.log(JSON.stringify({ ...backend, current: tf.getBackend(), product, listeners }));
} catch (error) {
  const { code, message, help } = error as OnestepError;
  console.log(JSON.stringify({ code, message, help }));
}
