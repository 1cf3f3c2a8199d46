/**
 * The shape of every operation's result, from the shapes of its inputs.
 *
 * Operations are those of the `tensorflow` engine with fused operations: what these make beside their results (nothing)
 * is what is counted.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';

/** A result without values. */
export interface Shape {
  shape: readonly number[];
  dtype: tf.DataType;
}

/** Inputs by name; of operations that take a list, by index. */
export type ShapeInputs = Record<string, { shape: number[]; dtype: tf.DataType }>;

// The attributes of TensorFlow.js kernels have no types.
export type ShapeRule = (inputs: ShapeInputs, attrs: any) => Shape | Shape[];

const float = (shape: readonly number[]): Shape => ({ shape, dtype: 'float32' });
const like = ({ shape, dtype }: Shape): Shape => ({ shape, dtype });
const first = (inputs: ShapeInputs) => Object.values(inputs)[0]!;

const elementwise: ShapeRule = (inputs) => like(first(inputs));

/** Two inputs of any names, broadcast. */
const broadcast =
  (dtype?: tf.DataType): ShapeRule =>
  (inputs) => {
    const [a, b] = Object.values(inputs) as unknown as [Shape, Shape];
    return { shape: tf.broadcast_util.assertAndGetBroadcastShape([...a.shape], [...b.shape]), dtype: dtype ?? a.dtype };
  };

const reduce =
  (dtype?: tf.DataType): ShapeRule =>
  (inputs, { axis, reductionIndices, keepDims }) => {
    const x = first(inputs);
    const axes = tf.util.parseAxisParam(axis ?? reductionIndices ?? x.shape.map((_, i) => i), x.shape);
    const shape = keepDims ? x.shape.map((n, i) => (axes.includes(i) ? 1 : n)) : x.shape.filter((_, i) => !axes.includes(i));
    return { shape, dtype: dtype ?? x.dtype };
  };

const convolution =
  (depthwise: boolean): ShapeRule =>
  ({ x, filter }, { strides, pad, dataFormat, dilations, dimRoundingMode }) => {
    const format = tf.backend_util.convertConv2DDataFormat(dataFormat ?? 'NHWC');
    const info = tf.backend_util.computeConv2DInfo(
      x!.shape as [number, number, number, number],
      filter!.shape as [number, number, number, number],
      strides,
      dilations ?? 1,
      pad,
      dimRoundingMode,
      depthwise,
      format,
    );
    return float(info.outShape);
  };

const pool: ShapeRule = ({ x }, { filterSize, strides, pad, dimRoundingMode }) =>
  float(
    tf.backend_util.computePool2DInfo(x!.shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode).outShape,
  );

const padded: ShapeRule = ({ x }, { paddings }) => ({
  shape: x!.shape.map((n, i) => n + paddings[i][0] + paddings[i][1]),
  dtype: x!.dtype,
});

const product: ShapeRule = ({ a, b }, { transposeA, transposeB }) => {
  const [inner, other] = [a!.shape.at(transposeA ? -2 : -1), b!.shape.at(transposeB ? -1 : -2)];
  if (inner !== other)
    throw new ArgumentError(
      'E_SHAPE',
      `matMul: expected inner sizes that agree, got [${a!.shape.join(', ')}] and [${b!.shape.join(', ')}]`,
    );
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a!.shape.slice(0, -2), b!.shape.slice(0, -2));
  return float([...batch, a!.shape.at(transposeA ? -1 : -2)!, b!.shape.at(transposeB ? -2 : -1)!]);
};

const split: ShapeRule = ({ x }, { numOrSizeSplits, axis }) => {
  const at = tf.util.parseAxisParam(axis, x!.shape)[0]!;
  const sizes = tf.backend_util.prepareSplitSize(x as unknown as tf.Tensor, numOrSizeSplits, at);
  return sizes.map((size) => ({ shape: x!.shape.map((n, i) => (i === at ? size : n)), dtype: x!.dtype }));
};

