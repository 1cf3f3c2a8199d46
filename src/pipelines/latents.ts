/**
 * Latents and labels by image number: image i is the same whatever batch it is made in.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ConfigError } from '../core/errors.js';
import { normalAt } from '../core/random.js';

/** Standard normal `[B, H, W, C]`, row b from image number `first + b`; `step` > 0 gives the noise of a later step. */
export function imageAt(seed: number, first: number, shape: readonly [number, number, number, number], step = 0): tf.Tensor4D {
  const [batch, height, width, channels] = shape;
  const size = height * width * channels;
  const values = new Float32Array(batch * size);
  for (let b = 0; b < batch; b++) values.set(normalAt(seed, first + b, size * (step + 1)).subarray(size * step), b * size);
  return tf.tensor4d(values, [batch, height, width, channels]);
}

/** The class of each image; undefined for an unconditional network. Throws `E_CONFIG` for classes that do not exist. */
export function labelsOf(labelDim: number, count: number, first: number, classes?: number | readonly number[]): Uint32Array | undefined {
  if (labelDim === 0) {
    if (classes !== undefined) throw new ConfigError('generate', ['classes: the network is unconditional']);
    return undefined;
  }
  if (Array.isArray(classes) && classes.length !== count)
    throw new ConfigError('generate', [`classes: expected ${count} entries, got ${classes.length}`]);
  const labels = Uint32Array.from({ length: count }, (_, i) =>
    classes === undefined ? (first + i) % labelDim : typeof classes === 'number' ? classes : classes[i]!,
  );
  const wrong = labels.find((label) => label >= labelDim);
  if (wrong !== undefined) throw new ConfigError('generate', [`classes: ${wrong} is not below the ${labelDim} classes of the network`]);
  return labels;
}
