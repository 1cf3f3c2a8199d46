import type { KernelConfig } from '@tensorflow/tfjs-core';

/** Every kernel of ours that an engine lacks or has only in a slow form. */
export const kernels: KernelConfig[] = [];
