/** The example from start to end at a budget of seconds, in a process of its own; then once more, from what it kept. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import type { ActivationAnalysis, ActivationSummary } from '../../src/pipelines/analysis/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'layer-activation-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Exit status and everything that the example printed. */
function example(...options: string[]): Promise<{ status: number | null; printed: string }> {
  return new Promise((resolve, reject) => {
    let printed = '';
    const child = spawn(process.execPath, ['--import', 'tsx', 'examples/layer-activation.ts', '--run-dir', folder, ...options], {
      cwd: root,
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, printed }));
  });
}

const tiny = ['--student', 'none', '--training-images', '4', '--batch-size', '4', '--images', '2', '--sigmas', '0.1,80'];

it('distils its students once, compares them and leaves what it says', { timeout: 900_000 }, async () => {
  const first = await example(...tiny);
  expect(first.status, first.printed).toBe(0);
  expect(first.printed).toContain('GDD-I (level 1): distilling with 4 images');
  expect(first.printed).toMatch(/spectrum against real images at sigma 80: teacher [\d.]+ dB, GDD-I [\d.]+ dB, GDD [\d.]+ dB/);
  expect(first.printed).not.toMatch(/NaN|undefined/);
  for (const name of ['blocks.svg', 'layers.svg', 'spectra.svg', 'spectra-by-sigma.svg', 'table.txt', 'activations.csv', 'spectra.csv'])
    expect(statSync(join(folder, name)).size, name).toBeGreaterThan(1000);

  const text = readFileSync(join(folder, 'analysis.json'), 'utf8');
  const { sigmas, networks, summaries } = JSON.parse(text) as ActivationAnalysis & { summaries: ActivationSummary[] };
  expect(sigmas).toEqual([0.1, 80]);
  expect(networks.map(({ name }) => name)).toEqual(['teacher', 'GDD-I', 'GDD']);
  const layers = summaries.filter(({ kind }) => kind === 'layer');
  // GDD trains every layer, GDD-I leaves two convolutions a block and the attentions' projections.
  expect(layers.map(({ rows, unchanged }) => [rows, unchanged])).toEqual([
    [48, 48],
    [48, 32],
    [48, 0],
  ]);

  const again = await example(...tiny);
  expect(again.status, again.printed).toBe(0);
  expect(again.printed).toContain('GDD-I (level 1): from');
  expect(again.printed).not.toContain('distilling');
  expect(readFileSync(join(folder, 'analysis.json'), 'utf8')).toBe(text);

  // A GDD student has none of the frozen weights, so that it cannot stand for the quickstart's.
  const wrong = await example(...tiny, '--student', join(folder, 'gdd', 'student.safetensors'));
  expect(wrong.status, wrong.printed).toBe(2);
  expect(wrong.printed).toContain('student.safetensors was not distilled from the shipped teacher by GDD-I');
});

it('says how it is called, and refuses what it does not take', { timeout: 300_000 }, async () => {
  const help = await example('--help');
  expect(help.status).toBe(0);
  expect(help.printed).toContain('--training-images');
  const wrong = await example('--sigmas', '1,0.5');
  expect(wrong.status).toBe(2);
  expect(wrong.printed).toContain("--sigmas: expected rising numbers above 0 such as 0.1,1,80, found '1,0.5'");
  // Before anything is distilled.
  const many = await example('--images', '1000001');
  expect(many.status, many.printed).toBe(2);
  expect(many.printed).toMatch(/--images: expected at most the \d+ of the evaluation set, found '1000001'/);
  const absent = await example('--student', join(folder, 'absent.safetensors'));
  expect(absent.status, absent.printed).toBe(1);
  expect(absent.printed).toContain('absent.safetensors');
  expect(absent.printed).not.toContain('distilling');
});
