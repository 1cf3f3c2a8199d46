/** Images by chance through the Pillow that is here: the same bytes, whatever its version and the seed. */
import { describe, expect, it } from 'vitest';
import { expectAsPillow, pillowCases } from '../support/pillow-cases.js';
import { hasModules, runTool, temporaryDirectory } from '../support/pytorch.js';

describe.skipIf(!hasModules('PIL'))('Pillow', () => {
  const directory = temporaryDirectory();
  it.each([1, 2, 3])('makes the same pixels of images by chance, seed %i', (seed) => {
    expect.hasAssertions();
    runTool('make_resized_images.py', directory, String(seed));
    for (const one of pillowCases(directory)) expectAsPillow(one);
  });
});
