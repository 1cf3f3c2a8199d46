/**
 * Every job beside PyTorch's, eager and compiled, in one run on the same threads: time, peak memory, distance to what the machine can do.
 *
 *     npm run bench [-- --jobs quickstart-edm,cifar10-edm] [--rounds 7] [--repeats N] [--threads 2] [--python python3] [--quick]
 *
 * A job is a process on each side that does nothing else. Both of PyTorch's sides are tried in both memory formats and go on in the
 * faster one; then all take turns. Compilation takes minutes a job, once: what was compiled stays in the system's temporary folder.
 * `--help` lists the options.
 */
import { spawnSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { findJob, jobs, matrixProduct, MATRIX_SIDE } from './jobs/index.js';
import type { Job } from './jobs/job.js';
import { contest, ourCommand, type ContestOptions } from './support/contest.js';
import { barsMet, best, limitTable, memoryTable, timeTable } from './support/report.js';
import { machine, RESULTS, writeSection } from './support/results.js';

const ALL = Object.keys(jobs);
const HELP = `npm run bench -- [options]

  --jobs LIST       by commas, of: ${ALL.join(', ')}
  --rounds N        turns of each side (7; at least 7 give figures worth keeping)
  --repeats N       runs in a row at a turn (3 of short jobs, 1 of others)
  --threads N       of both sides (2)
  --batch N         instead of a job's own
  --micro-batch N   images at a time on our side, where a step accumulates gradients
  --engine NAME     of ours (tensorflow)
  --python PATH     a Python with PyTorch, torchvision, timm and safetensors (ONESTEP_PYTHON, else python3); 'none' leaves it out
  --results PATH    the file that the tables go to; without it bench/RESULTS.md, where all jobs were measured
  --quick           two rounds, PyTorch eager in its own memory format alone; nothing is written
  --profile         where our time goes instead; --shapes: by the shapes of convolutions
  --memory          what 300 of our steps leave behind instead
`;

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: ALL.join(',') },
    rounds: { type: 'string' },
    repeats: { type: 'string' },
    threads: { type: 'string', default: '2' },
    batch: { type: 'string' },
    'micro-batch': { type: 'string' },
    engine: { type: 'string', default: 'tensorflow' },
    python: { type: 'string', default: process.env['ONESTEP_PYTHON'] ?? 'python3' },
    results: { type: 'string' },
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    shapes: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

/** The version of PyTorch; undefined where there is none. */
function pytorchVersion(): string | undefined {
  if (values.python === 'none') return undefined;
  const { status, stdout } = spawnSync(values.python, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

const optionsOf = (job: Job, python: string | undefined): ContestOptions => ({
  rounds: Number(values.rounds ?? (values.quick ? 2 : 7)),
  repeats: Number(values.repeats ?? job.repeats),
  batch: Number(values.batch ?? job.batch),
  threads: Number(values.threads),
  flags: ['--engine', values.engine, ...(values['micro-batch'] ? ['--micro-batch', values['micro-batch']] : [])],
  python,
  quick: values.quick,
});

async function compare(names: readonly string[]): Promise<void> {
  const [before] = loadavg();
  const version = pytorchVersion();
  const python = version === undefined ? undefined : values.python;
  const product = await contest('matrix', matrixProduct, { ...optionsOf(matrixProduct, python), batch: 1, quick: true });
  /** Operations a millisecond, of the better side at its best. */
  const rate = (2 * MATRIX_SIDE ** 3) / Math.min(product.sides.onestep.least, best(product, 'least') ?? Infinity);
  const outcomes = [];
  for (const name of names) outcomes.push(await contest(name, findJob(name)!, optionsOf(findJob(name)!, python)));

  const { met, all } = barsMet(outcomes);
  const reasons = [...new Set(outcomes.flatMap(({ cannot }) => cannot ?? []))].map((reason) => `PyTorch cannot compile R1: ${reason}`);
  const load = `load average ${before!.toFixed(1)} before, ${loadavg()[0]!.toFixed(1)} after`;
  const versions = `Node ${process.versions.node}, ${product.engine}; PyTorch ${version ?? 'not found'}`;
  const conditions = `${machine()}, ${values.threads} threads; ${versions}; ${load}; a product of matrices of ${MATRIX_SIDE} runs at ${(rate / 1e6).toFixed(0)} GFLOP/s.`;
  const tables = [timeTable(outcomes), ...reasons, memoryTable(outcomes), limitTable(outcomes, rate)];
  const verdict = version === undefined ? [] : [`Bars met: ${met} of ${all}.`];
  console.log(['', conditions, ...tables, ...verdict].join('\n\n'));

  if (version === undefined) return console.log(`\n${values.python}: no PyTorch. These are our figures alone; nothing is written.`);
  const complete = !values.quick && ALL.every((name) => names.includes(name));
  if (!complete && values.results === undefined) return console.log('\nNothing is written: not all jobs were measured in full.');
  const flags = process.argv.slice(2).map((flag, i, list) => (list[i - 1] === '--python' ? 'PYTHON' : flag));
  const heading = ['## Beside PyTorch', `\`${['npm run bench --', ...flags].join(' ')}\`, ${new Date().toISOString().slice(0, 10)}`];
  writeSection([...heading, `${conditions} ${EXPLANATION}`, ...tables, ...verdict].join('\n\n'), values.results ?? RESULTS);
}

const EXPLANATION =
  'Float32, random weights. Medians, after warm-up, all sides in turns; the better of PyTorch\'s sides counts, each in the faster of its memory formats; "by the least" compares the least times, which other work on the machine disturbs less. Memory is the peak resident set of a process that does only this. Operations are two for every multiplication of the products of matrices and of the convolutions, by the direct sum; the limit is what they take at the rate of the large product.';

const names = values.jobs.split(',');
const unknown = names.filter((name) => !findJob(name));
const wrong = (['rounds', 'repeats', 'threads', 'batch', 'micro-batch'] as const).filter(
  (name) => values[name] !== undefined && !/^[1-9]\d*$/.test(values[name]),
);
if (values.help) console.log(HELP);
else if (wrong.length > 0) {
  for (const name of wrong) console.error(`--${name}: expected a whole number of 1 or more; found ${values[name]}`);
  process.exitCode = 2;
} else if (unknown.length > 0) {
  console.error(`--jobs: expected some of ${ALL.join(', ')}; found ${unknown.join(', ')}`);
  process.exitCode = 2;
} else if (values.profile || values.memory) {
  const flags = (['profile', 'shapes', 'memory'] as const).filter((flag) => values[flag]).map((flag) => `--${flag}`);
  for (const name of names)
    spawnSync(process.execPath, [...(await ourCommand(name, optionsOf(findJob(name)!, undefined))), ...flags], { stdio: 'inherit' });
} else await compare(names);
