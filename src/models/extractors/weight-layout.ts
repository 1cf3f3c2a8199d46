/**
 * The names and shapes under which one network's weights are published by different people.
 */
import type { Hash } from 'node:crypto';
import { WeightsError } from '../../core/errors.js';
import type { TensorFile } from '../../core/tensor-file.js';
import type { NamedTensor } from '../../core/parameter.js';
import type { Module, WeightSource } from '../nn/module.js';

/** Where a tensor lies in a file: a name, parts that follow each other along the first axis, or the transpose of a matrix. */
export type Placement = string | readonly string[] | { readonly transposed: string };

/** A published way to name a network's tensors. */
export interface WeightLayout {
  /** For messages, such as `Hugging Face (vision_model.…)`. */
  readonly name: string;
  /** Where a tensor of the network lies; undefined for a name that the network does not have. */
  place(tensor: string): Placement;
}

/** Tensors listed in one message. */
const LISTED = 64;

/** Name and shape in the file of everything that a tensor is made of. */
export function placesOf(
  layout: WeightLayout,
  { name, shape }: Pick<NamedTensor, 'name' | 'shape'>,
): { name: string; shape: readonly number[] }[] {
  const placement = layout.place(name);
  if (typeof placement === 'string') return [{ name: placement, shape }];
  if ('transposed' in placement) return [{ name: placement.transposed, shape: [...shape].reverse() }];
  return placement.map((part) => ({ name: part, shape: [shape[0]! / placement.length, ...shape.slice(1)] }));
}

/** Leading axes of one element are as good as none: a class token is `[1, 1, C]` to some and `[C]` to others. */
const squeezed = (shape: readonly number[]): string => {
  const from = shape.findIndex((n) => n !== 1);
  return (from < 0 ? [] : shape.slice(from)).join(', ');
};

function transpose(values: Float32Array, [rows, columns]: readonly number[]): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows!; i++) for (let j = 0; j < columns!; j++) result[j * rows! + i] = values[i * columns! + j]!;
  return result;
}

/** The layout of `file` with what stands before its names: the one whose names it has most of. */
function findLayout(file: TensorFile, path: string, network: Module, layouts: readonly WeightLayout[]): [WeightLayout, string] {
  const names = [...file.tensors.keys()];
  let best: { layout: WeightLayout; prefix: string; hits: number } | undefined;
  for (const layout of layouts) {
    const wanted = network.tensors().flatMap((tensor) => placesOf(layout, tensor).map(({ name }) => name));
    // Any name will do that the file has, with something before it or without.
    const anchor = wanted.find((name) => name.includes('.') && names.some((found) => found === name || found.endsWith(`.${name}`)));
    for (const found of anchor === undefined ? [] : names.filter((name) => name === anchor || name.endsWith(`.${anchor}`))) {
      const prefix = found.slice(0, found.length - anchor!.length);
      const hits = wanted.filter((name) => file.tensors.has(prefix + name)).length / wanted.length;
      if (hits > (best?.hits ?? 0)) best = { layout, prefix, hits };
    }
  }
  if (best) return [best.layout, best.prefix];
  throw new WeightsError(
    'E_WEIGHTS_MISMATCH',
    `${path}: expected weights in one of these layouts: ${layouts.map(({ name }) => name).join(', ')}; found ${names.length} tensors of other names (${names.slice(0, 3).join(', ')}, …)`,
    { help: 'the file belongs to another network; see docs/guides/feature-extractors.md for where each is published' },
  );
}

/**
 * The weights of `network` in `file`, whichever of `layouts` it has, with or without something before the names.
 *
 * Throws `E_WEIGHTS_MISMATCH` that lists every tensor that is missing or has another shape, under its name in the file.
 */
export function weightsIn(file: TensorFile, path: string, network: Module, layouts: readonly WeightLayout[]): WeightSource {
  const [layout, prefix] = findLayout(file, path, network, layouts);
  const tensors = new Map(network.tensors().map((tensor) => [tensor.name, tensor]));
  const problems: string[] = [];
  for (const tensor of tensors.values())
    for (const { name, shape } of placesOf(layout, tensor)) {
      const found = file.tensors.get(prefix + name)?.shape;
      if (found && squeezed(found) === squeezed(shape)) continue;
      problems.push(`${prefix}${name}: expected shape [${shape.join(', ')}], ${found ? `found [${found.join(', ')}]` : 'not in the file'}`);
    }
  if (problems.length > 0) {
    const shown = problems.slice(0, LISTED).map((problem) => `  - ${problem}`);
    if (problems.length > LISTED) shown.push(`  - … and ${problems.length - LISTED} more`);
    throw new WeightsError('E_WEIGHTS_MISMATCH', `${path}: ${problems.length} tensors of ${layout.name} do not fit\n${shown.join('\n')}`, {
      help: 'the file is incomplete or belongs to another network or variant of it; see docs/guides/feature-extractors.md',
    });
  }
  return {
    name: path,
    has: (name) => tensors.has(name),
    shape: (name) => tensors.get(name)!.shape,
    names: () => tensors.keys(),
    read: async (name) => {
      const placement = layout.place(name);
      const { shape, size } = tensors.get(name)!;
      if (typeof placement === 'string') return file.readAsFloat32(prefix + placement);
      if ('transposed' in placement) return transpose(await file.readAsFloat32(prefix + placement.transposed), [...shape].reverse());
      const joined = new Float32Array(size);
      for (const [i, part] of placement.entries()) joined.set(await file.readAsFloat32(prefix + part), (i * size) / placement.length);
      return joined;
    },
  };
}

/** `source`, telling `hash` everything that is read from it: the same weights give the same digest, whatever file they lie in. */
export function hashing(source: WeightSource, hash: Hash): WeightSource {
  return {
    name: source.name,
    has: (name) => source.has(name),
    shape: (name) => source.shape(name),
    names: () => source.names(),
    read: async (name) => {
      const values = await source.read(name);
      hash.update(`${name} ${source.shape(name).join(',')}\n`);
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return values;
    },
  };
}
