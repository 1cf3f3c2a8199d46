/**
 * Reverse-mode differentiation over TensorFlow.js's tape.
 *
 * `tf.grads` keeps every saved activation and every intermediate gradient until its end. Here each is disposed as
 * soon as it has been consumed, so that the peak is what a training step needs.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';
import { installAutodiff } from './install.js';
import { clearTape, engine, isZero, startRecording, stopRecording, type TapeNode } from './tape.js';

/** Options of the gradient functions. */
export interface GradientOptions {
  /** Zeros, not an error, for an `x` that the result does not depend on. Default false. */
  allowUnused?: boolean;
}

/** What `valueAndGradients` returns; all of it belongs to the caller. */
export interface ValueAndGradients {
  /** The loss, a scalar. */
  value: tf.Scalar;
  /** One gradient for each `x`, in the order of `xs` and of its shape. */
  gradients: tf.Tensor[];
}

/**
 * The pull-back of `f` at `xs`: the result of `f` and the product of `cotangent` with its Jacobian.
 *
 * An outermost call frees the tape as it goes. A call inside the `f` of another one leaves all to the outer tape,
 * through which it can itself be differentiated.
 */
function pullBack(
  f: () => { y: tf.Tensor; rest?: unknown },
  xs: readonly tf.Tensor[],
  cotangent: tf.Tensor | undefined,
  allowUnused: boolean,
): { y: tf.Tensor; rest: unknown; gradients: tf.Tensor[] } {
  installAutodiff();
  const { state } = engine();
  const outermost = state.gradientDepth === 0;
  // Not null although outermost: a gradient function, run while another tape is walked, differentiates on its own.
  const interrupted = outermost ? state.activeTape : null;
  const first = outermost ? 0 : state.activeTape!.length;

  const compute = () => {
    const reached = startRecording(xs);
    let result: ReturnType<typeof f>;
    try {
      result = tf.tidy(f as () => tf.TensorContainer) as unknown as typeof result;
    } finally {
      stopRecording();
    }
    const { y } = result;
    const seed = cotangent ?? tf.ones(y.shape);
    if (!tf.util.arraysEqual(seed.shape, y.shape))
      throw new ArgumentError(
        'E_SHAPE',
        `vectorJacobianProduct: expected a cotangent of shape [${y.shape.join(', ')}], got [${seed.shape.join(', ')}]`,
        {
          help: 'the cotangent has the shape of what f returns',
        },
      );

    const tape = state.activeTape!;
    const cotangents = new Map<number, tf.Tensor>([[y.id, cotangent ? tf.clone(cotangent) : seed]]);
    const accumulate = (id: number, dx: tf.Tensor) => {
      const sum = cotangents.get(id);
      if (!sum) return void cotangents.set(id, dx);
      cotangents.set(id, tf.add(sum, dx));
      sum.dispose();
      dx.dispose();
    };
    const wanted = new Set(xs.map((x) => x.id));

    for (let i = tape.length - 1; i >= first; i--) {
      const node = tape[i]!;
      const dys = node.outputs.map((output) => cotangents.get(output.id) ?? null);
      if (dys.some((dy) => dy !== null)) {
        const names = Object.keys(node.inputs).filter((name) => node.inputs[name] && reached.has(node.inputs[name]!.id));
        if (names.length > 0) {
          const dxs = gradientsOf(node, names, dys);
          for (const name in dxs) accumulate(node.inputs[name]!.id, dxs[name]!);
        }
        node.outputs.forEach(({ id }, j) => {
          if (!dys[j] || wanted.has(id)) return;
          dys[j].dispose();
          cotangents.delete(id);
        });
      }
      if (outermost) {
        tape.pop();
        for (const tensor of node.saved) tensor.dispose();
      }
    }

    const used = new Set<tf.Tensor>();
    const gradients = xs.map((x, i) => {
      const gradient = cotangents.get(x.id);
      if (!gradient && !allowUnused)
        throw new ArgumentError('E_VALUE', `gradients: the result does not depend on xs[${i}] (shape [${x.shape.join(', ')}])`, {
          help: 'leave it out of xs, compute everything between xs and the result inside f, or pass { allowUnused: true } to get zeros',
        });
      if (!gradient) return tf.zeros(x.shape);
      if (used.has(gradient)) return tf.clone(gradient);
      used.add(gradient);
      return gradient;
    });
    const value = xs.includes(y) ? tf.clone(y) : y;
    return { y: value, rest: result.rest, gradients };
  };

  try {
    return tf.tidy(compute as () => tf.TensorContainer) as unknown as ReturnType<typeof compute>;
  } finally {
    if (outermost) {
      clearTape();
      state.activeTape = interrupted;
    }
  }
}

