import * as tf from '@tensorflow/tfjs-core';
import { registerKernelQuietly } from './define-kernel.js';
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
  if (tf.getGradient('Sum')?.gradFunc !== rules.find((rule) => rule.kernelName === 'Sum')!.gradFunc)
    for (const rule of rules) tf.registerGradient(rule as unknown as tf.GradConfig);
  for (const kernel of kernels)
    // Without the engine's own kernels it is not loaded yet, and would complain about ours.
    if (tf.getKernel('Conv2D', kernel.backendName) && tf.getKernel(kernel.kernelName, kernel.backendName) !== kernel) registerKernelQuietly(kernel);
}
