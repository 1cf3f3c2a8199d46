/**
 * The feature extractors beside PyTorch with torchvision, transformers and timm, on the same threads: images a second, resizing included.
 *
 *     npx tsx bench/extractors.ts [--batch 16] [--threads 2] [--repeats 5] [--python python3] [--networks inception-v3,…] [--rounds 1]
 *
 * Random weights, uint8 images of 32x32. Medians; both sides take turns, a network at a time. Without PyTorch only ours is printed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { clipVitB32, dinov2VitL14, inceptionV3, openBackend, PhiloxRandom, type FeatureExtractor } from '../src/index.js';
import { writeSafetensors } from '../src/core/safetensors.js';
import { CLIP_VIT_B32 } from '../src/models/extractors/clip-vit-b32.js';
import { DINOV2_VIT_L14 } from '../src/models/extractors/dinov2-vit-l14.js';
import { InceptionNetwork, VisionTransformer, type Module } from '../src/models/index.js';
import { CLIP_LAYOUTS } from '../src/models/extractors/clip-vit-b32.js';
import { hashedFile } from '../test/support/hashed-file.js';
import type { WeightLayout } from '../src/models/extractors/weight-layout.js';

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '16' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '1' },
    python: { type: 'string', default: 'python3' },
    engine: { type: 'string', default: 'tensorflow' },
    networks: { type: 'string', default: 'inception-v3,clip-vit-b32,dinov2-vit-l14' },
  },
});
const batch = Number(values.batch);
const same: WeightLayout = { name: 'published', place: (name) => name };

interface Entry {
  create(): Module;
  layout: WeightLayout;
  extractor(weights: string): FeatureExtractor;
}
const networks: Record<string, Entry> = {
  'inception-v3': {
    create: () => new InceptionNetwork(),
    layout: same,
    extractor: (weights) => inceptionV3({ weights, batchSize: batch }),
  },
  'clip-vit-b32': {
    create: () => new VisionTransformer(CLIP_VIT_B32),
    layout: CLIP_LAYOUTS[0]!,
    extractor: (weights) => clipVitB32({ weights, batchSize: batch }),
  },
  'dinov2-vit-l14': {
    create: () => new VisionTransformer(DINOV2_VIT_L14),
    layout: same,
    extractor: (weights) => dinov2VitL14({ weights, batchSize: batch }),
  },
};

async function ours({ create, layout, extractor: of }: Entry): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-extractor-'));
  const weights = join(folder, 'weights.safetensors');
  const file = hashedFile(create(), layout);
  const extractor = of(weights);
  try {
    await writeSafetensors(
      weights,
      [...file.tensors].map(([name, { shape }]) => ({ name, shape, data: () => file.readAsFloat32(name) })),
      {},
    );
    await extractor.prepare!();
    const images = Uint8Array.from(new PhiloxRandom(0).stream('images').uniform(batch * 32 * 32 * 3), (u) => Math.floor(256 * u));
    const rates: number[] = [];
    for (let repeat = 0; repeat <= Number(values.repeats); repeat++) {
      const start = performance.now();
      await extractor.extract(images, [batch, 32, 32, 3]);
      rates.push((1000 * batch) / (performance.now() - start));
    }
    return rates.slice(1); // The first one warms up.
  } finally {
    extractor.dispose!();
    rmSync(folder, { recursive: true });
  }
}

const script = fileURLToPath(new URL('./extractors.py', import.meta.url));
function pytorch(network: string): number[] {
  const flags = ['--batch', values.batch, '--threads', values.threads, '--repeats', values.repeats, '--network', network];
  const { status, stdout } = spawnSync(values.python, ['-B', script, ...flags], { encoding: 'utf8' });
  return status === 0 ? (JSON.parse(stdout.trim().split('\n').at(-1)!) as number[]) : [];
}

const median = (rates: number[]) => [...rates].sort((a, b) => a - b)[rates.length >> 1]!;

const backend = await openBackend({ engine: values.engine as 'tensorflow', threads: Number(values.threads) });
console.log(`${backend.description}; batch ${batch}, images of 32x32; images a second, medians`);
for (const name of values.networks.split(',')) {
  const [mine, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    mine.push(...(await ours(networks[name]!)));
    theirs.push(...pytorch(name));
  }
  const beside =
    theirs.length > 0
      ? `   PyTorch${median(theirs).toFixed(2).padStart(9)}   ${(median(mine) / median(theirs)).toFixed(2)} of PyTorch's`
      : '';
  console.log(`${name.padEnd(18)}onestep${median(mine).toFixed(2).padStart(9)}${beside}`);
}
