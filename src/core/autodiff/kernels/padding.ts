/**
 * `tensorflow` knows only the paddings 'same' and 'valid' in most of its kernels. Networks from PyTorch need
 * numbers: there the image is framed and the kernel run with 'valid'. Where a fused operation of ours does the whole, it does.
 */
import * as tf from '@tensorflow/tfjs-core';
import { fusedDepthwise, fusedMaxPoolGrad } from '../../native/windows.js';
import { windowCorrection } from './avg-pool-grad.js';
import { composed, frame, type ComposedKernel } from './kernel.js';

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

const convolutions = (prefix: string, forward: string, depthwise: boolean): ComposedKernel[] => [
  composed('tensorflow', forward, ({ x, filter }, attrs, stock) => {
    const quick = depthwise ? depthwiseInOnePass(x!, filter!, attrs) : undefined;
    if (quick) return quick;
    if (isNamed(attrs.pad)) return stock({ x: x!, filter: filter! }, attrs);
    return stock({ x: put(x!, convFrame(x!.shape, filter!.shape, attrs, depthwise)), filter: filter! }, valid(attrs));
  }),
  composed('tensorflow', `${prefix}BackpropInput`, ({ dy, filter }, attrs, stock) => {
    const quick = depthwise ? depthwiseInOnePass(dy!, filter!, attrs, attrs.inputShape) : undefined;
    if (quick) return quick;
    if (isNamed(attrs.pad)) return stock({ dy: dy!, filter: filter! }, attrs);
    const around = convFrame(attrs.inputShape, filter!.shape, attrs, depthwise);
    return cut(stock({ dy: dy!, filter: filter! }, { ...valid(attrs), inputShape: framedShape(attrs.inputShape, around) }), around);
  }),
  composed('tensorflow', `${prefix}BackpropFilter`, ({ x, dy }, attrs, stock) => {
    if (isNamed(attrs.pad)) return stock({ x: x!, dy: dy! }, attrs);
    return stock({ x: put(x!, convFrame(x!.shape, attrs.filterShape, attrs, depthwise)), dy: dy! }, valid(attrs));
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
