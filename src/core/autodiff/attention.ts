/**
 * Scaled dot-product attention of positions with themselves (Vaswani et al. 2017) as one kernel, its gradient as another, and
 * the gradient's own for its cotangent as a third: all that a penalty on the gradient of a frozen network needs.
 *
 * The fused operation keeps two numbers a row, with which the gradient computes probabilities again; the composed one keeps
 * the matrix of probabilities.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';
import { fusedAttention, fusedAttentionGrad, fusedAttentionTangent } from '../native/attention.js';
import { defineKernel, type ForwardContext, type KernelInputs } from './define-kernel.js';
import { gradients, vectorJacobianProduct } from './gradients.js';
import { softmaxGrad } from './softmax-grad.js';
import { zeroLike } from './tape.js';

/** Options of {@link attention}. */
export interface AttentionOptions {
  /** Attention heads; they divide the channels. Default 1. */
  heads?: number;
  /** Of the scores. Default 1 / sqrt(channels of a head). */
  scale?: number;
}

interface Attrs {
  heads: number;
  scale: number;
}
/** Without `k` and `v`, `q` has the channels of all three, in this order. */
type Inputs = KernelInputs<'q', 'k' | 'v'>;
/** `rows` is the forward pass's second output. */
type GradInputs = KernelInputs<'dy' | 'y' | 'rows' | 'q', 'k' | 'v'>;
type TangentInputs = KernelInputs<'y' | 'rows' | 'dq' | 'q', 'dk' | 'dv' | 'k' | 'v'>;

const NAMES = ['q', 'k', 'v'] as const;
const listOf = ({ q, k, v }: Inputs): tf.Tensor[] => (k && v ? [q, k, v] : [q]);

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

/** `[B, ..., C]` to `[B, heads, positions, channels of a head]`. */
function split(x: tf.Tensor, heads: number): tf.Tensor4D {
  const [batch, channels] = [x.shape[0]!, x.shape.at(-1)!];
  const parts = tf.reshape<tf.Rank.R4>(x, [batch, tf.util.sizeFromShape(x.shape.slice(1, -1)), heads, channels / heads]);
  return heads === 1 ? tf.reshape(parts, [batch, 1, parts.shape[1], channels]) : tf.transpose(parts, [0, 2, 1, 3]);
}

/** The inverse of `split`. */
const merge = (x: tf.Tensor, shape: number[]): tf.Tensor => tf.reshape(x.shape[1] === 1 ? x : tf.transpose(x, [0, 2, 1, 3]), shape);

/** Queries times the scale, keys and values, each by heads. */
function prepare(inputs: Inputs, { heads, scale }: Attrs): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
  const { q, k, v } = inputs;
  const [queries, keys, values] = k && v ? [q, k, v] : tf.split(q, 3, -1);
  return [tf.mul(split(queries!, heads), scale), split(keys!, heads), split(values!, heads)];
}

const probabilities = (queries: tf.Tensor4D, keys: tf.Tensor4D): tf.Tensor => tf.softmax(tf.matMul(queries, keys, false, true));

/** The probabilities, where the forward pass was the composed one. */
const matrixOf = ({ rows }: { rows: tf.Tensor }): tf.Tensor | undefined => (rows.rank === 4 ? rows : undefined);

/** The shape of the result. */
const shapeOf = ({ q, k }: Inputs): number[] => [...q.shape.slice(0, -1), q.shape.at(-1)! / (k ? 1 : 3)];

/** The same function in plain operations, every one of which has a gradient of every order. */
function reference(inputs: Inputs, attrs: Attrs): tf.Tensor {
  const [queries, keys, values] = prepare(inputs, attrs);
  return merge(tf.matMul(probabilities(queries, keys), values), shapeOf(inputs));
}

/**
 * The derivative of `reference` along directions: with s the scores and p the probabilities, dy = dp v + p dv,
 * dp = p (ds - sum(p ds)), ds = dq k' + q dk'.
 */
function derivative(inputs: Inputs, { dq, dk, dv }: TangentInputs, attrs: Attrs, known?: tf.Tensor): tf.Tensor {
  const [queries, keys, values] = prepare(inputs, attrs);
  const [dqueries, dkeys, dvalues] = prepare({ q: dq, k: dk, v: dv }, attrs);
  const p = known ?? probabilities(queries, keys);
  const ds = tf.add(tf.matMul(dqueries, keys, false, true), tf.matMul(queries, dkeys, false, true));
  // The Jacobian of softmax is symmetric.
  const dp = softmaxGrad({ dy: ds, y: p }, {});
  return merge(tf.add(tf.matMul(dp, values), tf.matMul(p, dvalues)), shapeOf(inputs));
}

const tangentKernel: (inputs: TangentInputs, attrs: Attrs) => tf.Tensor = defineKernel({
  name: 'OnestepAttentionTangent',
  forward: ({ inputs, attrs }: ForwardContext<TangentInputs, Attrs>): tf.Tensor => derivative(inputs, inputs, attrs, matrixOf(inputs)),
  engines: {
    tensorflow: ({ inputs, attrs }) => {
      const { dq, dk, dv } = inputs;
      return fusedAttentionTangent([inputs.y, inputs.rows], listOf({ q: dq, k: dk, v: dv }), listOf(inputs), attrs);
    },
  },
  inputsToSave: ['y', 'rows', 'dq', 'dk', 'dv', ...NAMES],
  gradient: ({ dy, inputs, attrs }) => {
    const { y, rows, q, k, v } = inputs;
    const names = NAMES.filter((name) => inputs[name]);
    const watched = names.map((name) => inputs[name]!);
    // It is linear in the directions, and the gradient is its transpose.
    const transposed = once(() => attentionGrad({ dy, y, rows, q, k, v }, attrs));
    const differentiated = once(() => vectorJacobianProduct(() => derivative({ q, k, v }, inputs, attrs), watched, dy));
    return {
      ...Object.fromEntries(
        names.flatMap((name, i) => [
          [`d${name}`, () => transposed()[i]!],
          [name, () => differentiated()[i]!],
        ]),
      ),
      y: zeroLike(y),
      rows: zeroLike(rows),
    };
  },
});

