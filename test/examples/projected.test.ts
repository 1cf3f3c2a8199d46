/** The example from start to end at a budget of seconds, in a process of its own; then once more, from what it kept. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'projected-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Exit status and everything that the example printed. */
function example(...options: string[]): Promise<{ status: number | null; printed: string }> {
  return new Promise((resolve, reject) => {
    let printed = '';
    const child = spawn(process.execPath, ['--import', 'tsx', 'examples/projected.ts', '--run-dir', folder, ...options], { cwd: root });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, printed }));
  });
}

const tiny = ['--images', '4', '--teacher-images', '4', '--batch-size', '2', '--classifier-images', '128', '--evaluated', '32'];

/** Every number of a tree, by its path. */
function numbers(value: unknown, path = ''): [string, number][] {
  if (typeof value === 'number') return [[path, value]];
  return Object.entries(value ?? {}).flatMap(([key, inner]) => (typeof inner === 'string' ? [] : numbers(inner, `${path}.${key}`)));
}

it('trains its networks, distils, compares and leaves what it says', { timeout: 900_000 }, async () => {
  const first = await example(...tiny);
  expect(first.printed).toContain('features: accuracy on');
  expect(first.status, first.printed).toBe(0);
  expect(first.printed).toMatch(/student +1 +\d/);

  const files = ['report.json', 'report.html', 'comparison.png', 'student.safetensors', 'events.jsonl', 'config.json'];
  for (const name of [...files.map((file) => join('gdd-i', file)), 'teacher.safetensors', 'features.safetensors', 'judge.safetensors'])
    expect(statSync(join(folder, name)).size, name).toBeGreaterThan(0);
  const report = JSON.parse(readFileSync(join(folder, 'gdd-i', 'report.json'), 'utf8')) as { frechet: object; frozenShare: number };
  expect(Object.keys(report.frechet)).toEqual(['teacherOneStep', 'teacherMultiStep', 'studentOneStep', 'real']);
  const found = numbers(report);
  expect(found.length).toBeGreaterThan(8);
  // A figure that was not a number is null in JSON, which is no number of the tree.
  expect(JSON.stringify(report)).not.toContain('null');
  for (const [path, value] of found) expect(value, path).toBeGreaterThan(0);
  expect(report.frozenShare).toBeLessThan(1);
  const config = readFileSync(join(folder, 'gdd-i', 'config.json'), 'utf8');
  expect(config).toContain('classifierFeatures');

  const student = () => readFileSync(join(folder, 'gdd-i', 'student.safetensors'));
  const before = student();
  const again = await example(...tiny);
  expect(again.status, again.printed).toBe(0);
  expect(again.printed).toContain('features: from');
  expect(again.printed).not.toContain('cross-entropy');
  // Nothing was trained: the run was already at its end.
  expect(student().equals(before)).toBe(true);
});

it('says how it is called, and refuses what it does not take', async () => {
  const help = await example('--help');
  expect(help.status).toBe(0);
  expect(help.printed).toContain('--teacher-images');
  const wrong = await example('--images', 'many');
  expect(wrong.status).toBe(2);
  expect(wrong.printed).toContain("--images: expected a whole number from 1 to 2147483648, found 'many'");
});
