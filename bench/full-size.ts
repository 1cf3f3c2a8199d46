/**
 * The published architectures at full size: time and memory of loading, of one image, and of a GDD-I iteration.
 *
 *     npm run bench:full-size [-- --networks imagenet64-adm] [--measure load,generate,distill] [--directory .onestep/full-size]
 *                             [--repeats 1] [--python python3] [--write]
 *
 * Files with random weights in EDM's snapshot format are made when absent, by test/tools/make_edm_snapshot.py: that needs a
 * Python with PyTorch and safetensors (ONESTEP_PYTHON, else python3). Every measurement is a process of its own; memory is its
 * peak resident set (VmHWM). Outputs are compared with PyTorch's. `--write` puts the tables into bench/RESULTS.md; the exit
 * code is 1 where a bar is missed.
 */
import 'reflect-metadata';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {
  denoise,
  distill,
  distributional,
  edmPreconditioning,
  encoderDiscriminator,
  generateOneStep,
  openBackend,
  r1,
  readSafetensors,
  shapes,
  teacher,
  type DataSource,
  type publishedBackbones,
} from '../src/index.js';
import { machine, table, writeSection } from './support/results.js';

const NETWORKS = [
  'cifar10-ncsnpp-uncond',
  'cifar10-ddpmpp-uncond',
  'ffhq64-ncsnpp',
  'imagenet64-adm',
] satisfies (keyof typeof publishedBackbones)[];
/** The largest network loads within so many seconds on two cores, with a peak of so many times its file. */
const BARS = { seconds: 30, peakPerFile: 3, relativeError: 1e-5 };
const MEASUREMENTS = ['load', 'generate', 'distill'] as const;

const { values } = parseArgs({
  options: {
    networks: { type: 'string', default: NETWORKS.join(',') },
    measure: { type: 'string', default: MEASUREMENTS.join(',') },
    directory: { type: 'string', default: '.onestep/full-size' },
    repeats: { type: 'string', default: '1' },
    python: { type: 'string', default: process.env['ONESTEP_PYTHON'] ?? 'python3' },
    write: { type: 'boolean', default: false },
    // What a process of its own does; set by this script alone.
    child: { type: 'string' },
  },
  allowPositionals: true,
});

type Measurement = (typeof MEASUREMENTS)[number];

/** What a child says, in seconds, bytes and relative L2 errors. */
type Report = Record<string, number>;

// ---------------------------------------------------------------------------------------------------------------------
// One measurement, in a process of its own

/** Peak resident memory of this process so far, in bytes. */
function peak(): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))!;
  return Number(kilobytes) * 1024;
}

const seconds = (since: number) => (performance.now() - since) / 1000;

function relativeError(actual: tf.Tensor, expected: tf.Tensor): number {
  return tf.tidy(() => tf.div(tf.norm(tf.sub(actual, expected)), tf.norm(expected)).dataSync()[0]!);
}

/** PyTorch's inputs and outputs of one image, `[1, H, W, C]`. */
async function expectations(path: string): Promise<Record<string, tf.Tensor>> {
  const file = await readSafetensors(path.replace(/\.pkl$/, '.io.safetensors'));
  const tensors: Record<string, tf.Tensor> = {};
  for (const [name, { shape }] of file.tensors) {
    const first = tf.slice(tf.tensor(await file.readAsFloat32(name), [...shape]), 0, 1);
    tensors[name] = shape.length === 4 ? tf.transpose(first, [0, 2, 3, 1]) : first;
  }
  return tensors;
}

async function load(path: string): Promise<Report> {
  const idle = peak();
  const start = performance.now();
  const { backbone } = await teacher(path).load();
  return { seconds: seconds(start), peak: peak(), idle, parameters: backbone.parameterCount() };
}

