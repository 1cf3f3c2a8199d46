/** Rearrangements of values: each gradient is the inverse rearrangement. */
import * as tf from '@tensorflow/tfjs-core';
import { rule, unbroadcast, type Rule } from './rule.js';

const reshaped = (kernelName: string, input = 'x'): Rule =>
  rule(kernelName, (dy, _saved, _attrs, inputs) => ({ [input]: () => tf.reshape(dy, inputs[input]!.shape) }));

/** Zeros around `dy` so that it lies at `begin` in a tensor of `shape`. */
const padded = (dy: tf.Tensor, begin: number[], shape: number[]) =>
  tf.pad(
    dy,
    shape.map((n, i) => [begin[i]!, n - begin[i]! - dy.shape[i]!] as [number, number]),
  );

/** Puts `steps[i] - 1` zeros between the values along each axis. */
export function dilate(x: tf.Tensor, steps: readonly number[]): tf.Tensor {
  let result = x;
  steps.forEach((step, axis) => {
    const n = result.shape[axis]!;
    if (step === 1 || n === 1) return;
    const before = result.shape.slice(0, axis).reduce((a, b) => a * b, 1);
    const after = result.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    // [before, n, 1, after] -> [before, n, step, after] -> without the zeros after the last value
    const spaced = tf.reshape(
      tf.pad(tf.reshape(result, [before * n, after]), [
        [0, 0],
        [0, (step - 1) * after],
      ]),
      [before, n * step, after],
    );
    const shape = [...result.shape];
    shape[axis] = (n - 1) * step + 1;
    result = tf.reshape(tf.slice(spaced, [0, 0, 0], [before, shape[axis], after]), shape);
  });
  return result;
}

/** Copies of a tensor side by side: fold them and sum. */
function untile(dy: tf.Tensor, shape: number[], reps: number[]): tf.Tensor {
  const interleaved = shape.flatMap((n, i) => [reps[i]!, n]);
  return tf.sum(
    tf.reshape(dy, interleaved),
    shape.map((_, i) => 2 * i),
  );
}

/** Puts the values of a strided slice back where they were, with zeros between. */
function unslice(dy: tf.Tensor, shape: number[], attrs: any): tf.Tensor {
  const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attrs;
  const info = tf.slice_util.sliceInfo(shape, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask);
  const sizes = shape.map((_, i) => Math.max(0, Math.ceil((info.end[i]! - info.begin[i]!) / info.strides[i]!)));
  let result = tf.reshape(dy, sizes);
  const backwards = info.strides.flatMap((s: number, i: number) => (s < 0 ? [i] : []));
  if (backwards.length > 0) result = tf.reverse(result, backwards);
  result = dilate(result, info.strides.map(Math.abs));
  const first = shape.map((_, i) => (info.strides[i]! < 0 ? info.begin[i]! - (sizes[i]! - 1) * -info.strides[i]! : info.begin[i]!));
  return padded(result, first, shape);
}

/** Reflected borders are added back to where they came from. */
function unmirror(dy: tf.Tensor, paddings: [number, number][], mode: 'reflect' | 'symmetric'): tf.Tensor {
  const skip = mode === 'reflect' ? 1 : 0;
  return paddings.reduce<tf.Tensor>((x, [before, after], axis) => {
    if (before === 0 && after === 0) return x;
    const n = x.shape[axis]! - before - after;
    const part = (from: number, size: number) => {
      const begin = x.shape.map(() => 0);
      const sizes = [...x.shape];
      [begin[axis], sizes[axis]] = [from, size];
      return tf.slice(x, begin, sizes);
    };
    const shape = [...x.shape];
    shape[axis] = n;
    const at = (part: tf.Tensor, start: number) =>
      padded(
        part,
        shape.map((_, i) => (i === axis ? start : 0)),
        shape,
      );
    let sum = part(before, n);
    if (before > 0) sum = tf.add(sum, at(tf.reverse(part(0, before), axis), skip));
    if (after > 0) sum = tf.add(sum, at(tf.reverse(part(before + n, after), axis), n - skip - after));
    return sum;
  }, dy);
}

