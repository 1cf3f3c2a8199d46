/** Files of weights and the images of the extractors' golden vectors, as test/tools/make_extractor_goldens.py makes them: nothing is stored. */
import type { TensorEntry, TensorFile } from '../../src/core/tensor-file.js';
import { placesOf, type WeightLayout } from '../../src/models/extractors/weight-layout.js';
import type { Module } from '../../src/models/index.js';
import { hashed, hashedWeight } from './hashed-weights.js';

/** uint8 images `[B, H, W, 3]`: blocks of 4 pixels and noise. */
export function hashedImages([count, height, width]: readonly [number, number, number]): Uint8Array {
  const coarse = hashed('blocks', count * (height >> 2) * (width >> 2) * 3);
  const fine = hashed('noise', count * height * width * 3);
  const images = new Uint8Array(fine.length);
  let at = 0;
  for (let b = 0; b < count; b++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++, at++) {
          const block = ((b * (height >> 2) + (y >> 2)) * (width >> 2) + (x >> 2)) * 3 + c;
          images[at] = Math.floor(127.5 + 90 * coarse[block]! + 37 * fine[at]!);
        }
  return images;
}

function value(name: string, shape: readonly number[]): Float32Array {
  const size = shape.reduce((a, b) => a * b, 1);
  if (/(gamma|lambda1)$/.test(name)) return Float32Array.from(hashed(name, size), (v) => 1 + 0.3 * v);
  if (/position|pos_embed|class_embedding$|_token$/.test(name)) return Float32Array.from(hashed(name, size), (v) => 0.5 * v);
  return hashedWeight(name, shape, /^(Conv2d|Mixed|fc)/.test(name) ? 2 : 1, false);
}

/** A file with every tensor of `network` in a published layout. */
export function hashedFile(network: Module, layout: WeightLayout): TensorFile {
  const tensors = new Map<string, TensorEntry>();
  for (const tensor of network.tensors())
    for (const { name, shape } of placesOf(layout, tensor)) tensors.set(name, { dtype: 'F32', shape });
  const readAsFloat32 = (name: string) => Promise.resolve(value(name, tensors.get(name)!.shape));
  return { metadata: {}, tensors, read: readAsFloat32, readAsFloat32 };
}
