/** A job on our side and on PyTorch's, eager and compiled, in turns. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import type { Job } from '../jobs/job.js';
import { median } from './results.js';
import { CannotError, startSide, type Side } from './side.js';

export type SideName = 'onestep' | 'eager' | 'compiled';

export interface ContestOptions {
  /** Turns of each side, and runs in a row at a turn. */
  rounds: number;
  repeats: number;
  batch: number;
  threads: number;
  /** Flags of our process besides these. */
  flags: readonly string[];
  /** A Python with PyTorch; undefined for our side alone. */
  python: string | undefined;
  /** PyTorch eager in its own memory format alone. */
  quick: boolean;
}

export interface SideOutcome {
  median: number;
  least: number;
  /** Peak resident memory after all, and before the job was made. */
  peak: number;
  idle: number;
  channelsLast: boolean;
}

export interface Outcome {
  job: Job;
  batch: number;
  /** What our side computed with. */
  engine: string;
  sides: { onestep: SideOutcome } & Partial<Record<SideName, SideOutcome>>;
  /** Why PyTorch could not compile it, in its own words. */
  cannot: string | undefined;
  /** Floating-point operations. */
  operations: number;
}

interface Contender extends Side {
  name: SideName;
  channelsLast: boolean;
  times: number[];
}

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));

/** Our side as users run it, compiled to JavaScript: what compiles TypeScript as it is loaded holds 100 MB. */
let compiling: Promise<string> | undefined;

async function compileWorker(): Promise<string> {
  const outDir = path('../.onestep/bench');
  await build({
    config: false,
    silent: true,
    entry: { worker: path('worker.ts') },
    format: 'esm',
    target: 'node20',
    platform: 'node',
    outDir,
    skipNodeModulesBundle: true,
  });
  return join(outDir, 'worker.js');
}

/** The command that runs our side of a job. */
export async function ourCommand(name: string, options: Pick<ContestOptions, 'threads' | 'batch' | 'flags'>): Promise<string[]> {
  const { threads, batch, flags } = options;
  return [await (compiling ??= compileWorker()), '--job', name, '--threads', String(threads), '--batch', String(batch), ...flags];
}

async function pytorch(name: string, side: 'eager' | 'compiled', channelsLast: boolean, options: ContestOptions): Promise<Contender> {
  const { python, batch, threads } = options;
  const flags = [...(side === 'compiled' ? ['--compile'] : []), ...(channelsLast ? ['--channels-last'] : [])];
  const args = ['-B', path('pytorch/side.py'), '--job', name, '--batch', String(batch), '--threads', String(threads), ...flags];
  // Compiled once, kept for the next run.
  const cache = { TORCHINDUCTOR_CACHE_DIR: join(tmpdir(), 'onestep-bench-inductor') };
  return { ...(await startSide(python!, args, cache)), name: side, channelsLast, times: [] };
}

/** Warms up; the least of two runs. */
async function tryOut(side: Side): Promise<number> {
  await side.run();
  return Math.min(await side.run(), await side.run());
}

/** PyTorch's side in the faster of its memory formats, or why it cannot do the job. */
async function fasterFormat(name: string, side: 'eager' | 'compiled', options: ContestOptions): Promise<Contender | string> {
  let best: { contender: Contender; milliseconds: number } | undefined;
  for (const channelsLast of options.quick ? [false] : [false, true]) {
    const contender = await pytorch(name, side, channelsLast, options);
    try {
      const milliseconds = await tryOut(contender);
      console.error(`${name}: PyTorch ${side}${channelsLast ? ', channels last' : ''}: ${milliseconds.toFixed(1)} ms when tried out`);
      const [winner, loser] =
        best && best.milliseconds <= milliseconds ? [best, contender] : [{ contender, milliseconds }, best?.contender];
      await loser?.end();
      best = winner;
    } catch (error) {
      await contender.end();
      if (!(error instanceof CannotError)) throw error;
      return error.message;
    }
  }
  return best!.contender;
}

/** Threads of the other side may still be looking for work. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 30));

/** Measures `job`; one line of what was found goes to the standard error output. */
export async function contest(name: string, job: Job, options: ContestOptions): Promise<Outcome> {
  const mine: Contender = {
    ...(await startSide(process.execPath, await ourCommand(name, options))),
    name: 'onestep',
    channelsLast: false,
    times: [],
  };
  const contenders = [mine];
  let cannot: string | undefined;
  try {
    const operations = await mine.operations();
    await tryOut(mine);
    const others = options.python === undefined ? [] : options.quick ? (['eager'] as const) : (['eager', 'compiled'] as const);
    for (const side of others) {
      const contender = await fasterFormat(name, side, options);
      if (typeof contender === 'string') {
        cannot = contender;
        continue;
      }
      contenders.push(contender);
      if (String(contender.trained) !== String(mine.trained))
        throw new Error(`${name}: PyTorch trains ${String(contender.trained)} parameters, onestep ${String(mine.trained)}`);
    }
    for (let round = 0; round < options.rounds; round++)
      for (const side of contenders) {
        await pause();
        for (let repeat = 0; repeat < options.repeats; repeat++) side.times.push(await side.run());
      }
    const sides: Partial<Outcome['sides']> = {};
    for (const side of contenders) {
      const { name, times, idle, channelsLast } = side;
      sides[name] = { median: median(times), least: Math.min(...times), peak: await side.peak(), idle, channelsLast };
      console.error(`${job.title}: ${name} ${sides[name].median.toFixed(1)} ms, at least ${sides[name].least.toFixed(1)}`);
    }
    return { job, batch: options.batch, engine: mine.description, sides: sides as Outcome['sides'], cannot, operations };
  } finally {
    for (const side of contenders) await side.end();
  }
}