async function generate(path: string): Promise<Report> {
  const { backbone } = await teacher(path).load();
  const loaded = peak();
  const io = await expectations(path);
  const classLabels = io['class_labels'] as tf.Tensor2D | undefined;
  const augmentLabels = io['augment_labels'] as tf.Tensor2D | undefined;
  const oneStep = () => generateOneStep(backbone, io['latent'] as tf.Tensor4D, { classLabels });
  const times: number[] = [];
  for (let run = 0; run < 3; run++) {
    const start = performance.now();
    const image = oneStep();
    image.dataSync();
    times.push(seconds(start));
    image.dispose();
  }
  const sigma = io['sigma']!.dataSync()[0]!;
  const denoised = denoise(backbone, edmPreconditioning(), io['edm_input'] as tf.Tensor4D, sigma, { classLabels, augmentLabels });
  return {
    first: times[0]!,
    seconds: Math.min(...times),
    oneStepError: relativeError(oneStep(), io['one_step_output']!),
    denoiserError: relativeError(denoised, io['edm_output']!),
    peak: peak(),
    loaded,
  };
}

/** `source` with labels below `classes`. */
function relabelled(source: DataSource, classes: number): DataSource {
  return {
    open: async () => ({ ...(await source.open()), classes }),
    read: async (indices, signal) => ({ ...(await source.read(indices, signal)), labels: indices.map((index) => index % classes) }),
    close: () => source.close(),
  };
}

/** Three iterations of `distill` at batch 1, the first and the third with R1. */
async function distillation(path: string): Promise<Report> {
  const loader = teacher(path);
  const { img_resolution: resolution, label_dim } = await loader.describe();
  const data = shapes({ resolution, size: 1000 });
  const run = distill({
    teacher: loader,
    data: label_dim > 0 ? relabelled(data, label_dim) : data,
    // Each noise level needs an image of the batch.
    loss: distributional({ discriminator: encoderDiscriminator({ sigmas: [0.5] }), regularizers: [r1({ every: 2 })] }),
    schedule: { images: 3, batchSize: 1 },
    intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0 },
    sampleCount: 1,
  });
  const ends: number[] = [];
  let discriminator = 0;
  let generator = 0;
  let frozen = 0;
  run.events$.subscribe((event) => {
    if (event.kind === 'started') ({ discriminator, generator, frozen } = event.parameters);
    if (event.kind !== 'step') return;
    ends.push(event.elapsedSeconds);
    for (const [name, loss] of Object.entries(event.losses))
      if (!Number.isFinite(loss)) throw new Error(`${path}: expected finite losses, found ${name} ${loss}`);
  });
  const { student } = await run.completed;
  const trained = peak();
  student.dispose();
  return { seconds: ends[1]! - ends[0]!, withR1: ends[2]! - ends[1]!, peak: trained, discriminator, generator, frozen };
}

// ---------------------------------------------------------------------------------------------------------------------
// All of them

function makeFile(network: string, path: string): void {
  if (existsSync(path)) return;
  const available = spawnSync(values.python, ['-c', 'import torch, safetensors'], { encoding: 'utf8' });
  if (available.status !== 0) {
    console.error(`${path} is not there, and ${values.python} has no PyTorch with safetensors to make it: set ONESTEP_PYTHON or --python`);
    process.exit(2);
  }
  console.error(`making ${path}`);
  const script = fileURLToPath(new URL('../test/tools/make_edm_snapshot.py', import.meta.url));
  const draft = path.replace(/\.pkl$/, '.draft.pkl');
  const { status } = spawnSync(values.python, ['-B', script, network, draft, '--io', '--no-gradients'], { stdio: 'inherit' });
  if (status !== 0) process.exit(2);
  for (const extension of ['.io.safetensors', '.json', '.pkl'])
    renameSync(draft.replace(/\.pkl$/, extension), path.replace(/\.pkl$/, extension));
}

