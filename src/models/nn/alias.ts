/**
 * A tensor of one network under the name that it has in another, so that a checkpoint can tell apart two of a kind.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { NamedTensor } from '../../core/parameter.js';

/** `tensor` under another name: the same values, shape and layout; disposing either disposes both. */
export class AliasTensor extends NamedTensor {
  readonly #tensor: NamedTensor;

  constructor(name: string, tensor: NamedTensor) {
    super(name, tensor.shape);
    this.#tensor = tensor;
  }

  override get engineShape(): number[] {
    return this.#tensor.engineShape;
  }

  override get allocated(): boolean {
    return this.#tensor.allocated;
  }

  override get value(): tf.Tensor {
    return this.#tensor.value;
  }

  override assign(value: tf.Tensor): void {
    this.#tensor.assign(value);
  }

  override load(data: Float32Array, shape?: readonly number[]): void {
    this.#tensor.load(data, shape);
  }

  override published(value: tf.Tensor): Float32Array {
    return this.#tensor.published(value);
  }

  override dispose(): void {
    this.#tensor.dispose();
  }
}