/** Gradients of q, k and v, or of the one tensor that has them all. */
const attentionGrad: (inputs: GradInputs, attrs: Attrs) => tf.Tensor[] = defineKernel({
  name: 'OnestepAttentionGrad',
  forward: ({ inputs, attrs }: ForwardContext<GradInputs, Attrs>): tf.Tensor[] => {
    const { heads, scale } = attrs;
    const [queries, keys, values] = prepare(inputs, attrs);
    const dy = split(inputs.dy, heads);
    const p = matrixOf(inputs) ?? probabilities(queries, keys);
    const ds = softmaxGrad({ dy: tf.matMul(dy, values, false, true), y: p }, {});
    const shape = shapeOf(inputs);
    const parts = [
      merge(tf.mul(tf.matMul(ds, keys), scale), shape),
      merge(tf.matMul(ds, queries, true, false), shape),
      merge(tf.matMul(p, dy, true, false), shape),
    ];
    return inputs.k ? parts : [tf.concat(parts, -1)];
  },
  engines: { tensorflow: ({ inputs, attrs }) => fusedAttentionGrad([inputs.dy, inputs.y, inputs.rows], listOf(inputs), attrs) },
  inputsToSave: ['dy', 'y', 'rows', ...NAMES],
  gradient: ({ dys, inputs: { dy, y, rows, ...inputs }, attrs }) => {
    const names = NAMES.filter((name) => inputs[name]);
    const watched = names.map((name) => inputs[name]!);
    const [dq, dk, dv] = watched.map((x, i) => dys[i] ?? tf.zerosLike(x)) as [tf.Tensor, tf.Tensor?, tf.Tensor?];
    // Of the gradient of `reference`: y and what is kept of the rows are functions of q, k and v there.
    const differentiated = once(() =>
      gradients(
        () => {
          const first = vectorJacobianProduct(() => reference(inputs, attrs), watched, dy);
          return tf.addN(dys.flatMap((cotangent, i) => (cotangent ? [tf.sum(tf.mul(cotangent, first[i]!))] : [])));
        },
        watched,
        { allowUnused: true },
      ),
    );
    return {
      // The transpose of a linear map.
      dy: () => tangentKernel({ y, rows, dq, dk, dv, ...inputs }, attrs),
      ...Object.fromEntries(names.map((name, i) => [name, () => differentiated()[i]!])),
      y: zeroLike(y),
      rows: zeroLike(rows),
    };
  },
});

const attentionKernel = defineKernel({
  name: 'OnestepAttention',
  /** y, and what the gradient needs of the rows: statistics, or the probabilities themselves, `[B, heads, positions, positions]`. */
  forward: ({ inputs, attrs }: ForwardContext<Inputs, Attrs>): tf.Tensor[] => {
    const [queries, keys, values] = prepare(inputs, attrs);
    const p = probabilities(queries, keys);
    return [merge(tf.matMul(p, values), shapeOf(inputs)), p];
  },
  engines: { tensorflow: ({ inputs, attrs }) => fusedAttention(listOf(inputs), attrs) },
  inputsToSave: [...NAMES],
  outputsToSave: [0, 1],
  gradient: ({ dy, inputs, outputs: [y, rows], attrs }) => {
    const made = attentionGrad({ dy, y: y!, rows: rows!, ...inputs }, attrs);
    return Object.fromEntries(NAMES.filter((name) => inputs[name]).map((name, i) => [name, () => made[i]!]));
  },
});

/**
 * `softmax(scale q.k) v` over the positions: `qkv` is `[B, ..., 3 C]` with the channels of q, then k, then v, or three
 * tensors `[B, ..., C]`; the result is `[B, ..., C]`.
 *
 * Positions are all axes between the first and the last. Channels are in the order (head, channel of the head). Has gradients of
 * every order and keeps q, k, v and the result for the first. Throws `E_SHAPE` where shapes do not fit.
 */
export function attention<T extends tf.Tensor>(qkv: T | readonly [T, T, T], { heads = 1, scale }: AttentionOptions = {}): T {
  const tensors = qkv instanceof tf.Tensor ? [qkv] : qkv;
  const [q, k, v] = tensors as [T, T?, T?];
  const channels = q.shape.at(-1)! / (k ? 1 : 3);
  if (q.rank < 2 || !(channels > 0) || channels % heads !== 0 || tensors.some((part) => !tf.util.arraysEqual(part.shape, q.shape)))
    throw new ArgumentError(
      'E_SHAPE',
      `attention: expected ${k ? 'q, k and v [B, ..., C] of one shape' : 'qkv [B, ..., 3 C]'} with C a multiple of ${heads} heads, got ${tensors
        .map(({ shape }) => `[${shape.join(', ')}]`)
        .join(', ')}`,
      { help: 'channels are in the order (q, k, v), then head, then channel of the head' },
    );
  return tf.tidy(() => attentionKernel({ q, k, v }, { heads, scale: scale ?? Math.sqrt(heads / channels) })[0]!) as T;
}
