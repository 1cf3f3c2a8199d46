import { describe, expect, it } from 'vitest';
import type { EvaluationProgress } from '../core/contracts/evaluation.js';
import { evaluationProgress } from './evaluation-progress.js';

const step = (phase: EvaluationProgress['phase'], name: string, done: number, count: number, more: Partial<EvaluationProgress> = {}) => ({
  phase,
  name,
  done,
  count,
  imagesPerSecond: 0,
  ...more,
});

function shown(isTTY: boolean, steps: EvaluationProgress[]): string {
  let text = '';
  const show = evaluationProgress({ isTTY, write: (part: string) => (text += part) });
  for (const one of steps) show(one);
  return text;
}

const steps = [
  step('images', 'student', 0, 1000),
  step('images', 'student', 64, 1000, { imagesPerSecond: 32, remainingSeconds: 29.25 }),
  step('images', 'student', 1000, 1000, { imagesPerSecond: 33 }),
  step('metrics', 'kernel-distance over inception-v3', 0, 1),
  step('metrics', 'kernel-distance over inception-v3', 33, 100, { remainingSeconds: 70 }),
  step('metrics', 'kernel-distance over inception-v3', 1, 1),
  step('page', 'pictures', 0, 1),
  step('page', 'pictures', 1, 1),
];

describe('the progress of an evaluation', () => {
  it('is a line at the beginning and end of each pass, and one for each metric, where nobody watches', () => {
    expect(shown(false, steps).split('\n')).toEqual([
      'images: student: 0 of 1,000',
      'images: student: 1,000 of 1,000, 33.0 images/s',
      'metrics: kernel-distance over inception-v3',
      'page: pictures',
      '',
    ]);
  });

  it('rewrites one line on a terminal, and says how much of a metric is left', async () => {
    let text = '';
    const show = evaluationProgress({ isTTY: true, write: (part: string) => (text += part) });
    show(steps[3]!);
    await new Promise((resolve) => setTimeout(resolve, 120));
    show(steps[4]!);
    show(steps[6]!);
    show(steps[7]!);
    expect(text.split('\n').map((line) => line.split('\r\x1b[2K').at(-1))).toEqual([
      'metrics: kernel-distance over inception-v3: 33 %, 1m 10s left',
      'page: pictures',
      '',
    ]);
  });
});
