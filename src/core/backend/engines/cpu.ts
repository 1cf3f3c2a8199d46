/**
 * TensorFlow.js in plain JavaScript: slower than `tensorflow` by a factor of about a hundred, for small tests only.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.js';

export const cpuEngine: Engine = {
  name: 'cpu',
  automatic: false,
  async open() {
    const { version_cpu: version } = await import('@tensorflow/tfjs-backend-cpu');
    // Else the first tensor prints a banner.
    (tf.findBackend('cpu') as unknown as { firstUse: boolean }).firstUse = false;
    await tf.setBackend('cpu');
    return { description: `TensorFlow.js ${version} in plain JavaScript, 1 thread`, version, threads: 1, gpu: undefined };
  },
};
