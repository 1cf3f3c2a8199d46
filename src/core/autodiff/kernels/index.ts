import { avgPoolGrads } from './avg-pool-grad.js';
import { batchMatMul } from './batch-mat-mul.js';
import { channels } from './channels.js';
import { conv2DBackpropFilter } from './conv2d-backprop-filter.js';
import { conv2DBackpropInput } from './conv2d-backprop-input.js';
import { depthwiseBackpropFilter, depthwiseBackpropInput } from './depthwise-backprop.js';
import { identity } from './identity.js';
import type { ComposedKernel } from './kernel.js';
import { paddings } from './padding.js';
import { reshape } from './reshape.js';
import { step } from './step.js';
import { stridedSlices } from './strided-slice.js';

/** Every kernel of ours that an engine lacks or has only in a slow or faulty form. */
export const kernels: ComposedKernel[] = [
  batchMatMul,
  ...channels,
  conv2DBackpropFilter,
  conv2DBackpropInput,
  depthwiseBackpropFilter,
  depthwiseBackpropInput,
  ...avgPoolGrads,
  ...stridedSlices,
  ...paddings,
  identity,
  reshape,
  step,
];
