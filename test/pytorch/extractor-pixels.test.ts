/** Every pixel of every resizing beside TensorFlow 1's arithmetic in NumPy, PyTorch and Pillow. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readSafetensors } from '../../src/core/safetensors.js';
import type { TensorFile } from '../../src/core/tensor-file.js';
import { engines, useEngine } from '../support/engines.js';
import { expectPixels } from '../support/extractor-pixels.js';
import { hasModules, runTool, temporaryDirectory } from '../support/pytorch.js';

const SIZES = ['32x32', '64x64', '33x7', '1x5', '1x1', '9x2', '301x11', '299x299', '224x224', '513x255', '300x640'];

describe.skipIf(!hasModules('PIL', 'timm', 'torchvision'))("the extractors' resizing", () => {
  const path = join(temporaryDirectory(), 'pixels.safetensors');
  let golden: TensorFile;
  beforeAll(async () => {
    await useEngine(engines[0]!);
    runTool('extractor_pixels.py', path, ...SIZES);
    golden = await readSafetensors(path);
  }, 600_000);

  it.each(SIZES)('is that of the published code for %s', async (size) => {
    expect.hasAssertions();
    await expectPixels(golden, size);
  });
});
