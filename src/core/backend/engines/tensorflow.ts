/**
 * TensorFlow's C library through its Node binding: the fast engine, on all processors or on a GPU.
 */
import * as tf from '@tensorflow/tfjs-core';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { EngineError } from '../../errors.js';
import { explainFused, fusedAddon } from '../../native/build.js';
import { loadFused } from '../../native/fused.js';
import { type BindingPackage, BINDING_PACKAGES, findBindingPackage, INSTALL_BINDING, resolveFrom } from '../binding-package.js';
import type { Engine, OpenedEngine } from '../engine.js';
import { gpuNames } from '../gpu.js';
import { probeNativeOnce } from '../probe.js';

/** The native backend, as far as we use it. */
interface NativeBackend {
  binding: { TF_Version: string };
  isUsingGpuDevice: boolean;
}

/** TensorFlow reads these when it is loaded, and never again. */
const THREAD_VARIABLES = ['TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS', 'OMP_NUM_THREADS'] as const;

let opened: OpenedEngine | undefined;

export const tensorflowEngine: Engine = {
  name: 'tensorflow',
  automatic: true,
  async open({ threads }) {
    if (opened !== undefined && threads !== undefined && threads !== opened.threads) {
      throw new EngineError(
        'E_ENGINE_THREADS',
        `tensorflow: ${threads} threads were asked for, but it was opened with ${opened.threads} and cannot change`,
        {
          help: 'give the number of threads the first time that the engine is opened in this process',
        },
      );
    }
    opened ??= await load(threads);
    await tf.setBackend('tensorflow');
    return opened;
  },
};

async function load(wanted: number | undefined): Promise<OpenedEngine> {
  const binding = findBindingPackage();
  if (binding === undefined)
    throw unavailable(`the package ${BINDING_PACKAGES[0]} is not installed`, `${INSTALL_BINDING}, then npx onestep setup`);
  if (!existsSync(binding.addon)) throw unavailable(`the native binding of ${binding.name} is not built`, 'npx onestep setup');
  checkOneCore(binding);
  const probe = await probeNativeOnce(binding);
  if (probe?.works === false) throw unavailable(`the native binding does not load: ${probe.problem}`, 'npx onestep setup');

  const threads = setThreads(wanted);
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  // TensorFlow then keeps memory for its next tensor. Otherwise each large one is mapped anew, and touching its pages for
  // the first time takes longer than most operations on them.
  process.env['TF_CPU_ALLOCATOR_USE_BFC'] ??= 'true';
  const require = createRequire(join(binding.directory, 'package.json'));
  // The binding calls it; Node 22 warns of it and Node 23 has removed it.
  const util = require('node:util') as { isNullOrUndefined?: (value: unknown) => boolean };
  util.isNullOrUndefined = (value) => value === null || value === undefined;
  try {
    require(binding.directory);
  } catch (error) {
    throw unavailable(`the native binding does not load: ${(error as Error).message.split('\n')[0]}`, 'npx onestep setup', error);
  }
  const backend = tf.findBackend('tensorflow') as unknown as NativeBackend;
  const version = backend.binding.TF_Version;
  const gpu = backend.isUsingGpuDevice ? ((await gpuNames())[0] ?? 'GPU') : undefined;
  const fused = gpu === undefined ? openFused(binding, threads) : undefined;
  const where = gpu ?? `${threads} thread${threads === 1 ? '' : 's'}`;
  return {
    description: `TensorFlow ${version} through ${binding.name} ${binding.version}, ${where}`,
    version,
    threads,
    gpu,
    notice: fused,
  };
}

/** Returns what is missing, with the fix. */
function openFused(binding: BindingPackage, threads: number): string | undefined {
  const addon = fusedAddon(binding);
  const problem = addon === undefined ? undefined : loadFused(addon, threads);
  return problem && explainFused(problem);
}

/** Leaves variables alone that the user has set, unless a number was asked for. */
function setThreads(wanted: number | undefined): number {
  const fromEnvironment = Number(process.env['TF_NUM_INTRAOP_THREADS']);
  const threads = wanted ?? (fromEnvironment > 0 ? fromEnvironment : availableParallelism());
  for (const variable of THREAD_VARIABLES) {
    if (wanted === undefined) process.env[variable] ??= String(threads);
    else process.env[variable] = String(threads);
  }
  return threads;
}

/** With two copies of tfjs-core a tensor of the one is no tensor to the other, and the failures come late and look like something else. */
function checkOneCore(binding: BindingPackage): void {
  const union = resolveFrom(join(binding.directory, 'package.json'), '@tensorflow/tfjs/package.json');
  const theirs = union && resolveFrom(union, '@tensorflow/tfjs-core');
  if (theirs === undefined) throw unavailable(`${binding.name} does not find @tensorflow/tfjs`, 'npm install');
  const core = createRequire(theirs)(theirs) as typeof tf;
  if (core.Tensor === tf.Tensor) return;
  throw new EngineError(
    'E_ENGINE_DUPLICATE_CORE',
    `tensorflow: ${binding.name} ${binding.version} uses another copy of @tensorflow/tfjs-core (${core.version_core} in ${theirs}) than onestep (${tf.version_core} in ${resolveFrom(import.meta.url, '@tensorflow/tfjs-core')})`,
    { help: `install the same version of every @tensorflow package (${tf.version_core}), then npm dedupe` },
  );
}

const unavailable = (message: string, help: string, cause?: unknown) =>
  new EngineError('E_ENGINE_UNAVAILABLE', `tensorflow: ${message}`, { help, cause });
