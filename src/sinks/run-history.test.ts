import { describe, expect, it } from 'vitest';
import { RunHistory } from './run-history.js';
import { ended, evaluation, file, samples, started, step, warning } from './testing.js';

const steps = (history: RunHistory, from: number, to: number) => {
  for (let images = from; images <= to; images += 100) history.add(step(images, { elapsedSeconds: (images - from) / 100 }));
};

describe('RunHistory', () => {
  it('gathers losses, metrics and notes', () => {
    const history = new RunHistory();
    for (const event of [
      started(),
      step(100),
      evaluation(100, 9),
      evaluation(200, 7),
      evaluation(300, 8),
      file(300, 'snapshot', 'a'),
      ended(300),
    ])
      history.add(event);
    expect(history.losses.get('generator')!.toArray()).toEqual([{ x: 0.1, y: 0.7, low: 0.7, high: 0.7 }]);
    expect(history.lowest.get('frechet')).toEqual({ value: 7, images: 200 });
    expect(history.latest.get('frechet')).toBe(8);
    expect(history.notes.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      'started started on cpu',
      'evaluation frechet 9.000',
      'evaluation frechet 7.000',
      'evaluation frechet 8.000',
      'snapshot a',
      'ended completed',
    ]);
    expect(history.ended?.reason).toBe('completed');
  });

  it('a resumed start takes back what came after its checkpoint and adds up the time', () => {
    const history = new RunHistory();
    history.add(started());
    steps(history, 0, 1000);
    history.add(evaluation(400, 9));
    history.add(evaluation(800, 3));
    history.add(samples(400));
    history.add(samples(800));
    history.add(started({ resumed: true, images: 500, time: 5 }));
    expect(history.losses.get('generator')!.toArray().at(-1)!.x).toBeCloseTo(0.5);
    expect(history.lowest.get('frechet')).toEqual({ value: 9, images: 400 });
    expect(history.latest.get('frechet')).toBe(9);
    expect(history.grids.map(({ images }) => images)).toEqual([400]);
    expect(history.seconds).toBe(10);
    steps(history, 500, 700);
    expect(history.seconds).toBe(12);
    expect(history.begin).toBe(started().time);
  });

  it('adds up the waiting for data of all processes, by their time', () => {
    const history = new RunHistory();
    for (const event of [
      started(),
      step(100, { waitShare: 0.5 }), // 1 s
      started({ resumed: true, images: 100 }),
      step(400, { elapsedSeconds: 3, waitShare: 0.1 }),
      step(500, { elapsedSeconds: 4, waitShare: 0 }),
    ])
      history.add(event);
    expect(history.dataWait.text).toBe('16.0%'); // 0.8 s of 5
    history.add(started());
    expect(history.dataWait.text).toBeUndefined();
  });

  it('a fresh start forgets everything', () => {
    const history = new RunHistory();
    for (const event of [started(), step(100), evaluation(100, 1), warning(100, 'x'), samples(100), ended(100), started({ time: 7 })])
      history.add(event);
    expect([
      history.losses.size,
      history.metrics.size,
      history.lowest.size,
      history.warnings,
      history.grids.length,
      history.seconds,
    ]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(history.notes.map(({ kind }) => kind)).toEqual(['started']);
    expect(history.begin).toBe(7);
    expect(history.ended).toBeUndefined();
  });

  it('keeps the first grid, the last and evenly spread ones between', () => {
    const history = new RunHistory();
    for (let k = 0; k <= 100; k++) history.add(samples(k * 1000), () => Uint8Array.of(k));
    const kept = history.grids.map(({ images }) => images / 1000);
    expect(kept).toHaveLength(12);
    expect([kept[0], kept.at(-1)]).toEqual([0, 100]);
    const gaps = kept.slice(1).map((k, at) => k - kept[at]!);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(32);
    history.add(samples(100_000), () => Uint8Array.of(200));
    expect(history.grids.at(-1)).toEqual({ images: 100_000, png: Uint8Array.of(200) });
    expect(history.grids).toHaveLength(12);
  });

  it('is bounded whatever comes', () => {
    const history = new RunHistory();
    for (let k = 0; k < 5000; k++) {
      history.add(step(k, { losses: { [`loss${k}`]: 1, generator: NaN } }));
      history.add({ ...evaluation(k, k), metrics: { [`metric${k}`]: 1 } });
      history.add(warning(k, 'x'.repeat(10_000)));
    }
    expect(history.losses.size).toBeLessThanOrEqual(32);
    expect(history.lowest.size).toBeLessThanOrEqual(32);
    expect(history.notes).toHaveLength(200);
    expect(history.olderNotes).toBe(9800);
    expect(history.warnings).toBe(5000);
    expect(JSON.stringify(history.notes).length).toBeLessThan(600_000);
  });

  it('takes a hundred thousand steps in well under a second', () => {
    const history = new RunHistory();
    // Of the processor: others may use the machine too.
    const begin = process.cpuUsage();
    for (let k = 0; k < 100_000; k++) history.add(step(k));
    expect(process.cpuUsage(begin).user / 1000).toBeLessThan(2000);
  });
});
