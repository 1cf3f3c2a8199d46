/**
 * Starting values of new networks. Each tensor draws from the random stream of its own name, so that adding a layer
 * changes no other.
 */
import type { Initializer } from './module.js';

/** All 0. */
export const zeros: Initializer = (_, { size }) => new Float32Array(size);

/** All 1. */
export const ones: Initializer = (_, { size }) => new Float32Array(size).fill(1);

/** The given values, in the published layout. */
export const constant =
  (values: ArrayLike<number>): Initializer =>
  () =>
    Float32Array.from(values);

/** N(0, scale^2). */
export const normal =
  (scale = 1): Initializer =>
  (random, { name, size }) =>
    random
      .stream(`init/${name}`)
      .normal(size)
      .map((value) => value * scale);

/** U(-bound, bound). */
export const uniform =
  (bound: number): Initializer =>
  (random, { name, size }) =>
    random
      .stream(`init/${name}`)
      .uniform(size)
      .map((value) => (2 * value - 1) * bound);

/** Glorot and Bengio 2010: U(-b, b), b = scale * sqrt(6 / (fanIn + fanOut)). */
export const xavierUniform = (fanIn: number, fanOut: number, scale = 1): Initializer => uniform(scale * Math.sqrt(6 / (fanIn + fanOut)));

/** He et al. 2015: U(-b, b), b = scale * sqrt(3 / fanIn). */
export const kaimingUniform = (fanIn: number, scale = 1): Initializer => uniform(scale * Math.sqrt(3 / fanIn));

/** What PyTorch gives weight and bias of a convolution: U(-b, b), b = 1 / sqrt(fanIn) (He et al. with a = sqrt(5)). */
export const pytorchDefault = (fanIn: number): Initializer => kaimingUniform(fanIn, Math.sqrt(1 / 3));
