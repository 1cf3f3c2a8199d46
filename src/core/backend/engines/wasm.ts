/**
 * TensorFlow.js in WebAssembly with SIMD: works everywhere, on one thread.
 *
 * The multithreaded build of 4.22 does not start under Node: it gives `new Worker` the URL of a blob, which Node's
 * workers do not take (TensorFlow.js turns it off itself, issue 3830).
 */
import * as tf from '@tensorflow/tfjs-core';
import { dirname, sep } from 'node:path';
import { EngineError } from '../../errors.js';
import { resolveFrom } from '../binding-package.js';
import type { Engine } from '../engine.js';

export const WASM_PACKAGE = '@tensorflow/tfjs-backend-wasm';

/** What the WebAssembly runtime hangs on the process: it would print its own source at every error of ours. */
const EVENTS = ['uncaughtException', 'unhandledRejection'] as const;

export const wasmEngine: Engine = {
  name: 'wasm',
  automatic: true,
  async open() {
    const entry = resolveFrom(import.meta.url, WASM_PACKAGE);
    if (entry === undefined) {
      throw new EngineError('E_ENGINE_UNAVAILABLE', `wasm: the package ${WASM_PACKAGE} is not installed`, {
        help: `npm install ${WASM_PACKAGE}`,
      });
    }
    const wasm = await import('@tensorflow/tfjs-backend-wasm');
    if (tf.engine().registry['wasm'] === undefined) wasm.setWasmPaths(dirname(entry) + sep);
    await startQuietly();
    const version = wasm.version_wasm;
    return { description: `TensorFlow.js ${version} in WebAssembly, 1 thread`, version, threads: 1, gpu: undefined };
  },
};

async function startQuietly(): Promise<void> {
  const before = EVENTS.map((event) => process.listeners(event as 'uncaughtException'));
  const said: string[] = [];
  const { warn } = console;
  console.warn = (...words: unknown[]) => void said.push(words.join(' '));
  let started: boolean;
  try {
    started = await tf.setBackend('wasm');
  } finally {
    console.warn = warn;
    EVENTS.forEach((event, i) => {
      for (const listener of process.listeners(event as 'uncaughtException')) {
        if (!before[i]!.includes(listener)) process.off(event, listener);
      }
    });
  }
  if (started) return;
  throw new EngineError('E_ENGINE_UNAVAILABLE', `wasm: WebAssembly cannot be started: ${said.join(' ').split('\n')[0]}`, {
    help: `reinstall ${WASM_PACKAGE}; 'npx onestep doctor' says more`,
  });
}
