/**
 * Randomness: seeded, counter-based, part of the checkpoint.
 */

/** One independent stream of random numbers. The n-th number depends on seed, name and n alone. */
export interface RandomStream {
  /** Standard normal float32 values. */
  normal(length: number): Float32Array;
  /** Uniform float32 values in [0, 1). */
  uniform(length: number): Float32Array;
  /** Integers in [0, bound). */
  integers(length: number, bound: number): Uint32Array;
}

/** Independent streams of random numbers by name, from one seed. */
export interface RandomSource {
  readonly seed: number;
  /** The stream of that name; the same object each time. */
  stream(name: string): RandomStream;
  /** Position of every stream that was used. */
  state(): RandomState;
  restore(state: RandomState): void;
}

/** Where every stream stands; plain JSON. */
export interface RandomState {
  seed: number;
  /** Counter by stream name. */
  counters: Record<string, number>;
}
