/** `npm run bench` from its options to its tables, with a program in PyTorch's place. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countOperations } from '../../bench/support/operations.js';
import { writeSection } from '../../bench/support/results.js';
import { gradients } from '../../src/index.js';
import { engines, useEngine } from '../support/engines.js';

const directory = mkdtempSync(join(tmpdir(), 'onestep-bench-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const script = fileURLToPath(new URL('../../bench/beside-pytorch.ts', import.meta.url));

/** `npm run bench` of a single step of two images. */
const bench = (...args: string[]) => {
  const job = ['--jobs', 'quickstart-one-step', '--batch', '2', '--rounds', '1', '--repeats', '1', '--engine', engines[0]!];
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', script, ...job, ...args], { encoding: 'utf8' });
  return { stdout, stderr, status };
};

/** Says what bench/pytorch/side.py says: 100 s a run in 1 MB, and that it cannot compile. */
const standIn = join(directory, 'python');
writeFileSync(
  standIn,
  `#!${process.execPath}
if (process.argv[2] === '-c') console.log('2.13.0');
else {
  const compiles = process.argv.includes('--compile');
  console.log(JSON.stringify({ description: 'stand-in', trained: [], idle: 5e5 }));
  require('node:readline').createInterface(process.stdin).on('line', (line) =>
    console.log(JSON.stringify(line === 'peak' ? { peak: 1e6 } : compiles ? { error: 'no second derivative' } : { milliseconds: 1e5 })));
}
`,
);
chmodSync(standIn, 0o755);

describe('npm run bench', () => {
  it('puts both sides, their bars and the limit into its section of the file, and leaves the other sections', () => {
    const results = join(directory, 'RESULTS.md');
    writeFileSync(results, '# Found\n\n## Before\n\n1\n\n## Beside PyTorch\n\nstale\n\n## After\n\n2\n');
    const { stdout, stderr, status } = bench('--python', standIn, '--results', results);
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('Bars met: 1 of 2.');
    const text = readFileSync(results, 'utf8');
    expect(text.match(/^#.*$/gm)).toEqual(['# Found', '## Before', '## Beside PyTorch', '## After']);
    expect(text).not.toContain('stale');
    expect(text).toContain('--python PYTHON');
    const rows = text.split('\n').filter((line) => line.startsWith('| quickstart: one-step sampling'));
    expect(rows[0]).toMatch(/\| 2 \| [\d.]+ ms \| 100000 ms \| cannot \| [\d.]+ ✓ \| [\d.]+ \| 1\.5 \|/);
    expect(rows[1]).toMatch(/\| [\d,]+ MB ✗ \| 1 MB \| - \| [\d,]+ MB \| 1 MB \|/);
    expect(rows[2]).toMatch(/\| 0\.4 \| [\d.]+ ms \| [\d.]+ limits \| [\d.]+ limits \|/);
    expect(text).toContain('no second derivative');
    expect(text).toMatch(/fused operations; PyTorch 2\.13\.0;/);
  });

  it('gives our figures alone where there is no PyTorch, and writes nothing', () => {
    const results = join(directory, 'none.md');
    const { stdout, status } = bench('--python', 'none', '--results', results);
    expect(status).toBe(0);
    expect(stdout).toMatch(/one-step sampling \| 2 \| [\d.]+ ms \| - \| - \| - \|/);
    expect(stdout).toContain('no PyTorch');
    expect(() => readFileSync(results)).toThrow('ENOENT');
  });

  it('refuses jobs that it does not know', () => {
    expect(bench('--jobs', 'slow-start')).toMatchObject({ status: 2, stderr: expect.stringContaining('found slow-start') as string });
  });
});

describe('writeSection', () => {
  it('makes the file, puts a new section last and replaces it in its place', () => {
    const path = join(directory, 'sections.md');
    writeSection('## A\n\n1', path);
    writeSection('## A and more\n\n2', path);
    writeSection('## A\n\n### Part\n\n3\n', path);
    expect(readFileSync(path, 'utf8')).toBe('# What the benchmarks found\n\n## A\n\n### Part\n\n3\n\n## A and more\n\n2\n');
  });
});

describe('countOperations', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('counts two for each multiplication of convolutions and their gradients, and of products of matrices', () => {
    const x = tf.ones<tf.Rank.R4>([2, 8, 8, 3]);
    const filter = tf.ones<tf.Rank.R4>([3, 3, 3, 5]);
    const direct = 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3);
    expect(countOperations(() => tf.dispose(tf.conv2d(x, filter, 1, 'same')))).toBe(direct);
    const both = () => tf.dispose(gradients(() => tf.sum(tf.square(tf.conv2d(x, filter, 1, 'same'))) as tf.Scalar, [x, filter]));
    expect(countOperations(both)).toBe(3 * direct);
    const taps = tf.ones<tf.Rank.R4>([3, 3, 3, 1]);
    expect(countOperations(() => tf.dispose(tf.depthwiseConv2d(x, taps, 2, 'same')))).toBe(2 * (2 * 4 * 4 * 3) * 9);
    const [a, b] = [tf.ones([4, 7, 6]), tf.ones([4, 7, 5])];
    expect(countOperations(() => tf.dispose(tf.matMul(a, b, true, false)))).toBe(2 * (4 * 6 * 5) * 7);
    tf.dispose([x, filter, taps, a, b]);
  });
});
