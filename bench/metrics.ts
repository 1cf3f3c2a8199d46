/**
 * What metrics cost, on one core: statistics, nearest neighbours and the kernel distance.
 *
 *     npx tsx bench/metrics.ts [--images 2000] [--dimensions 2048] [--subsets 3]
 *
 * Seconds of processor time; neighbours grow with the square of the number of images, the kernel distance with the number of subsets.
 */
import { parseArgs } from 'node:util';
import {
  densityCoverage,
  FeatureCollector,
  frechet,
  kernelDistance,
  PhiloxRandom,
  precisionRecall,
  type FeatureExtractor,
} from '../src/index.js';

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '2000' },
    dimensions: { type: 'string', default: '2048' },
    subsets: { type: 'string', default: '3' },
  },
});
const [images, dimensions, subsets] = [Number(values.images), Number(values.dimensions), Number(values.subsets)];

/** Features of nothing: what is measured is what comes after them. */
function noise(seed: number): FeatureExtractor {
  const random = new PhiloxRandom(seed).stream('features');
  return { name: 'noise', dimensions, extract: async (_, [count]) => random.normal(count * dimensions).map(Math.abs) };
}

async function seconds<T>(what: string, compute: () => Promise<T>): Promise<T> {
  const before = process.cpuUsage().user;
  const result = await compute();
  console.log(`${what.padEnd(44)} ${((process.cpuUsage().user - before) / 1e6).toFixed(1)} s`);
  return result;
}

const pairs = precisionRecall();
const collect = (seed: number) =>
  seconds(`statistics of ${images} x ${dimensions}`, async () => {
    const collector = new FeatureCollector(noise(seed), [frechet(), pairs]);
    for (let at = 0; at < images; at += 250) {
      const count = Math.min(250, images - at);
      await collector.add(new Uint8Array(count), [count, 1, 1, 1]);
    }
    return collector.result();
  });
const [generated, reference] = [await collect(1), await collect(2)];
const size = Math.min(1000, images);
for (const [what, metric] of [
  ['precision and recall', pairs],
  ['density and coverage', densityCoverage()],
  [`kernel distance, ${subsets} subsets of ${size}`, kernelDistance({ subsets, subsetSize: size })],
] as const)
  await seconds(what, () => metric.compute(generated, reference));
