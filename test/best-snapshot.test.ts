/** Evaluation in training: the best snapshot is kept, whatever interrupts the run. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { distill, loadStudent, readBest, type DistillOptions, type Evaluator, type RunEvent } from '../src/index.js';
import { useEngine } from './support/engines.js';
import { tinyRun } from './support/tiny.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'onestep-best-'));
  await useEngine('wasm');
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** An evaluator that reports the given values in turn. */
function scripted(values: readonly number[], best: Evaluator['best'] = { metric: 'score' }): Evaluator & { calls: number } {
  return {
    name: 'scripted',
    best,
    calls: 0,
    evaluate(): Promise<Record<string, number>> {
      return Promise.resolve({ score: values[this.calls++]! });
    },
  };
}

async function finished(options: DistillOptions): Promise<{ reason: string; events: RunEvent[]; images: Uint8Array }> {
  const events: RunEvent[] = [];
  const run = distill(options);
  run.events$.subscribe((event) => events.push(event));
  const { reason, student } = await run.completed;
  const { images } = student.generate({ count: 2 });
  student.dispose();
  return { reason, events, images };
}

const intervals = { checkpoint: 0.008, snapshot: 0, samples: 0, evaluation: 0.016 };
const evaluations = (events: readonly RunEvent[]) =>
  events.flatMap((event) => (event.kind === 'evaluation' ? [[event.images, event.metrics['score']]] : []));
const report = async (runDir: string) => JSON.parse(await readFile(join(runDir, 'report.json'), 'utf8')) as Record<string, unknown>;

describe('the best snapshot', () => {
  it('is that of the lowest value, under its own name and in report.json, which keeps what else it says', async () => {
    const runDir = join(directory, 'lowest');
    const evaluator = scripted([5, 2, 3, 4]);
    const early = await finished(tinyRun({ images: 32, runDir, intervals, evaluate: evaluator }));
    expect(evaluations(early.events)).toEqual([
      [16, 5],
      [32, 2],
    ]);
    await writeFile(join(runDir, 'report.json'), JSON.stringify({ ...(await report(runDir)), mine: 1 }));
    const whole = await finished(tinyRun({ images: 64, runDir, intervals, evaluate: evaluator }));
    expect(evaluations(whole.events)).toEqual([
      [48, 3],
      [64, 4],
    ]);
    expect(await readBest(runDir)).toEqual({ metric: 'score', value: 2, images: 32 });
    expect(await report(runDir)).toEqual({
      mine: 1,
      best: { metric: 'score', value: 2, images: 32, better: 'lower', file: 'best.safetensors' },
    });
    const files = whole.events.concat(early.events).filter((event) => event.kind === 'snapshot' && event.path.endsWith('best.safetensors'));
    expect(files.map(({ images }) => images)).toEqual([16, 32]);
    // The averaged weights of 32 images, which the first run ended with.
    const student = await loadStudent(join(runDir, 'best.safetensors'));
    expect(student.generate({ count: 2 }).images).toEqual(early.images);
    student.dispose();
  });

  it('is that of the highest value where higher is better; a value that is no number never wins', async () => {
    const runDir = join(directory, 'highest');
    await finished(tinyRun({ images: 64, runDir, intervals, evaluate: scripted([NaN, 2, 3, 1], { metric: 'score', better: 'higher' }) }));
    expect(await readBest(runDir)).toEqual({ metric: 'score', value: 3, images: 48 });
  });

  it('outlives a run that is stopped, and report.json is written again', async () => {
    const runDir = join(directory, 'stopped');
    await finished(tinyRun({ images: 32, runDir, intervals, evaluate: scripted([1, 2]) }));
    await rm(join(runDir, 'report.json'));
    await finished(tinyRun({ images: 64, runDir, intervals, evaluate: scripted([3, 4]) }));
    expect(await readBest(runDir)).toEqual({ metric: 'score', value: 1, images: 16 });
    expect(await report(runDir)).toMatchObject({ best: { value: 1 } });
  });

  it('of a former run without a checkpoint does not count in a new one', async () => {
    const runDir = join(directory, 'former');
    const failing = scripted([1]);
    const run = distill(tinyRun({ images: 32, runDir, intervals: { ...intervals, checkpoint: 0 }, evaluate: failing }));
    run.completed.catch(() => undefined);
    run.events$.subscribe((event) => event.kind === 'snapshot' && void (failing.evaluate = () => Promise.reject(new Error('no more'))));
    await expect(run.completed).rejects.toThrow('no more');
    expect(await readBest(runDir)).toMatchObject({ value: 1 });
    await finished(tinyRun({ images: 32, runDir, intervals, evaluate: scripted([7, 8]) }));
    expect(await readBest(runDir)).toMatchObject({ value: 7 });
  });

  it('of a run without a directory, or of an evaluator that names no metric, is not kept', async () => {
    await finished(tinyRun({ images: 16, intervals, evaluate: scripted([1]) }));
    const runDir = join(directory, 'unnamed');
    await finished(tinyRun({ images: 16, runDir, intervals, evaluate: { name: 'x', evaluate: () => Promise.resolve({ score: 1 }) } }));
    expect(existsSync(join(runDir, 'best.safetensors'))).toBe(false);
  });

  it('needs a metric that is reported', async () => {
    const run = distill(tinyRun({ images: 16, runDir: join(directory, 'absent'), intervals, evaluate: scripted([1], { metric: 'fid' }) }));
    await expect(run.completed).rejects.toThrow(/expected the metric fid .* found score/);
  });
});

describe('an evaluation that is stopped', () => {
  /** Waits for the signal the first time; then gives its values. */
  const patient = (values: readonly number[]): Evaluator & { begun: Promise<void> } => {
    let begin!: () => void;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const rest = scripted(values);
    let first = true;
    return {
      name: 'patient',
      best: { metric: 'score' },
      begun,
      evaluate: (student, signal) => {
        if (!first) return rest.evaluate(student);
        first = false;
        begin();
        return new Promise((_, reject) => signal!.addEventListener('abort', () => reject(new Error('stopped'))));
      },
    };
  };

  it('ends at once and is made when the run goes on', async () => {
    const runDir = join(directory, 'again');
    const evaluator = patient([4, 3]);
    const run = distill(tinyRun({ images: 32, runDir, intervals, evaluate: evaluator }));
    await evaluator.begun;
    await run.stop();
    const stopped = await run.completed;
    stopped.student.dispose();
    expect(stopped.reason).toBe('stopped');
    expect(existsSync(join(runDir, 'best.safetensors'))).toBe(false);
    const { events, reason } = await finished(tinyRun({ images: 32, runDir, intervals, evaluate: evaluator }));
    expect(reason).toBe('completed');
    expect(evaluations(events)).toEqual([
      [16, 4],
      [32, 3],
    ]);
  });

  it('also at the end of the run, and is not made twice', async () => {
    const runDir = join(directory, 'end');
    const settings = { images: 16, runDir, intervals: { ...intervals, evaluation: 1 } };
    const evaluator = patient([4, 9]);
    const run = distill(tinyRun({ ...settings, evaluate: evaluator }));
    await evaluator.begun;
    await run.stop();
    const stopped = await run.completed;
    stopped.student.dispose();
    expect(stopped.reason).toBe('stopped');
    for (const expected of [[[16, 4]], []]) {
      const { events, reason } = await finished(tinyRun({ ...settings, evaluate: evaluator }));
      expect(reason).toBe('completed');
      expect(evaluations(events)).toEqual(expected);
    }
    expect(await readBest(runDir)).toMatchObject({ value: 4 });
  });
});
