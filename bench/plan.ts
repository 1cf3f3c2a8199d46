/**
 * What a plan counts beside the memory that the process then takes.
 *
 *     npx tsx bench/plan.ts [--channels 64] [--resolution 32] [--micro-batch 16] [--gdd]
 *
 * NCSN++ of CIFAR-10's depth with random weights, three iterations of one micro-batch: bytes of tensors, planned and
 * measured, and the growth of the peak resident set (VmHWM, Linux) since the engine was opened.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  createBackbone,
  distill,
  distributional,
  encoderDiscriminator,
  freezeConvolutions,
  freezeNothing,
  MemoryMeter,
  openBackend,
  PhiloxRandom,
  planDistillation,
  publishedBackbones,
  r1,
  shapes,
  type DistillOptions,
} from '../src/index.js';

const { values } = parseArgs({
  options: {
    channels: { type: 'string', default: '64' },
    resolution: { type: 'string', default: '32' },
    'micro-batch': { type: 'string', default: '16' },
    gdd: { type: 'boolean', default: false },
  },
});
const [channels, resolution, batchSize] = [values.channels, values.resolution, values['micro-batch']].map(Number) as [
  number,
  number,
  number,
];
const { config } = createBackbone({
  ...publishedBackbones['cifar10-ncsnpp-uncond'],
  model_channels: channels,
  img_resolution: resolution,
});
const options = (): DistillOptions => ({
  teacher: {
    name: 'random',
    describe: () => Promise.resolve(config),
    load: () => Promise.resolve({ name: 'random', backbone: createBackbone(config).initialize(new PhiloxRandom(0)) }),
  },
  data: shapes({ resolution, size: 1000 }),
  freeze: values.gdd ? freezeNothing() : freezeConvolutions(),
  loss: distributional({ discriminator: encoderDiscriminator({ end: 8 }), regularizers: [r1({ every: 2 })] }),
  schedule: { images: 3 * batchSize, batchSize },
  intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0 },
  sampleCount: 1,
});

const peakResident = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

const { memory } = await planDistillation(options());
console.log((await openBackend({ engine: 'tensorflow' })).description);
const before = peakResident();
const meter = new MemoryMeter();
const { student } = await distill(options()).completed;
meter.stop();
student.dispose();
const grown = peakResident() - before;
console.log(`planned            ${megabytes(memory.total)} of tensors`);
console.log(`measured           ${megabytes(meter.peak)} of tensors, planned / measured ${(memory.total / meter.peak).toFixed(3)}`);
console.log(`resident set grew  ${megabytes(grown)} from ${megabytes(before)}, planned / grown ${(memory.total / grown).toFixed(3)}`);
