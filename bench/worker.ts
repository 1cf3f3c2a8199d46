/**
 * Our side of a job of `npm run bench`, in a process that does nothing else.
 *
 *     npx tsx bench/worker.ts --job quickstart-edm [--threads 2] [--batch 64] [--micro-batch 64] [--profile [--shapes]] [--memory]
 *
 * Says JSON, a line each: first what it is and how many parameters it trains, then for every `run` on standard input the
 * milliseconds, for `operations` the floating-point operations, for `peak` the peak resident memory. With `--profile` it prints
 * where the time goes (`--shapes`: by the shapes of convolutions), with `--memory` what 300 steps leave behind.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { canFuse } from '../src/core/native/fused.js';
import { openBackend, type EngineName } from '../src/index.js';
import { findJob } from './jobs/index.js';
import { countOperations } from './support/operations.js';
import { profile } from './support/profile.js';

const { values } = parseArgs({
  options: {
    job: { type: 'string', default: '' },
    threads: { type: 'string', default: '2' },
    batch: { type: 'string' },
    'micro-batch': { type: 'string' },
    engine: { type: 'string', default: 'tensorflow' },
    profile: { type: 'boolean', default: false },
    shapes: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
  },
});
const job = findJob(values.job);
if (!job) throw new Error(`expected a job, found '${values.job}'`);

/** Not resourceUsage: its maximum is never below what the parent had when it made this process. */
const peak = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;

const { description } = await openBackend({ engine: values.engine as EngineName, threads: Number(values.threads) });
const idle = peak();
const fused = tf.tidy(() => canFuse([tf.scalar(0)]));
const batch = Number(values.batch ?? job.batch);
const { run, trained } = job.prepare({ batch, microBatch: Number(values['micro-batch'] ?? batch) });

function timed(): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

function printProfile(): void {
  run();
  console.log(`${job!.title}: ${timed().toFixed(1)} ms`);
  profile(run, values.shapes ? 40 : 16, { shapes: values.shapes });
}

function printMemory(): void {
  for (let i = 0; i < 20; i++) run();
  const [rss, tensors] = [process.memoryUsage().rss, tf.memory().numTensors];
  for (let i = 0; i < 300; i++) run();
  const growth = (process.memoryUsage().rss / rss - 1) * 100;
  const grown = `grew by ${growth.toFixed(1)}%; tensors grew by ${tf.memory().numTensors - tensors}`;
  console.log(`${job!.title}: 300 times: resident memory ${(rss / 2 ** 20).toFixed(0)} MiB, ${grown}`);
}

const answers: Record<string, () => object> = {
  run: () => ({ milliseconds: timed() }),
  operations: () => ({ operations: countOperations(run) }),
  peak: () => ({ peak: peak() }),
};

if (values.profile) printProfile();
if (values.memory) printMemory();
if (!values.profile && !values.memory) {
  const say = (answer: object) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  say({ description: `${description}, ${fused ? 'fused operations' : 'WITHOUT fused operations'}`, trained, idle });
  for await (const request of createInterface(process.stdin)) say(answers[request]!());
}
