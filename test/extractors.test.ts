/** The feature extractors against torchvision, transformers and timm: features and probabilities of resized images. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '../src/core/safetensors.js';
import type { TensorFile } from '../src/core/tensor-file.js';
import type { FeatureExtractor } from '../src/index.js';
import { CLIP_LAYOUTS, CLIP_VIT_B32, clipExtractor } from '../src/models/extractors/clip-vit-b32.js';
import { DINOV2_LAYOUTS, DINOV2_VIT_L14, dinov2Extractor } from '../src/models/extractors/dinov2-vit-l14.js';
import { INCEPTION_LAYOUT } from '../src/models/extractors/inception-v3.js';
import type { WeightLayout } from '../src/models/extractors/weight-layout.js';
import { InceptionNetwork, inceptionV3, VisionTransformer, type Module } from '../src/models/index.js';
import { engines, useEngine } from './support/engines.js';
import { openGolden } from './support/golden.js';
import { hashedFile, hashedImages } from './support/hashed-file.js';

/** Networks of hundreds of millions of weights take minutes and gigabytes: ONESTEP_FULL_SIZE=1 compares them too. */
const fullSize = process.env['ONESTEP_FULL_SIZE'] === '1';
if (!fullSize) console.log('skipped: CLIP and DINOv2 of full size; set ONESTEP_FULL_SIZE=1');

const IMAGES = [
  [2, 32, 32],
  [1, 40, 56],
] as const;

interface Case {
  name: string;
  create: () => Module;
  layout: WeightLayout;
  extractor: (weights: string) => FeatureExtractor;
  size?: 'full' | 'large';
}

const small = { width: 64, depth: 2, heads: 4 };
const clip = { ...CLIP_VIT_B32, ...small, projection: 16 };
const dinov2 = { ...DINOV2_VIT_L14, ...small };
const [clipHuggingFace, clipOpenAi] = CLIP_LAYOUTS as [WeightLayout, WeightLayout];
const [dinov2Meta, dinov2HuggingFace] = DINOV2_LAYOUTS as [WeightLayout, WeightLayout];
const fullClip = {
  create: () => new VisionTransformer(CLIP_VIT_B32),
  extractor: (weights: string) => clipExtractor(CLIP_VIT_B32, { weights }),
};
const fullDinov2 = {
  create: () => new VisionTransformer(DINOV2_VIT_L14),
  extractor: (weights: string) => dinov2Extractor(DINOV2_VIT_L14, { weights }),
};

const cases: Case[] = [
  {
    name: 'inception-v3',
    create: () => new InceptionNetwork(),
    layout: INCEPTION_LAYOUT,
    extractor: (weights) => inceptionV3({ weights, batchSize: 1 }),
    size: 'large',
  },
  {
    name: 'clip-small',
    create: () => new VisionTransformer(clip),
    layout: clipHuggingFace,
    extractor: (weights) => clipExtractor(clip, { weights }),
  },
  {
    name: 'dinov2-small',
    create: () => new VisionTransformer(dinov2),
    layout: dinov2HuggingFace,
    extractor: (weights) => dinov2Extractor(dinov2, { weights }),
  },
  { name: 'clip-hf', ...fullClip, layout: clipHuggingFace, size: 'full' },
  { name: 'clip-openai', ...fullClip, layout: clipOpenAi, size: 'full' },
  { name: 'dinov2-hf', ...fullDinov2, layout: dinov2HuggingFace, size: 'full' },
  { name: 'dinov2-meta', ...fullDinov2, layout: dinov2Meta, size: 'full' },
];

/** Writes a file of weights in a published layout. */
const write = (path: string, file: TensorFile) =>
  writeSafetensors(
    path,
    [...file.tensors].map(([name, { shape }]) => ({ name, shape, data: () => file.readAsFloat32(name) })),
    {},
  );

describe.each(engines)('feature extractors on %s', (engine) => {
  beforeAll(() => useEngine(engine));
  const chosen = cases.filter(({ size }) =>
    size === 'full' ? fullSize && engine === 'tensorflow' : size !== 'large' || engine === engines[0],
  );

  describe.each(chosen)('$name', ({ name, create, layout, extractor: of }) => {
    let golden: TensorFile;
    let extractor: FeatureExtractor;
    let before: number;
    beforeAll(async () => {
      golden = await openGolden(`extractors/${name}.safetensors`);
      const folder = mkdtempSync(join(tmpdir(), 'extractor-'));
      try {
        const path = join(folder, 'weights.safetensors');
        await write(path, hashedFile(create(), layout));
        before = tf.memory().numTensors;
        extractor = of(path);
        await extractor.prepare!();
      } finally {
        rmSync(folder, { recursive: true });
      }
    }, 600_000);

    it('gives the published features', { timeout: 600_000 }, async () => {
      const prepared = tf.memory().numTensors;
      for (const [k, shape] of IMAGES.entries()) {
        const features = await extractor.extract(hashedImages(shape), [...shape, 3]);
        expect(features, `images ${k}`).toBeCloseInL2(await golden.readAsFloat32(`features.${k}`), 1e-5);
      }
      expect(tf.memory().numTensors).toBe(prepared);
    });

    if (name === 'inception-v3')
      it('and class probabilities, without the bias, of the same pass', async () => {
        const images = hashedImages(IMAGES[0]);
        const { features, probabilities } = await extractor.extractWithProbabilities!(images, [...IMAGES[0], 3]);
        expect(features).toBeCloseInL2(await golden.readAsFloat32('features.0'), 1e-5);
        expect(probabilities).toBeCloseInL2(await golden.readAsFloat32('probabilities.0'), 1e-5);
        expect(probabilities.length).toBe(2 * extractor.classes!);
      });

    it('leaves nothing when disposed', () => {
      extractor.dispose!();
      expect(tf.memory().numTensors).toBe(before);
    });
  });
});
