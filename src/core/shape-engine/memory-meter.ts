/**
 * How many bytes of tensors live, and how many at most did.
 *
 * `tf.memory().numBytes` counts a reshaped or copied tensor a second time although it shares its values; this counts
 * values, and their peak. What an engine takes for itself (workspaces of convolutions, fragments) is not seen.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError } from '../errors.js';

/** Kernels whose result shares the values of their input. */
const SHARING = new Set(['Identity', 'Reshape', 'ExpandDims']);

interface Values {
  bytes: number;
  holders: number;
}

/** The parts of the engine that its type declarations keep private. */
interface Engine {
  trackTensor(tensor: tf.Tensor, backend: unknown): void;
  removeDataId(dataId: object, backend: unknown): void;
  runKernelFunc(kernel: { kernelName?: string; inputs?: Record<string, tf.Tensor> }): unknown;
}

let measuring = false;

/** Counts the tensors that are made from its start to `stop()`; one at a time. */
export class MemoryMeter {
  /** Bytes of living tensors. */
  bytes = 0;
  /** The most there were since the start or the last `restart()`. */
  peak = 0;
  readonly #values = new Map<object, Values>();
  readonly #restore: () => void;
  /** What the running kernel's result shares its values with. */
  #shared: { values: Values; size: number } | undefined;

  constructor() {
    if (measuring)
      throw new ArgumentError('E_VALUE', 'MemoryMeter: expected no other meter, found one running', { help: 'stop() the other one first' });
    measuring = true;
    const engine = tf.engine() as unknown as Engine;
    const own = { trackTensor: engine.trackTensor, removeDataId: engine.removeDataId, runKernelFunc: engine.runKernelFunc };
    engine.trackTensor = (tensor, backend) => {
      own.trackTensor.call(engine, tensor, backend);
      this.#add(tensor);
    };
    engine.removeDataId = (dataId, backend) => {
      own.removeDataId.call(engine, dataId, backend);
      this.#remove(dataId);
    };
    engine.runKernelFunc = (kernel) => {
      const outer = this.#shared;
      const [input] = SHARING.has(kernel.kernelName ?? '') ? Object.values(kernel.inputs!) : [];
      const values = input && this.#values.get(input.dataId);
      this.#shared = values && { values, size: input!.size };
      try {
        return own.runKernelFunc.call(engine, kernel);
      } finally {
        this.#shared = outer;
      }
    };
    this.#restore = () => Object.assign(engine, own);
  }

  /** Forgets the peak: it is again what lives now. */
  restart(): void {
    this.peak = this.bytes;
  }

  /** The most bytes that lived while `f` ran, above those that live now. */
  peakOf(f: () => void): number {
    const before = this.bytes;
    this.restart();
    f();
    return this.peak - before;
  }

  /** What `f` leaves. */
  growthBy(f: () => void): number {
    const before = this.bytes;
    f();
    return this.bytes - before;
  }

  stop(): void {
    this.#restore();
    measuring = false;
  }

  #add({ dataId, size, dtype }: tf.Tensor): void {
    if (this.#values.has(dataId) || dtype === 'string' || dtype === 'complex64') return;
    const values = this.#shared?.size === size ? this.#shared.values : { bytes: size * tf.util.bytesPerElement(dtype), holders: 0 };
    this.#values.set(dataId, values);
    if (values.holders++ > 0) return;
    this.bytes += values.bytes;
    this.peak = Math.max(this.peak, this.bytes);
  }

  #remove(dataId: object): void {
    const values = this.#values.get(dataId);
    if (!values) return;
    this.#values.delete(dataId);
    if (--values.holders === 0) this.bytes -= values.bytes;
  }
}
