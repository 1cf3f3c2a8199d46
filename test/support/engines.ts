/** The engines of this machine, for suites that run on each of them. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { installAutodiff } from '../../src/core/autodiff/index.js';

const require = createRequire(import.meta.url);

function hasBinding(): boolean {
  const root = dirname(require.resolve('@tensorflow/tfjs-node-gpu/package.json'));
  return existsSync(join(root, 'lib', 'napi-v8', 'tfjs_binding.node'));
}

/** `tensorflow` where the native binding was set up, and `wasm`. */
export const engines: ('tensorflow' | 'wasm')[] = hasBinding() ? ['tensorflow', 'wasm'] : ['wasm'];
if (!hasBinding()) console.log('skipped on tensorflow: the native binding is not set up (npx onestep setup)');

export const useEngine = async (engine: 'tensorflow' | 'wasm') => {
  if (engine === 'tensorflow') require('@tensorflow/tfjs-node-gpu');
  else require('@tensorflow/tfjs-backend-wasm').setWasmPaths(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + '/');
  await tf.setBackend(engine); await tf.ready(); installAutodiff();
};
