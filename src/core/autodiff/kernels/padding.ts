/**
 * `tensorflow` knows only the paddings 'same' and 'valid' in most of its kernels. Networks from PyTorch need
 * numbers: there the image is framed and the kernel run with 'valid'. Where a fused operation of ours does the whole, it does.
 */
import * as tf from '@tensorflow/tfjs-core';
import { fusedDepthwise, fusedMaxPoolGrad } from '../../native/windows.js';
import { windowCorrection } from './avg-pool-grad.js';
import { composed, frame, type ComposedKernel } from './kernel.js';
import { pointwise, pointwiseBackpropFilter, pointwiseBackpropInput } from '../../native/pointwise.js';
import { winograd, winogradBackpropFilter, winogradBackpropInput } from '../../native/winograd.js';
import { oneDnnConv2D, oneDnnConv2DBackpropFilter, oneDnnConv2DBackpropInput } from './onednn.js';

type Shape4D = [number, number, number, number];

interface Frame {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

const isNamed = (pad: unknown) => typeof pad === 'string';

const put = (x: tf.Tensor, { top, bottom, left, right }: Frame, value = 0) => frame(x as tf.Tensor4D, top, bottom, left, right, value);
const cut = (x: tf.Tensor, { top, bottom, left, right }: Frame) => frame(x as tf.Tensor4D, -top, -bottom, -left, -right);
const framedShape = ([B, H, W, C]: number[], { top, bottom, left, right }: Frame) => [B!, H! + top + bottom, W! + left + right, C!];

const convFrame = (
  inputShape: number[],
  filterShape: number[],
  { strides, dilations = 1, pad, dimRoundingMode }: any,
  depthwise: boolean,
): Frame =>
  tf.backend_util.computeConv2DInfo(inputShape as Shape4D, filterShape as Shape4D, strides, dilations, pad, dimRoundingMode, depthwise)
    .padInfo;

const poolFrame = (inputShape: number[], { filterSize, strides, pad, dimRoundingMode }: any): Frame =>
  tf.backend_util.computePool2DInfo(inputShape as Shape4D, filterSize, strides, 1, pad, dimRoundingMode).padInfo;

/** The depthwise convolution (or, with `inputShape`, its gradient for the images) by our fused operation; undefined where it cannot. */
function depthwiseInOnePass(
  x: tf.Tensor,
  filter: tf.Tensor,
  { strides, dilations = 1, pad, dimRoundingMode, dataFormat = 'NHWC' }: any,
  inputShape?: number[],
): tf.Tensor | undefined {
  if ([dilations].flat().some((d: number) => d !== 1) || dataFormat !== 'NHWC') return undefined;
  const info = tf.backend_util.computeConv2DInfo(
    (inputShape ?? x.shape) as Shape4D,
    filter.shape as Shape4D,
    strides,
    1,
    pad,
    dimRoundingMode,
    true,
  );
  const { strideHeight, strideWidth, padInfo } = info;
  const size = inputShape ? ([info.inHeight, info.inWidth] as const) : ([info.outHeight, info.outWidth] as const);
  const geometry = { strideHeight, strideWidth, top: padInfo.top, left: padInfo.left };
  return fusedDepthwise(x, filter, geometry, size, inputShape !== undefined);
}

/** Height and width of windows that touch but do not overlap, without padding; undefined for others. */
export function touchingWindows(inputShape: number[], { filterSize, strides, pad, dimRoundingMode }: any): [number, number] | undefined {
  const info = tf.backend_util.computePool2DInfo(inputShape as Shape4D, filterSize, strides, 1, pad, dimRoundingMode);
  const { top, bottom, left, right } = info.padInfo;
  const touching = info.strideHeight === info.filterHeight && info.strideWidth === info.filterWidth;
  return touching && top + bottom + left + right === 0 ? [info.filterHeight, info.filterWidth] : undefined;
}

const valid = (attrs: object) => ({ ...attrs, pad: 'valid', dimRoundingMode: undefined });

/** With the name of the padding where its numbers come to the same: nothing needs to be framed then. */
function named(inputShape: number[], filterShape: number[], attrs: any, depthwise: boolean): any {
  if (isNamed(attrs.pad)) return attrs;
  const { strides, dilations = 1 } = attrs;
  const { top, bottom, left, right } = convFrame(inputShape, filterShape, attrs, depthwise);
  for (const pad of ['valid', 'same'] as const) {
    const other = convFrame(inputShape, filterShape, { strides, dilations, pad }, depthwise);
    if (other.top === top && other.bottom === bottom && other.left === left && other.right === right)
      return { ...attrs, pad, dimRoundingMode: undefined };
  }
  return attrs;
}

const convolutions = (prefix: string, forward: string, depthwise: boolean): ComposedKernel[] => [
  composed('tensorflow', forward, ({ x, filter }, given, stock) => {
    const quick = depthwise ? depthwiseInOnePass(x!, filter!, given) : undefined;
    if (quick) return quick;
    const attrs = named(x!.shape, filter!.shape, given, depthwise);
    const run = (images: tf.Tensor, how: any) =>
      (depthwise ? undefined : (pointwise(images, filter!, how) ?? winograd(images, filter!, how) ?? oneDnnConv2D(images, filter!, how))) ??
      stock({ x: images, filter: filter! }, how);
    return isNamed(attrs.pad) ? run(x!, attrs) : run(put(x!, convFrame(x!.shape, filter!.shape, attrs, depthwise)), valid(attrs));
  }),
  composed('tensorflow', `${prefix}BackpropInput`, ({ dy, filter }, given, stock) => {
    const quick = depthwise ? depthwiseInOnePass(dy!, filter!, given, given.inputShape) : undefined;
    if (quick) return quick;
    const attrs = named(given.inputShape, filter!.shape, given, depthwise);
    const run = (how: any) =>
      (depthwise
        ? undefined
        : (pointwiseBackpropInput(dy!, filter!, how) ??
          winogradBackpropInput(dy!, filter!, how) ??
          oneDnnConv2DBackpropInput(dy!, filter!, how))) ?? stock({ dy: dy!, filter: filter! }, how);
    if (isNamed(attrs.pad)) return run(attrs);
    const around = convFrame(attrs.inputShape, filter!.shape, attrs, depthwise);
    return cut(run({ ...valid(attrs), inputShape: framedShape(attrs.inputShape, around) }), around);
  }),
  composed('tensorflow', `${prefix}BackpropFilter`, ({ x, dy }, given, stock) => {
    const attrs = named(x!.shape, given.filterShape, given, depthwise);
    const run = (images: tf.Tensor, how: any) =>
      (depthwise
        ? undefined
        : (pointwiseBackpropFilter(images, dy!, how) ??
          winogradBackpropFilter(images, dy!, how) ??
          oneDnnConv2DBackpropFilter(images, dy!, how))) ?? stock({ x: images, dy: dy! }, how);
    return isNamed(attrs.pad) ? run(x!, attrs) : run(put(x!, convFrame(x!.shape, attrs.filterShape, attrs, depthwise)), valid(attrs));
  }),
];

export const paddings: ComposedKernel[] = [
  ...convolutions('Conv2D', 'Conv2D', false),
  ...convolutions('DepthwiseConv2dNative', 'DepthwiseConv2dNative', true),
  composed('tensorflow', 'MaxPool', ({ x }, attrs, stock) =>
    isNamed(attrs.pad) ? stock({ x: x! }, attrs) : stock({ x: put(x!, poolFrame(x!.shape, attrs), -Infinity) }, valid(attrs)),
  ),
  composed('tensorflow', 'MaxPoolGrad', ({ dy, input, output }, attrs, stock) => {
    const windows = touchingWindows(input!.shape, attrs);
    const quick = windows && fusedMaxPoolGrad(dy!, input!, output!, windows);
    if (quick) return quick;
    if (isNamed(attrs.pad)) return stock({ dy: dy!, input: input!, output: output! }, attrs);
    const around = poolFrame(input!.shape, attrs);
    return cut(stock({ dy: dy!, input: put(input!, around, -Infinity), output: output! }, valid(attrs)), around);
  }),
  composed('tensorflow', 'AvgPool', ({ x }, attrs, stock) => {
    if (isNamed(attrs.pad)) return stock({ x: x! }, attrs);
    const sums = stock({ x: put(x!, poolFrame(x!.shape, attrs)) }, valid(attrs));
    const correction = windowCorrection(x!.shape, attrs);
    return correction ? tf.mul(sums, correction) : sums;
  }),
  composed('tensorflow', 'AvgPoolGrad', ({ dy, input }, attrs, stock) => {
    if (isNamed(attrs.pad)) return stock({ dy: dy!, input: input! }, attrs);
    const around = poolFrame(input!.shape, attrs);
    const correction = windowCorrection(input!.shape, attrs);
    return cut(stock({ dy: correction ? tf.mul(dy!, correction) : dy!, input: put(input!, around) }, valid(attrs)), around);
  }),
];