const concat: ShapeRule = (inputs, { axis }) => {
  const list = Object.values(inputs);
  const at = tf.util.parseAxisParam(axis, list[0]!.shape)[0]!;
  return { shape: list[0]!.shape.map((n, i) => (i === at ? list.reduce((sum, x) => sum + x.shape[at]!, 0) : n)), dtype: list[0]!.dtype };
};

const stack: ShapeRule = (inputs, { axis }) => {
  const list = Object.values(inputs);
  const { shape, dtype } = list[0]!;
  const at = axis < 0 ? axis + shape.length + 1 : axis;
  return { shape: [...shape.slice(0, at), list.length, ...shape.slice(at)], dtype };
};

const unstack: ShapeRule = ({ value }, { axis }) => {
  const at = tf.util.parseAxisParam(axis, value!.shape)[0]!;
  const shape = value!.shape.filter((_, i) => i !== at);
  return Array.from({ length: value!.shape[at]! }, () => ({ shape, dtype: value!.dtype }));
};

const slice: ShapeRule = ({ x }, { begin, size }) => {
  const [, sizes] = tf.slice_util.parseSliceParams(x as unknown as tf.Tensor, begin, size);
  return { shape: sizes!, dtype: x!.dtype };
};

const stridedSlice: ShapeRule = ({ x }, attrs) => {
  const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attrs;
  const info = tf.slice_util.sliceInfo(x!.shape, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask);
  return { shape: info.finalShape, dtype: x!.dtype };
};

const gather: ShapeRule = ({ x, indices }, { axis, batchDims = 0 }) => {
  const at = tf.util.parseAxisParam(axis, x!.shape)[0]!;
  return { shape: [...x!.shape.slice(0, at), ...indices!.shape.slice(batchDims), ...x!.shape.slice(at + 1)], dtype: x!.dtype };
};

/** y, mean and 1/std of the groups. */
const groupNorm: ShapeRule = ({ x }, { groups }) => {
  const statistics = float([x!.shape[0]!, groups, 1]);
  return [like(x!), statistics, statistics];
};

const groupNormGrad: ShapeRule = ({ x, gamma, beta, scale, shift, offset }) =>
  [x, gamma, beta, scale, shift, offset].flatMap((input) => (input ? [like(input)] : []));

/** y and two numbers a row. */
const attention: ShapeRule = ({ q, k }, { heads }) => {
  const shape = [...q!.shape.slice(0, -1), q!.shape.at(-1)! / (k ? 1 : 3)];
  return [float(shape), float([shape[0]! * heads, tf.util.sizeFromShape(shape.slice(1, -1)), 2])];
};

const all = (names: string, rule: ShapeRule) => Object.fromEntries(names.split(' ').map((name) => [name, rule]));