function spaceToDepth(x: tf.Tensor, block: number): tf.Tensor {
  const [B, H, W, C] = x.shape as [number, number, number, number];
  const blocks = tf.reshape(x, [B, H / block, block, W / block, block, C]);
  return tf.reshape(tf.transpose(blocks, [0, 1, 3, 2, 4, 5]), [B, H / block, W / block, block * block * C]);
}

export const shape: Rule[] = [
  reshaped('Reshape'),
  reshaped('ExpandDims', 'input'),
  rule('Transpose', (dy, _saved, { perm }) => ({
    x: () =>
      tf.transpose(
        dy,
        perm.map((_: number, i: number) => perm.indexOf(i)),
      ),
  })),
  rule('BroadcastTo', (dy, _saved, _attrs, { x }) => ({ x: () => unbroadcast(dy, x!.shape) })),
  rule('Tile', (dy, _saved, { reps }, { x }) => ({ x: () => untile(dy, x!.shape, reps) })),
  rule('Reverse', (dy, _saved, { dims }) => ({ x: () => tf.reverse(dy, dims) })),
  rule('Concat', (dy, _saved, { axis }, inputs) => {
    const at = tf.util.parseAxisParam(axis, dy.shape)[0]!;
    const gradients: Record<string, () => tf.Tensor> = {};
    let start = 0;
    for (const name of Object.keys(inputs)) {
      const begin = dy.shape.map((_, i) => (i === at ? start : 0));
      gradients[name] = () => tf.slice(dy, begin, inputs[name]!.shape);
      start += inputs[name]!.shape[at]!;
    }
    return gradients;
  }),
  rule('SplitV', (dys, _saved, { axis }) => ({ x: () => (Array.isArray(dys) ? tf.concat(dys as tf.Tensor[], axis) : dys) })),
  rule('Pack', (dy, _saved, { axis }, inputs) =>
    Object.fromEntries(
      Object.keys(inputs).map((name, index) => [
        name,
        () => {
          const at = tf.util.parseAxisParam(axis, dy.shape)[0]!;
          const part = tf.slice(
            dy,
            dy.shape.map((_, i) => (i === at ? index : 0)),
            dy.shape.map((n, i) => (i === at ? 1 : n)),
          );
          return tf.reshape(part, inputs[name]!.shape);
        },
      ]),
    ),
  ),
  rule('Unpack', (dys, _saved, { axis }, { value }) => ({
    value: () => tf.reshape(tf.stack(Array.isArray(dys) ? (dys as tf.Tensor[]) : [dys], axis), value!.shape),
  })),
  rule('Slice', (dy, _saved, { begin, size }, { x }) => ({
    x: () => padded(dy, tf.slice_util.parseSliceParams(x!, begin, size)[0]!, x!.shape),
  })),
  rule('StridedSlice', (dy, _saved, attrs, { x }) => ({ x: () => unslice(dy, x!.shape, attrs) })),
  rule('PadV2', (dy, _saved, { paddings }, { x }) => ({
    x: () =>
      tf.slice(
        dy,
        paddings.map((p: number[]) => p[0]),
        x!.shape,
      ),
  })),
  rule('MirrorPad', (dy, _saved, { paddings, mode }) => ({ x: () => unmirror(dy, paddings, mode) })),
  rule('SpaceToBatchND', (dy, _saved, { blockShape, paddings }) => ({ x: () => tf.batchToSpaceND(dy, blockShape, paddings) })),
  rule('BatchToSpaceND', (dy, _saved, { blockShape, crops }) => ({ x: () => tf.spaceToBatchND(dy, blockShape, crops) })),
  rule('DepthToSpace', (dy, _saved, { blockSize }) => ({ x: () => spaceToDepth(dy, blockSize) })),
];
