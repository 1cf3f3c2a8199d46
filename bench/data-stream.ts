/**
 * The stream of decoded images beside a PyTorch DataLoader with Pillow over the same zip, and opening a zip of 1.3 million entries.
 *
 *     npx tsx bench/data-stream.ts [--count 50000] [--workers 2] [--batch 256] [--seconds 10] [--rounds 5] [--entries 1300000] [--python python3]
 *
 * Both sides read 32x32 PNGs in random order and take turns; images a second, medians of the rounds. The bars: three times as many as
 * PyTorch; opening in 3 s or less, labels included, below 400 MB of resident memory, in a process of its own. Exits with 1 where one is
 * missed. `--count 0` or `--entries 0` leaves a part out. The zips are made in a temporary folder, and removed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Subject } from 'rxjs';
import { batchStream, edmZip, openZip } from '../src/data/index.js';
import { edmZipImages } from '../src/data/edm/edm-images.js';
import { writeLargeZip } from '../test/tools/make-large-zip.js';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '50000' },
    workers: { type: 'string', default: '2' },
    batch: { type: 'string', default: '256' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '5' },
    entries: { type: 'string', default: '1300000' },
    python: { type: 'string', default: process.env['ONESTEP_PYTHON'] ?? 'python3' },
    /** For the process that opens a zip. */
    open: { type: 'string' },
  },
});
const script = fileURLToPath(import.meta.url);
const MOST_SECONDS = 3;
const MOST_MEGABYTES = 400;
const LEAST_RATIO = 3;

const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[numbers.length >> 1]!;

function python(...args: string[]): { rate: number } {
  const helper = fileURLToPath(new URL('data_stream.py', import.meta.url));
  const { status, stdout, stderr, error } = spawnSync(values.python, ['-B', helper, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`data_stream.py ${args[0]}: ${error?.message ?? stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as { rate: number };
}

/** Images a second after the first batch. */
async function ours(path: string): Promise<number> {
  const source = edmZip(path, { workers: Number(values.workers) });
  const demand$ = new Subject<void>();
  const batchSize = Number(values.batch);
  try {
    return await new Promise<number>((resolve, reject) => {
      let start: number | undefined;
      let seen = 0;
      const subscription = batchStream(source, { batchSize, seed: 0, prefetch: 4, demand$ }).subscribe({
        error: reject,
        next: () => {
          if (start === undefined) start = performance.now();
          else seen += batchSize;
          const seconds = (performance.now() - start) / 1000;
          if (seconds < Number(values.seconds)) return demand$.next();
          resolve(seen / seconds);
          subscription.unsubscribe();
        },
      });
      demand$.next();
    });
  } finally {
    await source.close();
  }
}

async function compareRates(folder: string): Promise<boolean> {
  const path = join(folder, 'images.zip');
  python('make', path, '--count', values.count);
  const kilobytes = statSync(path).size / Number(values.count) / 1000;
  console.log(`${values.count} images of 32x32, ${kilobytes.toFixed(1)} kB each; ${values.workers} workers, batches of ${values.batch}`);
  const rates: [number, number][] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const mine = await ours(path);
    const theirs = python('read', path, '--workers', values.workers, '--batch', values.batch, '--seconds', values.seconds).rate;
    rates.push([mine, theirs]);
    console.log(`round ${round + 1}: ${mine.toFixed(0)} and ${theirs.toFixed(0)} images a second`);
  }
  const [mine, theirs, ratio] = [median(rates.map(([a]) => a)), median(rates.map(([, b]) => b)), median(rates.map(([a, b]) => a / b))];
  console.log('| images a second | onestep | PyTorch and Pillow | ratio |\n|---|---|---|---|');
  console.log(`| median of ${rates.length} | ${mine.toFixed(0)} | ${theirs.toFixed(0)} | ${ratio.toFixed(1)} |`);
  return ratio >= LEAST_RATIO;
}

interface Opening {
  ms: number;
  megabytes: number;
}

/** In a process of its own: what opening a zip takes. */
async function measureOpening(path: string): Promise<void> {
  const start = performance.now();
  const images = await edmZipImages(path, 'stop');
  const ms = performance.now() - start;
  if (images.labels?.length !== images.size || !images.entryName(images.size - 1).endsWith('.png')) throw new Error('another set was read');
  // Not resourceUsage: its maximum is never below what the parent had when it made this process.
  const kilobytes = Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  console.log(JSON.stringify({ ms, megabytes: kilobytes / 1024 } satisfies Opening));
}

async function compareOpening(folder: string): Promise<boolean> {
  let good = true;
  console.log('| opening a zip with labels | entries | s | peak memory, MB |\n|---|---|---|---|');
  for (const shuffled of [false, true]) {
    const path = join(folder, 'large.zip');
    await writeLargeZip(path, { entries: Number(values.entries), shuffled });
    await openZip(path); // into the system's cache
    const runs = Array.from({ length: 3 }, () => {
      const output = execFileSync(process.execPath, [...process.execArgv, script, '--open', path], { encoding: 'utf8' });
      return JSON.parse(output) as Opening;
    });
    const [seconds, megabytes] = [median(runs.map(({ ms }) => ms)) / 1000, median(runs.map((run) => run.megabytes))];
    console.log(`| ${shuffled ? 'in another order' : 'in order'} | ${values.entries} | ${seconds.toFixed(2)} | ${megabytes.toFixed(0)} |`);
    good &&= seconds <= MOST_SECONDS && megabytes < MOST_MEGABYTES;
  }
  return good;
}

if (values.open !== undefined) await measureOpening(values.open);
else {
  const folder = mkdtempSync(join(tmpdir(), 'onestep-data-stream-'));
  try {
    const good = [
      Number(values.count) === 0 || (await compareRates(folder)),
      Number(values.entries) === 0 || (await compareOpening(folder)),
    ];
    process.exitCode = good.every(Boolean) ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
