/**
 * Compiles the fused TensorFlow operations for this processor and keeps them in the cache.
 *
 * The addon's name is a digest of everything that it depends on: sources, flags, processor, TensorFlow. One that was built
 * from older sources, or for another processor, has another name and is never loaded.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BindingPackage } from '../backend/binding-package.js';
import { cacheDirectory, withLock } from '../cache.js';
import { failure, run, succeeded } from '../backend/process.js';
import { compileAddon, findCompiler, findNodeHeaders } from '../backend/toolchain.js';
import { NOT_BUILT } from './fused.js';

/** Contracted multiply-adds are wanted; NaN and infinity keep their meaning, so no -ffast-math. */
const FLAGS = ['-O3', '-march=native', '-ffp-contract=fast', '-fno-math-errno', '-fno-trapping-math'];

const SOURCES = [
  'fused-ops.h',
  'fused-ops.cc',
  'group-norm.cc',
  'residual.cc',
  'adam.cc',
  'bias-activation.cc',
  'depthwise.cc',
  'max-pool.cc',
  'gelu.cc',
  'layer-norm.cc',
  'resample.cc',
  'batch-norm.cc',
  'products.h',
  'pointwise.cc',
  'winograd.h',
  'winograd.cc',
  'winograd-filter.cc',
  'attention.cc',
  'reshape.cc',
  'flatten.cc',
  'channels.cc',
  'spectral-norm.cc',
  'moving-average.cc',
];

const LIBRARY = 'libtensorflow_framework.so.2';

/** Why the fused operations are not there, with the fix; for messages and reports. */
export const explainFused = (problem: string): string =>
  `fused operations: ${problem}; run npx onestep setup${problem === NOT_BUILT ? '' : ' --force'}`;

/** The folder that holds the C++ sources, in the repository and in the package. */
function sourceDirectory(): string | undefined {
  for (let at = dirname(fileURLToPath(import.meta.url)); dirname(at) !== at; at = dirname(at)) {
    const directory = join(at, 'src', 'core', 'native');
    if (existsSync(join(directory, 'fused-ops.h'))) return directory;
  }
  return undefined;
}

function sources(): string[] {
  const directory = sourceDirectory();
  return directory === undefined ? [] : SOURCES.map((name) => join(directory, name));
}

/** What `-march=native` depends on. */
function processor(): string {
  try {
    const flags = /^(flags|Features)\s*:.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0];
    if (flags) return flags;
  } catch {
    // Not Linux.
  }
  return cpus()[0]?.model ?? '';
}

/**
 * Where the addon lies, or will lie, beside the binding; undefined where it cannot be built: the binding's TensorFlow has no
 * headers for operations, or is for another platform.
 */
export function fusedAddon(binding: BindingPackage): string | undefined {
  const library = join(binding.deps, 'lib', LIBRARY);
  const files = sources();
  if (files.length === 0 || !existsSync(library) || !existsSync(join(binding.deps, 'include', 'tensorflow', 'c', 'kernels.h')))
    return undefined;
  const digest = digestOf(files, [FLAGS, processor(), process.platform, process.arch, binding.napi, statSync(library).size]);
  return join(dirname(binding.addon), `onestep_ops-${digest}.node`);
}

/** Of the contents of files, and of values beside them. */
function digestOf(files: readonly string[], values: unknown): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(file));
  return hash.update(JSON.stringify(values)).digest('hex').slice(0, 16);
}

export interface FusedBuildOptions {
  onMessage: (line: string) => void;
  /** Build anew what is there. */
  force?: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Puts the addon beside the binding, out of the cache or compiled. Returns what went wrong, with its fix; undefined: nothing,
 * or there is nothing to build. Throws only the signal's reason.
 */
export async function buildFused(binding: BindingPackage, options: FusedBuildOptions): Promise<string | undefined> {
  const addon = fusedAddon(binding);
  if (addon === undefined || (existsSync(addon) && !options.force)) return undefined;
  const kept = join(cacheDirectory(), 'fused', addon.slice(dirname(addon).length + 1));
  try {
    await withLock(join(cacheDirectory(), 'fused.lock'), { signal: options.signal }, async () => {
      if (!existsSync(kept) || options.force) await compile(binding, kept, options);
      copyFileSync(kept, `${addon}.partial`);
      renameSync(`${addon}.partial`, addon);
    });
    return undefined;
  } catch (error) {
    options.signal?.throwIfAborted();
    return (error as Error).message.replace(/\nhelp: (.*)$/s, ' ($1)');
  }
}

async function compile(binding: BindingPackage, output: string, { onMessage, force, signal }: FusedBuildOptions): Promise<void> {
  const [compiler, headers] = [await findCompiler(), findNodeHeaders()];
  for (const { path, found, help } of [compiler, headers]) if (path === undefined) throw new Error(`${found} (${help})`);
  const start = performance.now();
  // What an object depends on: its source, all headers of ours, the binding's, how it is compiled.
  const common = sources().filter((file) => file.endsWith('.h'));
  const digest = (source: string) => digestOf([source, ...common], [FLAGS, compiler, processor(), binding.deps, binding.napi]);
  // Node loads no addon of another ending.
  const partial = output.replace(/\.node$/, '.partial.node');
  mkdirSync(dirname(output), { recursive: true });
  rmSync(partial, { force: true });
  if (force) rmSync(join(dirname(output), 'objects'), { recursive: true, force: true });
  await compileAddon({
    what: 'the fused operations',
    compiler: compiler.path!,
    flags: FLAGS,
    sources: sources().filter((file) => file.endsWith('.cc')),
    includes: [headers.path!, join(binding.deps, 'include')],
    libraries: [join(binding.deps, 'lib', LIBRARY)],
    runtimePath: '$ORIGIN/../../deps/lib',
    napi: binding.napi,
    output: partial,
    objects: { directory: join(dirname(output), 'objects'), objectName: (source) => `${basename(source)}-${digest(source)}.o` },
    signal,
  });
  await prove(binding, partial, signal);
  renameSync(partial, output);
  onMessage(`fused operations compiled in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

/** What would end this process ends a child. */
async function prove(binding: BindingPackage, addon: string, signal: AbortSignal | undefined): Promise<void> {
  const code = `require(process.argv[1]); require(process.argv[2]).start(1);`;
  const { NODE_OPTIONS: _, ...env } = process.env;
  const result = await run(process.execPath, ['-e', code, binding.directory, addon], {
    env: { ...env, TF_CPP_MIN_LOG_LEVEL: '2' },
    timeout: 90_000,
    signal,
  });
  if (!succeeded(result)) throw new Error(`they do not load: ${failure(result)}`);
}
