/** Floating-point operations of a job. */
import * as tf from '@tensorflow/tfjs-core';
import { observeKernels } from './kernels.js';

type Rule = (inputs: Record<string, tf.Tensor>, attrs: Record<string, unknown>, output: tf.Tensor) => number;

const size = (shape: readonly number[]) => tf.util.sizeFromShape([...shape]);

/** A convolution takes all taps and input channels for a value of its output, or of the gradient that comes back to it. */
const dense = (filter: readonly number[]) => size(filter) / filter.at(-1)!;
/** A depthwise one takes the taps. */
const taps = (filter: readonly number[]) => filter[0]! * filter[1]!;

type Share = (filter: readonly number[]) => number;
const forward =
  (share: Share): Rule =>
  ({ filter }, _, output) =>
    output.size * share(filter!.shape);
const toImages =
  (share: Share): Rule =>
  ({ dy, filter }) =>
    dy!.size * share(filter!.shape);
const toFilter =
  (share: Share): Rule =>
  ({ dy }, { filterShape }) =>
    dy!.size * share(filterShape as number[]);
const product: Rule = ({ a }, { transposeA }, output) => output.size * a!.shape.at(transposeA ? -2 : -1)!;

/** Multiplications of the direct sum. */
const rules: Readonly<Record<string, Rule>> = {
  Conv2D: forward(dense),
  FusedConv2D: forward(dense),
  Conv2DBackpropInput: toImages(dense),
  Conv2DBackpropFilter: toFilter(dense),
  DepthwiseConv2dNative: forward(taps),
  DepthwiseConv2dNativeBackpropInput: toImages(taps),
  DepthwiseConv2dNativeBackpropFilter: toFilter(taps),
  BatchMatMul: product,
  _FusedMatMul: product,
};

/**
 * Two for every multiplication of the convolutions and products of matrices that `f` runs, as the direct sum has them: Winograd's
 * convolutions do with fewer. All else, which is a small part, is not counted.
 */
export function countOperations(f: () => void): number {
  let multiplications = 0;
  let inside = false;
  observeKernels(f, ({ kernelName = '', inputs = {}, attrs = {} }, run) => {
    const rule = rules[kernelName];
    // What a counted kernel is composed of is counted already.
    if (!rule || inside) return run();
    inside = true;
    try {
      const output = run();
      multiplications += rule(inputs as Record<string, tf.Tensor>, attrs as Record<string, unknown>, [output].flat()[0] as tf.Tensor);
      return output;
    } finally {
      inside = false;
    }
  });
  return 2 * multiplications;
}
