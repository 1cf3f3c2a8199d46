/**
 * Tries an engine in a child process: a library that is truncated, or built for another processor, kills the child and not us.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, existsSync, readdirSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import type { BindingPackage } from './binding-package.js';
import { cacheDirectory } from '../cache.js';
import { failure, run, succeeded } from './process.js';

export interface Probe {
  works: boolean;
  /** Version of the library that computed. */
  version: string | undefined;
  /** True where the library computed on a GPU. */
  gpu: boolean;
  /** Why it does not work. */
  problem: string | undefined;
  seconds: number;
}

/** Multiplies two small matrices and says which library did it. `load` is the code that makes `tf` ready. */
const script = (load: string) => `
const util = require('node:util');
util.isNullOrUndefined = (value) => value === null || value === undefined;
(async () => {
  const from = process.argv[1];
  ${load}
  const product = [...tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]])).dataSync()].join();
  if (product !== '19,22,43,50') throw new Error('a matrix product came out as ' + product);
  process.stdout.write('\\nonestep:' + JSON.stringify({ version, gpu: tf.backend().isUsingGpuDevice === true }) + '\\n');
})().catch((error) => { console.error('error: ' + String(error.message).split('\\n')[0]); process.exit(1); });
`;

const NATIVE = script(`
  const tf = require(from);
  const version = tf.backend().binding.TF_Version;`);

const WASM = script(`
  const require_ = require('node:module').createRequire(from);
  const tf = require_('@tensorflow/tfjs-core');
  const wasm = require_(from);
  wasm.setWasmPaths(require('node:path').dirname(from) + '/');
  if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly module cannot be started');
  const version = wasm.version_wasm;`);

async function probe(code: string, argument: string, signal?: AbortSignal): Promise<Probe> {
  const start = performance.now();
  const { NODE_OPTIONS: _, ...env } = process.env;
  const result = await run(process.execPath, ['-e', code, argument], {
    env: { ...env, TF_CPP_MIN_LOG_LEVEL: env['TF_CPP_MIN_LOG_LEVEL'] ?? '2' },
    timeout: 90_000,
    signal,
  });
  const seconds = (performance.now() - start) / 1000;
  const answer = /^onestep:(.*)$/m.exec(result.stdout)?.[1];
  if (!succeeded(result) || answer === undefined) {
    return { works: false, version: undefined, gpu: false, problem: explain(failure(result)), seconds };
  }
  return { works: true, problem: undefined, seconds, ...(JSON.parse(answer) as { version: string; gpu: boolean }) };
}

function explain(problem: string): string {
  if (problem.includes('SIGILL')) return `${problem}: this processor lacks instructions that the library was built for`;
  if (problem.includes('SIGBUS')) return `${problem}: the library is probably truncated`;
  return problem.replace(/^error: /i, '');
}

/** Loads the native binding in a child process and computes with it. */
export const probeNative = (binding: BindingPackage, signal?: AbortSignal): Promise<Probe> => probe(NATIVE, binding.directory, signal);

/** Starts WebAssembly in a child process and computes with it. `entry` is the resolved main file of the wasm package. */
export const probeWasm = (entry: string): Promise<Probe> => probe(WASM, entry);

/**
 * As {@link probeNative}, but what once worked, and has not changed since, is not tried again.
 *
 * The mark lies in the cache directory and names the files, their sizes and times, the Node and the processor; a cache that cannot be written costs only time.
 */
export async function probeNativeOnce(binding: BindingPackage): Promise<Probe | undefined> {
  const mark = join(cacheDirectory(), 'proved', fingerprint(binding));
  if (existsSync(mark)) return undefined;
  const result = await probeNative(binding);
  if (result.works) markProved(binding);
  return result;
}

/** Remembers that the binding works as it is now. */
export function markProved(binding: BindingPackage): void {
  const mark = join(cacheDirectory(), 'proved', fingerprint(binding));
  try {
    mkdirSync(dirname(mark), { recursive: true });
    writeFileSync(mark, '');
  } catch {
    // Only a shortcut is lost.
  }
}

function fingerprint(binding: BindingPackage): string {
  const files = [binding.addon, ...list(join(binding.deps, 'lib'))].map((path) => {
    try {
      const { size, mtimeMs } = statSync(path);
      return [realpathSync(path), size, mtimeMs];
    } catch {
      return [path, 'unreadable'];
    }
  });
  const facts = [binding.version, process.version, process.arch, cpus()[0]?.model, files];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
      .sort()
      .map((name) => join(directory, name));
  } catch {
    return [];
  }
}
