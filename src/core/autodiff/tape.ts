/**
 * TensorFlow.js's tape, repaired.
 *
 * The stock recorder has three faults that only show in training:
 * - it records the copy of a saved *output* before the operation that makes the output, so that a second
 *   derivative through `exp`, `sigmoid`, `tanh`, `softmax` … silently misses a term;
 * - it saves activations for every operation, also for those that no wanted gradient passes (frozen networks,
 *   comparisons, masks);
 * - a gradient function can learn an input's shape only by saving the input, which keeps it in memory.
 *
 * `repairTape` replaces three methods of the engine: copies are recorded after their operation, operations that
 * depend on none of the watched tensors are not recorded while every open gradient call is ours, and gradient
 * functions get the inputs as a fourth argument (to read shapes from, nothing else: they may be disposed).
 */
import * as tf from '@tensorflow/tfjs-core';

type Inputs = Record<string, tf.Tensor | null | undefined>;

export interface TapeNode {
  id: number;
  kernelName: string;
  inputs: Inputs;
  outputs: tf.Tensor[];
  saved: tf.Tensor[];
  /** Input name -> a function that makes the gradient; call both in one `tidy`. */
  gradient?: (dys: (tf.Tensor | null)[]) => Record<string, () => tf.Tensor>;
}

export type GradientFunction = (
  dy: tf.Tensor | tf.Tensor[],
  saved: tf.Tensor[],
  attrs: Record<string, unknown>,
  inputs: Inputs,
) => Record<string, () => tf.Tensor>;

const zero = Symbol('zero gradient');

/** A gradient that is zero everywhere: skipped by `valueAndGradients`, made by stock TensorFlow.js. */
export const zeroLike = (x: { shape: number[] }): (() => tf.Tensor) => Object.assign(() => tf.zeros(x.shape), { [zero]: true });

export const isZero = (make: () => tf.Tensor): boolean => zero in make;

/** The parts of the engine that its type declarations keep private. */
interface Engine {
  state: {
    activeTape: TapeNode[] | null;
    gradientDepth: number;
    kernelDepth: number;
    nextTapeNodeId: number;
    /** What holds the values of each data. */
    tensorInfo: { get(dataId: object): { backend: tf.KernelBackend } | undefined };
  };
  startTape(): void;
  endTape(): void;
  clone(x: tf.Tensor): tf.Tensor;
  getTensorsForGradient(kernelName: string, inputs: Inputs, outputs: tf.Tensor[]): tf.Tensor[];
  addTapeNode(
    kernelName: string,
    inputs: Inputs,
    outputs: tf.Tensor[],
    gradientsFunc: GradientFunction | null,
    saved: tf.Tensor[],
    attrs: Record<string, unknown>,
  ): void;
}

export const engine = (): Engine => tf.engine() as unknown as Engine;

/** Whether a value of this type can carry a gradient. */
const differentiable = (tensor: tf.Tensor) => tensor.dtype === 'float32' || tensor.dtype === 'complex64';

/** One set of tensor ids for each open gradient call of ours: what depends on its watched tensors. */
const watchers: Set<number>[] = [];

/** Copies of saved tensors that wait for the operation that saves them to be recorded. */
let copies: { original: tf.Tensor; copy: tf.Tensor }[] = [];

const dependsOn = (reached: Set<number>, inputs: Inputs) => {
  for (const name in inputs) {
    const input = inputs[name];
    if (input && reached.has(input.id)) return true;
  }
  return false;
};

/**
 * Puts a stand-in where a saved input is used by no wanted gradient, so that it is not kept in memory: a convolution
 * with a frozen filter saves the filter only. Positions stay.
 */
function trim(
  config: { inputsToSave?: string[]; needs?: Record<string, readonly string[]> } | undefined,
  inputs: Inputs,
  saved: tf.Tensor[],
): tf.Tensor[] {
  if (!config?.needs || watchers.length < engine().state.gradientDepth) return saved;
  const wanted = Object.keys(inputs).filter((name) => inputs[name] && watchers.some((reached) => reached.has(inputs[name]!.id)));
  const needed = new Set(wanted.flatMap((name) => config.needs![name] ?? []));
  const standIn = config.inputsToSave!.map((name, i) => (needed.has(name) ? saved[i] : undefined)).find((tensor) => tensor);
  return standIn
    ? saved.map((tensor, i) => (tensor && i < config.inputsToSave!.length && !needed.has(config.inputsToSave![i]!) ? standIn : tensor))
    : saved;
}

