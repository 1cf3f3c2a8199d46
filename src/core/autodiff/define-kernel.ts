/**
 * Kernels of our own: one name, one composed forward for every engine, faster ones where an engine has them,
 * and a gradient.
 */
import * as tf from '@tensorflow/tfjs-core';
import { repairTape, type GradientFunction } from './tape.js';

/** The engines that can run a composed kernel; `shapes` computes no values (`withShapeEngine`). */
export const ENGINES = ['tensorflow', 'wasm', 'cpu', 'webgpu', 'webgl', 'shapes'] as const;
export type EngineName = (typeof ENGINES)[number];

/** Tensors by name: `Name` always there, `Optional` perhaps. */
export type KernelInputs<Name extends string, Optional extends string = never> = { [K in Name]: tf.Tensor } & {
  [K in Optional]?: tf.Tensor | undefined;
};

/** What a forward function gets. */
export interface ForwardContext<Inputs, Attrs> {
  inputs: Inputs;
  attrs: Attrs;
}

/** What a gradient function gets. */
export interface GradientContext<Inputs, Attrs> {
  /** The gradient of the first output. */
  dy: tf.Tensor;
  /** The gradients of all outputs; null for one that the result does not depend on. */
  dys: (tf.Tensor | null)[];
  /** The inputs that `inputsToSave` names. */
  inputs: Inputs;
  /** All inputs, to read shapes from and nothing else: those not saved may be disposed. */
  present: Inputs;
  /** The outputs that `outputsToSave` names, at their own index. */
  outputs: tf.Tensor[];
  attrs: Attrs;
}

/** Computes the outputs of a kernel. */
export type Forward<Inputs, Attrs, Outputs extends tf.Tensor | tf.Tensor[]> = (context: ForwardContext<Inputs, Attrs>) => Outputs;

/** What `defineKernel` takes. */
export interface KernelDefinition<Inputs, Attrs, Outputs extends tf.Tensor | tf.Tensor[]> {
  /** Unique, `Onestep…`. */
  name: string;
  /** The result, composed of tf operations; runs in a `tidy`, is not recorded. */
  forward: Forward<Inputs, Attrs, Outputs>;
  /** Replaces `forward` on some engines; where it returns undefined, `forward` runs. */
  engines?: Partial<Record<EngineName, (context: ForwardContext<Inputs, Attrs>) => Outputs | undefined>>;
  /** Inputs that the gradient needs. */
  inputsToSave?: readonly (keyof Inputs & string)[];
  /** Indices of outputs that the gradient needs. */
  outputsToSave?: readonly number[];
  /**
   * For each differentiable input a function that makes its gradient; only those that are wanted get called.
   * Differentiable itself if it consists of differentiable operations. `zeroLike(x)` where it is zero.
   */
  gradient: (context: GradientContext<Inputs, Attrs>) => { [K in keyof Inputs]?: () => tf.Tensor };
}

/** Registers `kernelFunc` without the warning that TensorFlow.js prints when one is replaced. */
export function registerKernelQuietly(config: tf.KernelConfig): void {
  if (tf.getKernel(config.kernelName, config.backendName)) tf.unregisterKernel(config.kernelName, config.backendName);
  tf.registerKernel(config);
}

const asList = (x: tf.Tensor | tf.Tensor[]) => (Array.isArray(x) ? x : [x]);

/**
 * Defines a kernel on every engine and returns the function that runs it.
 *
 * ```ts
 * const cube = defineKernel({
 *   name: 'OnestepCube',
 *   forward: ({ inputs: { x } }: ForwardContext<KernelInputs<'x'>, object>) => tf.mul(x, tf.square(x)),
 *   inputsToSave: ['x'],
 *   gradient: ({ dy, inputs: { x } }) => ({ x: () => tf.mul(dy, tf.mul(3, tf.square(x))) }),
 * });
 * cube({ x }, {});
 * ```
 */
export function defineKernel<Inputs extends object, Attrs extends object, Outputs extends tf.Tensor | tf.Tensor[]>(
  definition: KernelDefinition<Inputs, Attrs, Outputs>,
): (inputs: Inputs, attrs: Attrs) => Outputs {
  const { name, forward, engines = {}, inputsToSave = [], outputsToSave = [], gradient } = definition;

  for (const engine of ENGINES) {
    const special = engines[engine];
    const run: typeof forward = special ? (context) => special(context) ?? forward(context) : forward;
    registerKernelQuietly({
      kernelName: name,
      backendName: engine,
      kernelFunc: ({ inputs, attrs }) =>
        tf.tidy(() => {
          const given = new Set<unknown>(Object.values(inputs));
          const result = run({ inputs: inputs as unknown as Inputs, attrs: attrs as unknown as Attrs });
          // An output must be disposable without its input.
          const own = asList(result).map((tensor) => (given.has(tensor) ? tf.clone(tensor) : tensor));
          return (Array.isArray(result) ? own : own[0]!) as tf.TensorContainer;
        }) as unknown as tf.TensorInfo | tf.TensorInfo[],
    });
  }

  const gradFunc: GradientFunction = (dys, saved, attrs, present) => {
    const inputs: Record<string, tf.Tensor> = {};
    let at = 0;
    for (const input of inputsToSave) if (present[input]) inputs[input] = saved[at++]!;
    const outputs: tf.Tensor[] = [];
    for (const index of [...outputsToSave].sort((a, b) => a - b)) if (at < saved.length) outputs[index] = saved[at++]!;
    const list = asList(dys);
    return gradient({
      dy: list[0]!,
      dys: list,
      inputs: inputs as Inputs,
      present: present as Inputs,
      outputs,
      attrs: attrs as Attrs,
    }) as Record<string, () => tf.Tensor>;
  };
  tf.registerGradient({
    kernelName: name,
    inputsToSave: [...inputsToSave],
    outputsToSave: Array.from({ length: Math.max(-1, ...outputsToSave) + 1 }, (_, i) => outputsToSave.includes(i)),
    gradFunc,
    acceptsMissing: true,
  } as unknown as tf.GradConfig);

  return (inputs, attrs) => {
    repairTape();
    const given = Object.fromEntries(Object.entries(inputs).filter(([, tensor]) => tensor != null)) as tf.NamedTensorMap;
    return tf.engine().runKernel(name, given, attrs as unknown as tf.NamedAttrMap) as unknown as Outputs;
  };
}