/** The repetition with the least of `seconds`; its peak is the largest of all. */
function measure(measurement: Measurement, path: string): Report {
  const script = fileURLToPath(import.meta.url);
  const reports = Array.from({ length: Number(values.repeats) }, () => {
    const child = spawnSync(process.execPath, ['--import', 'tsx', script, '--child', measurement, path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.status !== 0) throw new Error(`${measurement} ${path}: exit code ${child.status}, signal ${child.signal}`);
    return JSON.parse(child.stdout.trim().split('\n').at(-1)!) as Report;
  });
  const best = reports.reduce((a, b) => (b['seconds']! < a['seconds']! ? b : a));
  return { ...best, peak: Math.max(...reports.map((report) => report['peak']!)) };
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1e6).toLocaleString('en')} MB`;
const time = (value: number) => `${value.toFixed(value < 10 ? 2 : 1)} s`;
function main(): void {
  const networks = values.networks.split(',');
  const measurements = values.measure.split(',') as Measurement[];
  mkdirSync(values.directory, { recursive: true });
  // Others may use the machine too.
  const busy = loadavg()[0]!.toFixed(1);
  const missed: string[] = [];
  const rows: Record<Measurement, string[][]> = { load: [], generate: [], distill: [] };
  for (const network of networks) {
    const path = join(values.directory, `${network}.pkl`);
    makeFile(network, path);
    const file = statSync(path).size;
    const bar = (value: number, limit: number, what: string) => {
      if (!(value <= limit)) missed.push(`${network}: ${what} ${value.toPrecision(3)}, the bar is ${limit}`);
    };
    for (const measurement of measurements) {
      const report = measure(measurement, path);
      console.error(network, measurement, JSON.stringify(report));
      const share = (name: string) => `${megabytes(report[name]!)} (${(report[name]! / file).toFixed(2)} files)`;
      if (measurement === 'load') {
        bar(report['seconds']!, BARS.seconds, 'seconds to load');
        // A small network's peak is that of the engine's own libraries.
        if (file > 1e9) bar(report['peak']! / file, BARS.peakPerFile, 'peak memory in files');
        rows.load.push([network, megabytes(file), time(report['seconds']!), share('peak'), megabytes(report['idle']!)]);
      }
      if (measurement === 'generate') {
        bar(report['oneStepError']!, BARS.relativeError, 'relative error of G');
        bar(report['denoiserError']!, BARS.relativeError, 'relative error of D');
        const errors = ['oneStepError', 'denoiserError'].map((name) => report[name]!.toExponential(1));
        rows.generate.push([network, time(report['first']!), time(report['seconds']!), share('peak'), ...errors]);
      }
      if (measurement === 'distill') {
        const trained = ((report['generator']! - report['frozen']!) / 1e6).toFixed(1);
        const counts = [`${trained} M`, `${(report['discriminator']! / 1e6).toFixed(1)} M`];
        rows.distill.push([network, ...counts, time(report['seconds']!), time(report['withR1']!), share('peak')]);
      }
    }
  }
  const heads: Record<Measurement, [title: string, head: string[]]> = {
    load: ['Loading an EDM snapshot', ['network', 'file', 'time', 'peak memory', 'before loading']],
    generate: ['One step, one image, against PyTorch', ['network', 'first', 'time', 'peak memory', 'error of G', 'error of D']],
    distill: ['A GDD-I iteration at batch 1', ['network', 'trained of G', 'D', 'iteration', 'with R1', 'peak memory']],
  };
  const sections = measurements.map((name) => `### ${heads[name][0]}\n\n${table(heads[name][1], rows[name])}`);
  const passed = missed.length === 0 ? 'Every bar is met.' : `Missed: ${missed.join('; ')}.`;
  const command = `npm run bench:full-size -- --networks ${networks.join(',')} --repeats ${values.repeats}`;
  const text = `## Full size\n\n\`${command}\`\n\n${machine()}; Node ${process.versions.node}; load average ${busy} before. Random weights; relative L2 errors. ${passed}\n\n${sections.join('\n\n')}\n`;
  console.log(text);
  if (values.write) writeSection(text);
  if (missed.length > 0) process.exitCode = 1;
}

const children: Record<Measurement, (path: string) => Promise<Report>> = { load, generate, distill: distillation };
if (values.child === undefined) main();
else {
  await openBackend({ engine: 'tensorflow' });
  console.log(JSON.stringify(await children[values.child as Measurement](process.argv.at(-1)!)));
}
