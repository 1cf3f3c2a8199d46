/** Pixels that the feature extractors' networks see, beside those of test/tools/extractor_pixels.py. */
import { expect } from 'vitest';
import type { TensorFile } from '../../src/core/tensor-file.js';
import { clipPixels } from '../../src/models/extractors/clip-vit-b32.js';
import { inceptionInput } from '../../src/models/extractors/inception-v3.js';
import { resizeBytes } from '../../src/models/extractors/prepare-images.js';
import { hashed } from './hashed-weights.js';

/** Compares every resizing of the image of `size` (`HEIGHTxWIDTH`) with each `every`th value of `golden`: bytes equal, floats to rounding. */
export async function expectPixels(golden: TensorFile, size: string, every = 1): Promise<void> {
  const [height, width] = size.split('x').map(Number) as [number, number];
  const image = Uint8Array.from(hashed(size, height * width * 3), (u) => Math.floor(128 * (1 + u)));
  const shape = [1, height, width, 3] as const;
  const pick = <T extends Uint8Array | Float32Array>(values: T) => values.filter((_, i) => i % every === 0);
  for (const [name, found] of [
    ['clip', clipPixels(image, shape)],
    ['dinov2', resizeBytes(image, shape, [224, 224])],
  ] as const)
    expect(
      Buffer.compare(Buffer.from(pick(found)), Buffer.from((await golden.read(`${size}.${name}`)) as Uint8Array)),
      `${name} of ${size}`,
    ).toBe(0);
  for (const resize of ['tensorflow', 'pytorch-fid', 'clean'] as const) {
    const input = inceptionInput(image, shape, resize);
    // Back from the network's range to [0, 255].
    const pixels = input.dataSync<'float32'>().map((x) => (resize === 'pytorch-fid' ? 127.5 : 128) * (x + 1));
    input.dispose();
    expect(pick(pixels), `${resize} of ${size}`).toBeAllclose(await golden.readAsFloat32(`${size}.${resize}`), { atol: 1e-4 });
  }
}
