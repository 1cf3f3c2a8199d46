/** The kernels that a function runs, from outside. */
import * as tf from '@tensorflow/tfjs-core';

export interface Kernel {
  kernelName?: string;
  inputs?: Record<string, tf.Tensor | undefined>;
  attrs?: object;
}

/** Runs `f`; every kernel goes through `around`, which runs it by `run()`. Kernels may run others. */
export function observeKernels(f: () => void, around: (kernel: Kernel, run: () => unknown) => unknown): void {
  const engine = tf.engine() as unknown as { runKernelFunc(kernel: Kernel): unknown };
  const original = engine.runKernelFunc;
  engine.runKernelFunc = (kernel) => around(kernel, () => original.call(engine, kernel));
  try {
    f();
  } finally {
    engine.runKernelFunc = original;
  }
}
