/**
 * Looks at everything that an engine needs and reports all of it at once, as data.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fusedAddon } from '../native/build.js';
import {
  type BindingPackage,
  BINDING_PACKAGES,
  findBindingPackage,
  INSTALL_BINDING,
  resolveFrom,
  TFJS_VERSION,
} from './binding-package.js';
import { cacheDirectory, freeMegabytes, whyNotWritable } from '../cache.js';
import { gpuDevices, gpuNames } from './gpu.js';
import { libraryPackage, LibraryStore } from './libtensorflow.js';
import { type EngineName, ENGINE_NAMES } from './options.js';
import { type Probe, probeNative, probeWasm } from './probe.js';
import { findCompiler, findNodeHeaders, findPython, glibcVersion, type Tool } from './toolchain.js';

/** One thing that was examined. */
export interface Check {
  /** Stable, such as `native-library`. */
  id: string;
  /** `problem`: an engine does not work for it; `warning`: nothing is broken now. */
  status: 'ok' | 'warning' | 'problem';
  found: string;
  expected?: string;
  /** What to do about it. */
  help?: string;
}

/** What `doctor` found. */
export interface Diagnosis {
  /** Every check, the good ones too. */
  checks: readonly Check[];
  /** What `openBackend()` would open; undefined where nothing works. */
  engine: EngineName | undefined;
  /** True where the fast engine works, whether or not it would be opened. */
  accelerated: boolean;
}

/** Options of `doctor`. */
export interface DoctorOptions {
  /** Where the binding package is looked for first; undefined: the working directory. */
  projectDirectory?: string;
}

const SETUP = 'npx onestep setup';

/** Examines this machine; never throws for what it finds. */
export async function doctor(options: DoctorOptions = {}): Promise<Diagnosis> {
  const binding = findBindingPackage(options.projectDirectory);
  const wasmEntry = resolveFrom(import.meta.url, '@tensorflow/tfjs-backend-wasm');
  const [native, wasm, tools, gpu, cache] = await Promise.all([
    binding && existsSync(binding.addon) ? probeNative(binding) : undefined,
    wasmEntry === undefined ? undefined : probeWasm(wasmEntry),
    checkTools(),
    gpuNames(),
    checkCache(),
  ]);
  const works = native?.works === true;
  const engine = wouldOpen(works, wasm?.works === true);
  const checks = [
    checkNode(),
    checkPlatform(),
    checkVersions(binding),
    ...checkBinding(binding, native),
    ...(binding && works ? checkFused(binding) : []),
    checkThreads(),
    checkGpu(gpu, native),
    checkWasm(wasm),
    // Where the binding works, what would build it is not missed.
    ...tools.map((check) => (works && check.status === 'problem' ? ({ ...check, status: 'warning' } as const) : check)),
    ...cache,
    checkEngine(engine),
  ];
  return { checks, engine, accelerated: works };
}

function wouldOpen(tensorflow: boolean, wasm: boolean): EngineName | undefined {
  const named = ENGINE_NAMES.find((name) => name === process.env['ONESTEP_ENGINE']);
  const working: Record<EngineName, boolean> = { tensorflow, wasm, cpu: true };
  if (named !== undefined) return working[named] ? named : undefined;
  return tensorflow ? 'tensorflow' : wasm ? 'wasm' : undefined;
}

function checkNode(): Check {
  const major = Number(process.versions.node.split('.')[0]);
  const check = { id: 'node', found: process.versions.node, expected: '>= 20' };
  return major >= 20 ? { ...check, status: 'ok' } : { ...check, status: 'problem', help: 'install Node 20 or later' };
}

function checkPlatform(): Check {
  const glibc = glibcVersion();
  const found = [`${process.platform}-${process.arch}`, glibc && `glibc ${glibc}`].filter(Boolean).join(', ');
  const check = { id: 'platform', found };
  if (libraryPackage() === undefined) {
    return {
      ...check,
      status: 'warning',
      expected: 'linux-x64 or linux-arm64',
      help: `here TensorFlow comes only from the installer of ${BINDING_PACKAGES[0]}`,
    };
  }
  if (process.platform === 'linux' && glibc === undefined) {
    return {
      ...check,
      status: 'problem',
      expected: 'glibc',
      help: 'TensorFlow is published for no other C library: use an image with glibc, such as Debian',
    };
  }
  return { ...check, status: 'ok' };
}

function checkVersions(binding: BindingPackage | undefined): Check {
  const versions = new Map<string, string>();
  const note = (name: string, from: string) => {
    const path = resolveFrom(from, `${name}/package.json`);
    if (path !== undefined) versions.set(name, (createRequire(import.meta.url)(path) as { version: string }).version);
    return path;
  };
  const core = note('@tensorflow/tfjs-core', import.meta.url);
  note('@tensorflow/tfjs-backend-wasm', import.meta.url);
  note('@tensorflow/tfjs-backend-cpu', import.meta.url);
  let theirCore = core;
  if (binding !== undefined) {
    versions.set(binding.name, binding.version);
    const union = note('@tensorflow/tfjs', join(binding.directory, 'package.json'));
    theirCore = union && resolveFrom(union, '@tensorflow/tfjs-core/package.json');
  }
  const wrong = [...versions].filter(([, version]) => version !== TFJS_VERSION).map(([name, version]) => `${name} ${version}`);
  const check = { id: 'tfjs-versions', expected: `${TFJS_VERSION} of every @tensorflow package, one copy of tfjs-core` };
  const help = `npm install with version ${TFJS_VERSION} of each, then npm dedupe`;
  if (wrong.length > 0) return { ...check, status: 'problem', found: wrong.join(', '), help };
  if (theirCore !== core)
    return { ...check, status: 'problem', found: `two copies of tfjs-core: ${core} and ${theirCore ?? 'none'}`, help };
  return { ...check, status: 'ok', found: `${TFJS_VERSION} (${versions.size} packages)` };
}