/** The gradients of the inputs `names` of one recorded operation, each a tensor of its own; those known to be zero are left out. */
function gradientsOf(node: TapeNode, names: string[], dys: (tf.Tensor | null)[]): Record<string, tf.Tensor> {
  const { kernelName, inputs, saved, gradient } = node;
  if (!gradient)
    throw new ArgumentError('E_VALUE', `gradients: operation ${kernelName} has no gradient`, {
      help: 'register one with tf.registerGradient, or write the computation with other operations',
    });
  return tf.tidy(() => {
    const functions = gradient(dys);
    const given = new Set<tf.Tensor | null>([...dys, ...saved]);
    const result: Record<string, tf.Tensor> = {};
    for (const name of names) {
      const x = inputs[name]!;
      const make = functions[name];
      if (make && isZero(make)) continue;
      const dx = make?.();
      if (!dx)
        throw new ArgumentError('E_VALUE', `gradients: operation ${kernelName} has no gradient for its input '${name}'`, {
          help: 'write the computation so that this input is a constant',
        });
      if (dx.dtype !== 'float32' || !tf.util.arraysEqual(dx.shape, x.shape))
        throw new ArgumentError(
          'E_SHAPE',
          `gradients: operation ${kernelName}, input '${name}': expected float32 [${x.shape.join(', ')}], got ${dx.dtype} [${dx.shape.join(', ')}]`,
          { help: 'the registered gradient of this operation is wrong' },
        );
      // A gradient function may hand back dy itself, or one tensor for two inputs: each entry must be disposable alone.
      const own = given.has(dx) || dx.kept ? tf.clone(dx) : dx;
      given.add(own);
      result[name] = own;
    }
    return result;
  });
}

/**
 * The loss that `f` computes and its gradients with respect to `xs`.
 *
 * `f` takes no arguments and uses `xs` directly; it returns a scalar, or an object with a scalar `loss` and whatever
 * else should survive (`{ loss, logits, … }`). All of it belongs to the caller. Operations that do not lie between
 * `xs` and the loss cost neither memory nor gradient kernels, so frozen weights are simply left out of `xs`.
 * Calls nest: inside `f` of an outer call this is differentiable, to any order that the operations allow.
 *
 * Throws `E_SHAPE` where the loss is no scalar and `E_VALUE` where it does not depend on some `x`
 * (unless `allowUnused`) or an operation has no gradient.
 *
 * ```ts
 * const { value, gradients } = valueAndGradients(() => tf.losses.meanSquaredError(y, model.forward(x)), weights);
 * ```
 */
export function valueAndGradients(f: () => tf.Tensor, xs: readonly tf.Tensor[], options?: GradientOptions): ValueAndGradients;
export function valueAndGradients<R extends { loss: tf.Tensor }>(
  f: () => R,
  xs: readonly tf.Tensor[],
  options?: GradientOptions,
): ValueAndGradients & { aux: Omit<R, 'loss'> };
export function valueAndGradients(
  f: () => tf.Tensor | { loss: tf.Tensor },
  xs: readonly tf.Tensor[],
  { allowUnused = false }: GradientOptions = {},
): ValueAndGradients & { aux?: unknown } {
  const { y, rest, gradients } = pullBack(
    () => {
      const result = f();
      const { loss, ...aux } = result instanceof tf.Tensor ? { loss: result } : result;
      if (!(loss instanceof tf.Tensor) || loss.size !== 1 || loss.rank !== 0)
        throw new ArgumentError(
          'E_SHAPE',
          `valueAndGradients: expected f to return a scalar or { loss: scalar, … }, got ${loss instanceof tf.Tensor ? `a tensor of shape [${loss.shape.join(', ')}]` : typeof loss}`,
          { help: 'reduce with tf.mean or tf.sum; for another shape there is vectorJacobianProduct' },
        );
      return { y: loss, rest: aux };
    },
    xs,
    undefined,
    allowUnused,
  );
  return { value: y as tf.Scalar, gradients, aux: rest };
}

/** The gradients of the scalar that `f` computes with respect to `xs`; see `valueAndGradients`. */
export function gradients(f: () => tf.Tensor, xs: readonly tf.Tensor[], options?: GradientOptions): tf.Tensor[] {
  const { value, gradients: result } = valueAndGradients(f, xs, options);
  if (!xs.includes(value)) value.dispose();
  return result;
}

/**
 * The gradients of `sum(cotangent * f())` with respect to `xs`, for an `f` that returns a tensor of any shape.
 *
 * Differentiable in `xs` when called inside the function of another gradient call; that is how gradient penalties
 * are made. Without `cotangent` it is ones, that is, the gradient of `sum(f())`.
 *
 * ```ts
 * const penalty = () => {
 *   const [gradient] = vectorJacobianProduct(() => discriminator.forward(images), [images]);
 *   return tf.mean(tf.sum(tf.square(gradient!), [1, 2, 3]));
 * };
 * ```
 */
export function vectorJacobianProduct(
  f: () => tf.Tensor,
  xs: readonly tf.Tensor[],
  cotangent?: tf.Tensor,
  options: GradientOptions = {},
): tf.Tensor[] {
  return tf.tidy(() => pullBack(() => ({ y: f() }), xs, cotangent, options.allowUnused ?? false).gradients);
}
