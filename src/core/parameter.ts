/**
 * Named tensors that live as long as their network: parameters (trained or frozen) and buffers.
 *
 * A network is first described (names, shapes, roles) and only then given values, so that a summary of
 * 300 million parameters costs nothing. Published files store PyTorch's layout; the engine wants its own:
 * convolutions are OIHW in files and HWIO here, fully connected layers `[out, in]` in files and `[in, out]` here.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ParameterDescription, ParameterKind, ParameterRole } from './contracts/parameter.js';
import { WeightsError } from './errors.js';

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Sixteen floats are one line of a processor's cache: a tile of 16 by 16 reads and writes whole lines. */
const TILE = 16;

/** Copies `data` from one layout to another: output axis `i` is input axis `order[i]`; at most four axes. */
function permute(data: Float32Array, shape: readonly number[], order: readonly number[]): Float32Array {
  const strides = shape.map((_, axis) => product(shape.slice(axis + 1)));
  // Fewer than four axes: the missing ones come first, of size 1.
  const [n0 = 1, n1 = 1, n2 = 1, n3 = 1] = [...Array<number>(4 - order.length).fill(1), ...order.map((axis) => shape[axis]!)];
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = [...Array<number>(4 - order.length).fill(0), ...order.map((axis) => strides[axis]!)];
  const out = new Float32Array(data.length);
  for (let c0 = 0; c0 < n2; c0 += TILE)
    for (let d0 = 0; d0 < n3; d0 += TILE) {
      const c1 = Math.min(c0 + TILE, n2);
      const d1 = Math.min(d0 + TILE, n3);
      for (let a = 0; a < n0; a++)
        for (let b = 0; b < n1; b++)
          for (let c = c0; c < c1; c++) {
            const row = ((a * n1 + b) * n2 + c) * n3;
            let from = a * s0 + b * s1 + c * s2 + d0 * s3;
            for (let at = row + d0; at < row + d1; at++, from += s3) out[at] = data[from]!;
          }
    }
  return out;
}

/**
 * How the engine's layout follows from the published one: the published values seen as `view` (at most four axes),
 * permuted so that output axis `i` is view axis `order[i]`, and reshaped to `engineShape`.
 */
export interface TensorLayout {
  view: readonly number[];
  order: readonly number[];
  engineShape: readonly number[];
}

/** OIHW to HWIO. */
export function convolutionLayout(shape: readonly number[]): TensorLayout {
  const order = [2, 3, 1, 0];
  return { view: shape, order, engineShape: order.map((axis) => shape[axis]!) };
}

/** `[out, in]` to `[in, out]`. */
export function linearLayout(shape: readonly number[]): TensorLayout {
  return { view: shape, order: [1, 0], engineShape: [shape[1]!, shape[0]!] };
}

/** A tensor with a published name, allocated on demand and owned by its network. */
export class NamedTensor {
  readonly size: number;
  #value: tf.Tensor | undefined;
  readonly #layout: TensorLayout | undefined;

  constructor(
    readonly name: string,
    /** Shape in the published layout. */
    readonly shape: readonly number[],
    /** Undefined where both layouts agree. */
    layout?: TensorLayout,
  ) {
    this.size = product(shape);
    this.#layout = layout;
  }

  /** Shape of `value`, in the engine's layout. */
  get engineShape(): number[] {
    return [...(this.#layout?.engineShape ?? this.shape)];
  }

  get allocated(): boolean {
    return this.#value !== undefined;
  }

  /** The tensor in the engine's layout. Do not dispose it. Throws `E_WEIGHTS_ABSENT` before values were given. */
  get value(): tf.Tensor {
    if (!this.#value)
      throw new WeightsError('E_WEIGHTS_ABSENT', `${this.name} has no values yet`, {
        help: 'call initialize(random) on the network or load weights into it first',
      });
    return this.#value;
  }

  /** Takes `value` (engine layout) over and disposes the former one. */
  assign(value: tf.Tensor): void {
    tf.util.assertShapesMatch(value.shape, this.engineShape, `${this.name}: `);
    const former = this.#value;
    this.#value = tf.keep(value);
    if (former && former !== value) former.dispose();
  }

  /** Sets the values from the published layout. Throws `E_WEIGHTS_SHAPE` where the count differs. */
  load(data: Float32Array, shape: readonly number[] = this.shape): void {
    if (shape.length !== this.shape.length || shape.some((n, i) => n !== this.shape[i]) || data.length !== this.size)
      throw new WeightsError('E_WEIGHTS_SHAPE', `${this.name}: expected shape [${this.shape.join(', ')}], found [${shape.join(', ')}]`, {
        help: 'the file belongs to another architecture; check its configuration',
      });
    const values = this.#layout ? permute(data, this.#layout.view, this.#layout.order) : data;
    this.assign(tf.tensor(values, this.engineShape, 'float32'));
  }

  /** The values in the published layout. */
  read(): Float32Array {
    return this.published(this.value);
  }

  /** A copy of `value`, which has this tensor's engine layout (its gradient, an average of it), in the published layout. */
  published(value: tf.Tensor): Float32Array {
    tf.util.assertShapesMatch(value.shape, this.engineShape, `${this.name}: `);
    const data = value.dataSync() as Float32Array;
    if (!this.#layout) return Float32Array.from(data);
    const { view, order } = this.#layout;
    const inverse = order.map((_, axis) => order.indexOf(axis));
    return permute(
      data,
      order.map((axis) => view[axis]!),
      inverse,
    );
  }

  dispose(): void {
    this.#value?.dispose();
    this.#value = undefined;
  }
}

function defaultLayout(kind: ParameterKind, shape: readonly number[]): TensorLayout | undefined {
  if (kind === 'conv' && shape.length === 4) return convolutionLayout(shape);
  if (kind === 'linear' && shape.length === 2) return linearLayout(shape);
  return undefined;
}

/** What a parameter is, besides its name and shape. */
export interface ParameterOptions {
  kind: ParameterKind;
  role: ParameterRole;
  block?: string | undefined;
  level?: number | undefined;
  /** Where the engine's layout differs from the published one; default: by kind and rank. */
  layout?: TensorLayout | undefined;
}

/** A weight or a bias; trains unless a freeze policy says otherwise. */
export class Parameter extends NamedTensor implements ParameterDescription {
  readonly kind: ParameterKind;
  readonly role: ParameterRole;
  readonly block: string | undefined;
  readonly level: number | undefined;
  trainable = true;

  constructor(name: string, shape: readonly number[], options: ParameterOptions) {
    super(name, shape, options.layout ?? defaultLayout(options.kind, shape));
    this.kind = options.kind;
    this.role = options.role;
    this.block = options.block;
    this.level = options.level;
  }
}