/** False where nobody will ask for a gradient through an operation on `inputs`. */
function isWatched(inputs: Inputs): boolean {
  if (watchers.length < engine().state.gradientDepth) return true; // a stock gradient call is open: it may ask for anything
  return watchers.some((reached) => dependsOn(reached, inputs));
}

function record(node: TapeNode): void {
  for (const reached of watchers)
    if (dependsOn(reached, node.inputs)) for (const output of node.outputs) if (differentiable(output)) reached.add(output.id);
  engine().state.activeTape!.push(node);
}

/** Records operations until `stopRecording`; returns the set that collects the ids of all tensors that depend on `xs`. */
export function startRecording(xs: readonly tf.Tensor[]): Set<number> {
  const reached = new Set(xs.map((x) => x.id));
  engine().startTape();
  watchers.push(reached);
  return reached;
}

export function stopRecording(): void {
  watchers.pop();
  engine().endTape();
}

/** Frees what an interrupted outermost gradient call holds. */
export function clearTape(): void {
  const { state } = engine();
  for (const node of state.activeTape ?? []) for (const tensor of node.saved) tensor.dispose();
  for (const { copy } of copies) copy.dispose();
  copies = [];
  state.activeTape = null;
}

/** A second tensor of the same values; a step saves hundreds, and the way through a kernel costs more than all else about them. */
function share(x: tf.Tensor): tf.Tensor {
  const { dataId, shape, dtype } = x;
  if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') return tf.engine().runKernel('Identity', { x });
  const { backend } = engine().state.tensorInfo.get(dataId)!;
  backend.incRef(dataId);
  return tf.engine().makeTensorFromTensorInfo({ dataId, shape, dtype }, backend);
}

const repaired = Symbol.for('onestep/repaired-tape');

/** Replaces the engine's recorder; does nothing the second time. */
export function repairTape(): void {
  const target = engine() as Engine & { [repaired]?: true };
  if (target[repaired]) return;
  target[repaired] = true;

  const cloneAndRecord = target.clone.bind(target);
  target.clone = (x) => {
    if (target.state.kernelDepth === 0) return cloneAndRecord(x);
    const copy = share(x);
    copies.push({ original: x, copy });
    return copy;
  };

  const tensorsForGradient = target.getTensorsForGradient.bind(target);
  target.getTensorsForGradient = (kernelName, inputs, outputs) => {
    if (!isWatched(inputs)) return [];
    const config = tf.getGradient(kernelName);
    if (config?.saveAllInputs && !Array.isArray(inputs)) return Object.values(inputs) as tf.Tensor[];
    return trim(config, inputs, tensorsForGradient(kernelName, inputs, outputs)).filter((tensor) => tensor != null);
  };

  target.addTapeNode = (kernelName, inputs, outputs, gradientsFunc, saved, attrs) => {
    const madeCopies = copies;
    copies = [];
    if (!isWatched(inputs)) {
      for (const tensor of saved) tensor.dispose();
      return;
    }
    const gradientFunction = (tf.getGradient(kernelName)?.gradFunc as GradientFunction | undefined) ?? gradientsFunc;
    const node: TapeNode = { id: target.state.nextTapeNodeId++, kernelName, inputs, outputs, saved };
    if (gradientFunction)
      node.gradient = (dys) => {
        const config = tf.getGradient(kernelName) as { acceptsMissing?: boolean } | undefined;
        const known = config?.acceptsMissing ? (dys as tf.Tensor[]) : dys.map((dy, i) => dy ?? tf.fill(outputs[i]!.shape, 0));
        return gradientFunction(known.length > 1 ? known : known[0]!, saved, attrs ?? {}, inputs);
      };
    record(node);
    for (const { original, copy } of madeCopies)
      if (isWatched({ x: original }))
        record({
          id: target.state.nextTapeNodeId++,
          kernelName: 'Identity',
          inputs: { x: original },
          outputs: [copy],
          saved: [],
          gradient: ([dy]) => ({ x: () => tf.cast(dy!, 'float32') }),
        });
  };
}