function checkBinding(binding: BindingPackage | undefined, native: Probe | undefined): Check[] {
  if (binding === undefined) {
    return [
      { id: 'binding-package', status: 'problem', found: 'not installed', expected: BINDING_PACKAGES.join(' or '), help: INSTALL_BINDING },
    ];
  }
  const installed: Check = { id: 'binding-package', status: 'ok', found: `${binding.name} ${binding.version} in ${binding.directory}` };
  if (native === undefined) {
    return [installed, { id: 'binding-built', status: 'problem', found: `no ${binding.addon}`, help: SETUP }];
  }
  const built: Check = { id: 'binding-built', status: 'ok', found: `Node-API ${binding.napi}` };
  if (!native.works) return [installed, built, { id: 'native-library', status: 'problem', found: native.problem!, help: SETUP }];
  return [
    installed,
    built,
    { id: 'native-library', status: 'ok', found: `TensorFlow ${native.version}, loaded in ${native.seconds.toFixed(1)} s` },
  ];
}

function checkFused(binding: BindingPackage): Check[] {
  const addon = fusedAddon(binding);
  if (addon === undefined) return [];
  const check = { id: 'fused-operations' };
  if (existsSync(addon)) return [{ ...check, status: 'ok', found: basename(addon) }];
  return [{ ...check, status: 'warning', found: 'not built for this version, TensorFlow and processor', help: SETUP }];
}

function checkThreads(): Check {
  const processors = availableParallelism();
  const set = process.env['TF_NUM_INTRAOP_THREADS'];
  const check = { id: 'threads', found: set === undefined ? `${processors}` : `${set} of ${processors} (TF_NUM_INTRAOP_THREADS)` };
  if (set === undefined || Number(set) >= processors) return { ...check, status: 'ok' };
  return { ...check, status: 'warning', expected: `${processors}`, help: 'unset TF_NUM_INTRAOP_THREADS to use every processor' };
}

function checkGpu(names: readonly string[], native: Probe | undefined): Check {
  const devices = gpuDevices();
  if (names.length === 0 && devices.length === 0) return { id: 'gpu', status: 'ok', found: 'none' };
  const found = names.join(', ') || devices.join(', ');
  if (native?.gpu) return { id: 'gpu', status: 'ok', found: `${found}, used by TensorFlow` };
  if (names.length === 0) {
    return {
      id: 'gpu',
      status: 'warning',
      found: `${found}, but nvidia-smi does not answer`,
      help: "install NVIDIA's driver, or pass the GPU into the container",
    };
  }
  return {
    id: 'gpu',
    status: 'warning',
    found: `${found}, not used`,
    expected: 'a TensorFlow that was built for GPUs',
    help: 'what set-up brings computes on the processor',
  };
}

function checkWasm(wasm: Probe | undefined): Check {
  if (wasm?.works) return { id: 'wasm', status: 'ok', found: `TensorFlow.js ${wasm.version}, started in ${wasm.seconds.toFixed(1)} s` };
  return {
    id: 'wasm',
    status: 'problem',
    found: wasm?.problem ?? 'not installed',
    help: `npm install @tensorflow/tfjs-backend-wasm@${TFJS_VERSION}`,
  };
}

async function checkTools(): Promise<Check[]> {
  const check = (id: string, tool: Tool): Check => ({
    id,
    status: tool.path === undefined ? 'problem' : 'ok',
    found: tool.found,
    help: tool.help,
  });
  const [python, compiler] = await Promise.all([findPython(), findCompiler()]);
  return [check('python', python), check('compiler', compiler), check('node-headers', findNodeHeaders())];
}

async function checkCache(): Promise<Check[]> {
  const directory = cacheDirectory();
  const why = whyNotWritable(directory);
  const other = 'name another directory in the environment variable ONESTEP_CACHE';
  const writable: Check =
    why === undefined
      ? { id: 'cache', status: 'ok', found: directory }
      : { id: 'cache', status: 'warning', found: why, expected: `${directory} writable`, help: other };
  const library = libraryPackage();
  const store = library && new LibraryStore(directory, library);
  const free = await freeMegabytes(directory);
  const needed = store === undefined || store.isWhole() ? 0 : store.megabytesNeeded();
  const space = { id: 'disk-space', found: `${free} MB free`, expected: needed === 0 ? undefined : `${needed} MB for set-up` };
  return [
    writable,
    free >= needed ? { ...space, status: 'ok' } : { ...space, status: 'warning', help: `free some in ${dirname(directory)}, or ${other}` },
  ];
}

function checkEngine(engine: EngineName | undefined): Check {
  const named = process.env['ONESTEP_ENGINE'];
  const found = named && named !== 'auto' ? `${engine ?? 'none'} (ONESTEP_ENGINE is ${named})` : (engine ?? 'none');
  if (engine === 'tensorflow') return { id: 'engine', status: 'ok', found };
  const help = named ? 'unset ONESTEP_ENGINE to take the best engine' : SETUP;
  return { id: 'engine', status: engine === undefined ? 'problem' : 'warning', found, expected: 'tensorflow', help };
}
