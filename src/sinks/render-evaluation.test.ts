import { describe, expect, it } from 'vitest';
import type { Evaluation } from '../core/contracts/evaluation.js';
import { renderEvaluation } from './render-evaluation.js';

const fid = { mean: 2.5, spread: 0.25, min: 2.25, max: 2.75, values: [2.25, 2.75], extractor: 'inception-v3', better: 'lower' as const };
const evaluation: Evaluation = {
  format: 'onestep-evaluation',
  version: 1,
  subject: { kind: 'student', name: 'a <b>', identity: 'sha256:0', resolution: 32, channels: 3, evaluations: 1 },
  images: 50_000,
  seeds: [0, 1],
  metrics: { fid },
  extractors: [{ name: 'inception-v3', dimensions: 2048 }],
  notes: ['x < y'],
  versions: { onestep: '0', node: 'v20', engine: 'wasm' },
  started: '2026-01-01T00:00:00.000Z',
  finished: '2026-01-01T00:01:00.000Z',
  seconds: 60,
};

describe('the page of an evaluation', () => {
  it('has mean, spread and lowest of several seeds, and escapes names and notes', () => {
    const page = renderEvaluation(evaluation, []);
    expect(page).toContain('2.500 ± 0.25');
    for (const column of ['Mean', 'Spread', 'Lowest', 'Highest']) expect(page).toContain(column);
    expect(page).toContain('a &lt;b&gt;');
    expect(page).toContain('x &lt; y');
    expect(page).not.toContain('a <b>');
  });

  it('has one value of one seed', () => {
    const page = renderEvaluation({ ...evaluation, seeds: [0] }, []);
    expect(page).not.toContain('±');
    expect(page).not.toContain('Lowest');
  });
});
