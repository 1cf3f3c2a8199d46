/** The weights of the feature networks' golden vectors, as test/tools/make_feature_goldens.py makes them. */
import type { TensorFile } from '../../src/core/tensor-file.js';
import type { NamedTensor } from '../../src/core/parameter.js';
import type { WeightSource } from '../../src/models/index.js';

/** Uniform values in [-1, 1) by name and index: FNV-1a of the name, then the finalizer of MurmurHash3. */
export function hashed(name: string, size: number): Float64Array {
  let seed = 0x811c9dc5;
  for (const byte of Buffer.from(name)) seed = Math.imul(seed ^ byte, 0x01000193);
  // Loops: `from` with a function takes ten times as long, and networks have 90 million values.
  const values = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    let h = (Math.imul(i, 0x9e3779b1) + seed) >>> 0;
    h ^= h >>> 16;
    h = Math.imul(h, 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
    values[i] = (h >>> 8) / 2 ** 23 - 1;
  }
  return values;
}

function mapped(u: Float64Array, f: (value: number) => number): Float32Array {
  const values = new Float32Array(u.length);
  for (let i = 0; i < u.length; i++) values[i] = f(u[i]!);
  return values;
}

/** The value of a tensor with a published name; `aroundThree` for the batch normalisation of a network with kinks. */
export function hashedWeight(name: string, shape: readonly number[], gain: number, aroundThree: boolean): Float32Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const u = hashed(name, size);
  const fanIn = shape.length < 2 ? 1 : size / shape[0]!;
  const scale = Math.sqrt((3 * gain) / fanIn);
  if (name.endsWith('running_var')) return mapped(u, (v) => 1 + 0.5 * v);
  if (name.endsWith('running_mean')) return mapped(u, (v) => 0.1 * v);
  if (/(_token|pos_embed)$/.test(name)) return mapped(u, (v) => 0.5 * v);
  if (shape.length >= 2) return mapped(u, (v) => v * scale);
  if (name.endsWith('weight')) return mapped(u, (v) => (aroundThree ? 0.2 : 1) * (1 + 0.3 * v));
  return mapped(u, (v) => (aroundThree ? 3 * Math.sign(v) : 0.1 * v));
}

/**
 * A source of such weights for `tensors`; `gain` is the variance that a layer's weights give to its input's. The statistics
 * of batch normalisation come from `golden`.
 */
export function hashedWeights(tensors: readonly NamedTensor[], gain: number, golden?: TensorFile): WeightSource {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return {
    name: 'hashed weights',
    has: (name) => byName.has(name),
    shape: (name) => byName.get(name)!.shape,
    read: (name) => {
      if (golden?.tensors.has(name)) return golden.readAsFloat32(name);
      const layer = name.slice(0, name.lastIndexOf('.'));
      return hashedWeight(name, byName.get(name)!.shape, gain, byName.has(`${layer}.running_mean`));
    },
    names: () => byName.keys(),
  };
}
