import * as tf from '@tensorflow/tfjs-core';
import { installKernel } from './kernels/kernel.js';
import { kernels } from './kernels/index.js';
import { rules } from './rules/index.js';
import { repairTape } from './tape.js';

/**
 * Registers the differentiation rules and kernels that TensorFlow.js lacks, and repairs its tape.
 *
 * Cheap when nothing is to be done, and called by every gradient function of this package. An engine that is loaded
 * later brings rules and kernels of its own; the next call puts ours back.
 */
export function installAutodiff(): void {
  repairTape();
  const [sentinel] = rules;
  if (tf.getGradient(sentinel!.kernelName)?.gradFunc !== sentinel!.gradFunc)
    for (const rule of rules) tf.registerGradient(rule as unknown as tf.GradConfig);
  kernels.forEach(installKernel);
}
