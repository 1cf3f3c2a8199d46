/** Convolutions: each of forward, input gradient and filter gradient is linear in both of its tensors. */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../../errors.js';
import { rule, type Rule } from './rule.js';

type Tensor4D = tf.Tensor4D;

function undilated(where: string, dilations: number | number[] | undefined): void {
  if ([dilations ?? 1].flat().some((d) => d !== 1))
    throw new ArgumentError('E_VALUE', `${where}: no gradient with dilations [${String(dilations)}]`, {
      help: 'dilate the filter itself with zeros',
    });
}

// The operations conv2DBackpropFilter and -Input are not public; their kernels are.
const filterGradient = (
  x: tf.Tensor,
  dy: tf.Tensor,
  filterShape: number[],
  strides: unknown,
  pad: unknown,
  dataFormat: unknown,
  dimRoundingMode?: unknown,
): tf.Tensor =>
  tf.engine().runKernel('Conv2DBackpropFilter', { x, dy }, {
    strides,
    pad,
    dataFormat,
    dimRoundingMode,
    filterShape,
  } as unknown as tf.NamedAttrMap) as tf.Tensor;

const inputGradient = (
  inputShape: number[],
  dy: tf.Tensor,
  filter: tf.Tensor,
  strides: unknown,
  pad: unknown,
  dataFormat: unknown,
  dimRoundingMode?: unknown,
): tf.Tensor =>
  tf.engine().runKernel('Conv2DBackpropInput', { dy, filter }, {
    strides,
    pad,
    dataFormat,
    dimRoundingMode,
    inputShape,
  } as unknown as tf.NamedAttrMap) as tf.Tensor;

const conv = (x: tf.Tensor, filter: tf.Tensor, { strides, pad, dataFormat, dimRoundingMode }: any): tf.Tensor =>
  tf.conv2d(x as Tensor4D, filter as Tensor4D, strides, pad, dataFormat, 1, dimRoundingMode);

const depthwise = (x: tf.Tensor, filter: tf.Tensor, { strides, pad, dimRoundingMode }: any): tf.Tensor =>
  tf.depthwiseConv2d(x as Tensor4D, filter as Tensor4D, strides, pad, 'NHWC', 1, dimRoundingMode);

const depthwiseAttrs = ({ strides, pad, dimRoundingMode }: any, shape: object) =>
  ({ strides, pad, dimRoundingMode, dilations: [1, 1], ...shape }) as unknown as tf.NamedAttrMap;

const depthwiseInputGradient = (inputShape: number[], dy: tf.Tensor, filter: tf.Tensor, attrs: any): tf.Tensor =>
  tf.engine().runKernel('DepthwiseConv2dNativeBackpropInput', { dy, filter }, depthwiseAttrs(attrs, { inputShape })) as tf.Tensor;

const depthwiseFilterGradient = (x: tf.Tensor, dy: tf.Tensor, filterShape: number[], attrs: any): tf.Tensor =>
  tf.engine().runKernel('DepthwiseConv2dNativeBackpropFilter', { x, dy }, depthwiseAttrs(attrs, { filterShape })) as tf.Tensor;

export const convolution: Rule[] = [
  rule(
    'Conv2D',
    (dy, [x, filter], { strides, pad, dataFormat, dilations, dimRoundingMode }, inputs) => {
      undilated('conv2d', dilations);
      return {
        x: () => inputGradient(inputs.x!.shape, dy, filter!, strides, pad, dataFormat, dimRoundingMode),
        filter: () => filterGradient(x!, dy, inputs.filter!.shape, strides, pad, dataFormat, dimRoundingMode),
      };
    },
    { inputsToSave: ['x', 'filter'], needs: { x: ['filter'], filter: ['x'] } },
  ),
  rule(
    'Conv2DBackpropInput',
    (ddx, [dy, filter], attrs, inputs) => ({
      dy: () => conv(ddx, filter!, attrs),
      filter: () => filterGradient(ddx, dy!, inputs.filter!.shape, attrs.strides, attrs.pad, attrs.dataFormat, attrs.dimRoundingMode),
    }),
    { inputsToSave: ['dy', 'filter'], needs: { dy: ['filter'], filter: ['dy'] } },
  ),
  rule(
    'Conv2DBackpropFilter',
    (ddw, [x, dy], attrs, inputs) => ({
      x: () => inputGradient(inputs.x!.shape, dy!, ddw, attrs.strides, attrs.pad, attrs.dataFormat, attrs.dimRoundingMode),
      dy: () => conv(x!, ddw, attrs),
    }),
    { inputsToSave: ['x', 'dy'], needs: { x: ['dy'], dy: ['x'] } },
  ),

  rule(
    'DepthwiseConv2dNative',
    (dy, [x, filter], attrs, inputs) => {
      undilated('depthwiseConv2d', attrs.dilations);
      return {
        x: () => depthwiseInputGradient(inputs.x!.shape, dy, filter!, attrs),
        filter: () => depthwiseFilterGradient(x!, dy, inputs.filter!.shape, attrs),
      };
    },
    { inputsToSave: ['x', 'filter'], needs: { x: ['filter'], filter: ['x'] } },
  ),
  rule(
    'DepthwiseConv2dNativeBackpropInput',
    (ddx, [dy, filter], attrs, inputs) => ({
      dy: () => depthwise(ddx, filter!, attrs),
      filter: () => depthwiseFilterGradient(ddx, dy!, inputs.filter!.shape, attrs),
    }),
    { inputsToSave: ['dy', 'filter'], needs: { dy: ['filter'], filter: ['dy'] } },
  ),
  rule(
    'DepthwiseConv2dNativeBackpropFilter',
    (ddw, [x, dy], attrs, inputs) => ({
      x: () => depthwiseInputGradient(inputs.x!.shape, dy!, ddw, attrs),
      dy: () => depthwise(x!, ddw, attrs),
    }),
    { inputsToSave: ['x', 'dy'], needs: { x: ['dy'], dy: ['x'] } },
  ),
];
