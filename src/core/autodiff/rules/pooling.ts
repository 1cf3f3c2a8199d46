/** Pooling. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type ForwardContext, type KernelInputs } from '../define-kernel.js';
import { fusedMaxPoolPick } from '../../native/windows.js';
import { touchingWindows } from '../kernels/padding.js';
import { executeTensorflow } from '../native.js';
import { zeroLike } from '../tape.js';
import { rule, mask, type Rule } from './rule.js';

interface Attrs {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

const asAttrs = ({ filterSize, strides, pad, dimRoundingMode }: Attrs) =>
  ({ filterSize, strides, pad, dimRoundingMode }) as unknown as tf.NamedAttrMap;

const maxPoolGrad = (dy: tf.Tensor, input: tf.Tensor, output: tf.Tensor, attrs: Attrs): tf.Tensor =>
  tf.engine().runKernel('MaxPoolGrad', { dy, input, output }, asAttrs(attrs)) as tf.Tensor;

const avgPoolGrad = (dy: tf.Tensor, input: tf.Tensor, attrs: Attrs): tf.Tensor =>
  tf.engine().runKernel('AvgPoolGrad', { dy, input }, asAttrs(attrs)) as tf.Tensor;

type PickContext = ForwardContext<KernelInputs<'x' | 'input' | 'output'>, Attrs>;

const composedPick = ({ inputs: { x, input, output }, attrs }: PickContext): tf.Tensor => {
  const { filterSize, strides, pad, dimRoundingMode } = attrs;
  const info = tf.backend_util.computePool2DInfo(
    input.shape as [number, number, number, number],
    filterSize,
    strides,
    1,
    pad,
    dimRoundingMode,
  );
  const { strideHeight, strideWidth, outHeight, outWidth, batchSize, inChannels } = info;
  const { top, left } = info.padInfo;
  const [height, width] = [(outHeight - 1) * strideHeight + info.filterHeight, (outWidth - 1) * strideWidth + info.filterWidth];
  const framed = (t: tf.Tensor, value: number) => {
    const [, H, W] = t.shape as [number, number, number, number];
    const wide = tf.pad(
      t,
      [
        [0, 0],
        [top, Math.max(0, height - H - top)],
        [left, Math.max(0, width - W - left)],
        [0, 0],
      ],
      value,
    );
    return tf.slice(wide, [0, 0, 0, 0], [batchSize, height, width, inChannels]);
  };
  const [framedInput, framedX] = [framed(input, -Infinity), framed(x, 0)];
  let result: tf.Tensor = tf.zerosLike(output);
  let free: tf.Tensor = tf.onesLike(output);
  for (let i = 0; i < info.filterHeight; i++)
    for (let j = 0; j < info.filterWidth; j++) {
      const at = (t: tf.Tensor) =>
        tf.stridedSlice(
          t,
          [0, i, j, 0],
          [batchSize, i + (outHeight - 1) * strideHeight + 1, j + (outWidth - 1) * strideWidth + 1, inChannels],
          [1, strideHeight, strideWidth, 1],
        );
      const hit = tf.mul(free, mask(tf.equal(at(framedInput), output)));
      result = tf.add(result, tf.mul(hit, at(framedX)));
      free = tf.sub(free, hit);
    }
  return result;
};

/** Picks from `x` what max pooling picks from `input`: the first largest value of each window. */
const pickMax: (inputs: PickContext['inputs'], attrs: Attrs) => tf.Tensor = defineKernel({
  name: 'OnestepMaxPoolPick',
  forward: composedPick,
  engines: {
    tensorflow: (context) => {
      const {
        inputs: { x, input, output },
        attrs: { filterSize, strides, pad, dimRoundingMode },
      } = context;
      const windows = touchingWindows(input.shape, context.attrs);
      const quick = windows && fusedMaxPoolPick(x, input, output, windows);
      if (quick) return quick;
      if (typeof pad !== 'string') return composedPick(context);
      const info = tf.backend_util.computePool2DInfo(
        input.shape as [number, number, number, number],
        filterSize,
        strides,
        1,
        pad,
        dimRoundingMode,
      );
      return executeTensorflow('MaxPoolGradGrad', [input, output, x], {
        ksize: [1, info.filterHeight, info.filterWidth, 1],
        strides: [1, info.strideHeight, info.strideWidth, 1],
        padding: pad.toUpperCase(),
      });
    },
  },
  inputsToSave: ['input', 'output'],
  gradient: ({ dy, inputs: { input, output }, present, attrs }) => ({
    x: () => maxPoolGrad(dy, input, output, attrs),
    input: zeroLike(present.input),
    output: zeroLike(present.output),
  }),
});

export const pooling: Rule[] = [
  rule('MaxPool', (dy, [x, y], attrs) => ({ x: () => maxPoolGrad(dy, x!, y!, attrs) }), { inputsToSave: ['x'], outputsToSave: [true] }),
  rule(
    'MaxPoolGrad',
    (ddx, [input, output], attrs, inputs) => ({
      dy: () => pickMax({ x: ddx, input: input!, output: output! }, attrs),
      input: zeroLike(inputs.input!),
      output: zeroLike(inputs.output!),
    }),
    { inputsToSave: ['input', 'output'] },
  ),
  rule('AvgPool', (dy, [x], attrs) => ({ x: () => avgPoolGrad(dy, x!, attrs) }), { inputsToSave: ['x'] }),
  rule('AvgPoolGrad', (ddx, _saved, attrs: any, inputs) => ({
    dy: () => tf.avgPool(ddx as tf.Tensor4D, attrs.filterSize, attrs.strides, attrs.pad, attrs.dimRoundingMode),
    input: zeroLike(inputs.input!),
  })),
];
