/** PyTorch for tests that compare with it: ONESTEP_PYTHON, else python3, where it has PyTorch and safetensors. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

const python = process.env['ONESTEP_PYTHON'] ?? 'python3';
const found = spawnSync(python, ['-c', 'import numpy, safetensors, torch'], { encoding: 'utf8' });

/** Whether tests that need PyTorch can run; says once why not. */
export const hasPyTorch = found.status === 0;
if (!hasPyTorch) {
  const reason = found.error?.message ?? found.stderr.trim().split('\n').at(-1);
  console.log(`skipped: ${python} has no PyTorch with safetensors (${reason}); name one that has in ONESTEP_PYTHON`);
}

/** Whether the same Python has these modules as well; says once which not. Found, not imported: some import others that a tool makes ready. */
export function hasModules(...names: string[]): boolean {
  if (!hasPyTorch) return false;
  const probe = 'import importlib.util, sys; print(*[n for n in sys.argv[1:] if not importlib.util.find_spec(n)])';
  const missing = spawnSync(python, ['-c', probe, ...names], { encoding: 'utf8' }).stdout.trim();
  if (missing !== '') console.log(`skipped: ${python} has no ${missing}; install it with pip`);
  return missing === '';
}

/** Runs a script of test/tools; throws with what it wrote where it fails. */
export function runTool(script: string, ...args: string[]): string {
  const path = fileURLToPath(new URL(`../tools/${script}`, import.meta.url));
  const { status, stdout, stderr, error } = spawnSync(python, ['-B', path, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${script} ${args.join(' ')}: exit code ${status}\n${error?.message ?? stderr}`);
  return stdout;
}

/** A directory that is removed after the tests of the file. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'onestep-pytorch-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Whether two arrays have the same bits; much quicker than `toEqual` on millions of values. */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}