/** By kernel name. */
export const shapeRules: Readonly<Record<string, ShapeRule>> = {
  ...all(
    'Abs Ceil ClipByValue Cos Cumsum Elu Erf Exp Expm1 Floor Identity LeakyRelu Log Log1p LogSoftmax Neg OnesLike Reciprocal Relu Relu6 Reverse Round Rsqrt ' +
      'Selu Sigmoid Sign Sin Softmax Softplus Sqrt Square Step Tanh ZerosLike Atan FusedBatchNorm OnestepSilu OnestepSiluGrad OnestepLeakyRelu OnestepLeakyReluGrad',
    elementwise,
  ),
  ...all('Add Sub Multiply RealDiv FloorDiv Maximum Minimum Pow SquaredDifference Mod Prelu', broadcast()),
  ...all('Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr', broadcast('bool')),
  ...all('LogicalNot IsFinite IsInf IsNan', (inputs) => ({ shape: first(inputs).shape, dtype: 'bool' })),
  ...all('Sum Mean Max Min Prod', reduce()),
  ...all('All Any', reduce('bool')),
  ...all('ArgMax ArgMin', reduce('int32')),
  AddN: elementwise,
  Cast: ({ x }, { dtype }) => ({ shape: x!.shape, dtype }),
  Select: ({ t }) => like(t!),
  Fill: (_inputs, { shape, dtype }) => ({ shape, dtype: dtype ?? 'float32' }),
  Reshape: ({ x }, { shape }) => ({ shape: tf.util.inferFromImplicitShape(shape, tf.util.sizeFromShape(x!.shape)), dtype: x!.dtype }),
  ExpandDims: ({ input }, { dim }) => {
    const at = dim < 0 ? dim + input!.shape.length + 1 : dim;
    return { shape: [...input!.shape.slice(0, at), 1, ...input!.shape.slice(at)], dtype: input!.dtype };
  },
  Transpose: ({ x }, { perm }) => ({ shape: perm.map((axis: number) => x!.shape[axis]!), dtype: x!.dtype }),
  Tile: ({ x }, { reps }) => ({ shape: x!.shape.map((n, i) => n * reps[i]), dtype: x!.dtype }),
  BroadcastTo: ({ x }, { shape }) => ({ shape, dtype: x!.dtype }),
  OneHot: ({ indices }, { depth, dtype }) => ({ shape: [...indices!.shape, depth], dtype: dtype ?? 'float32' }),
  Concat: concat,
  SplitV: split,
  Pack: stack,
  Unpack: unstack,
  Slice: slice,
  StridedSlice: stridedSlice,
  PadV2: padded,
  MirrorPad: padded,
  GatherV2: gather,
  BatchMatMul: product,
  Conv2D: convolution(false),
  Conv2DBackpropInput: (_inputs, { inputShape }) => float(inputShape),
  Conv2DBackpropFilter: (_inputs, { filterShape }) => float(filterShape),
  DepthwiseConv2dNative: convolution(true),
  DepthwiseConv2dNativeBackpropInput: (_inputs, { inputShape }) => float(inputShape),
  DepthwiseConv2dNativeBackpropFilter: (_inputs, { filterShape }) => float(filterShape),
  DepthToSpace: ({ x }, { blockSize }) => {
    const [batch, height, width, channels] = x!.shape as [number, number, number, number];
    return float([batch, height * blockSize, width * blockSize, channels / blockSize ** 2]);
  },
  MaxPool: pool,
  AvgPool: pool,
  MaxPoolGrad: ({ input }) => like(input!),
  AvgPoolGrad: ({ input }) => like(input!),
  ResizeBilinear: ({ images }, { size }) => float([images!.shape[0]!, size[0], size[1], images!.shape[3]!]),
  ResizeBilinearGrad: ({ images }) => like(images!),
  OnestepGroupNorm: groupNorm,
  OnestepGroupNormGrad: groupNormGrad,
  OnestepAttention: attention,
  OnestepAttentionGrad: ({ q, k, v }) => [q, k, v].flatMap((input) => (input ? [like(input)] : [])),
  OnestepAttentionTangent: ({ y }) => like(y!),
  OnestepResidual: ({ a }) => like(a!),
  OnestepAlongAxes: ({ x, vertical, horizontal }, { transposed }) => {
    const to = transposed ? 1 : 0;
    return float([x!.shape[0]!, vertical!.shape[to]!, horizontal!.shape[to]!, x!.shape[3]!]);
  },
  OnestepBatchNorm: ({ x, gamma, beta }) => [like(x!), like(gamma!), like(beta!)],
  OnestepBatchNormGrad: ({ x, gamma, beta }) => [like(x!), like(gamma!), like(beta!)],
  OnestepSpectralNorm: ({ weight, u }) => [
    like(weight!),
    like(u!),
    float([tf.util.sizeFromShape(weight!.shape) / u!.shape[0]!]),
    float([]),
  ],
  OnestepSpectralNormGrad: ({ weight }) => like(weight!),
  OnestepResidualGrad: ({ dy }) => [like(dy!), float([dy!.shape.at(-1)!])],
};
