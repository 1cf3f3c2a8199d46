/** The engines of this machine, for suites that run on each of them. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { openBackend } from '../../src/core/backend/index.js';

const require = createRequire(import.meta.url);

function hasBinding(): boolean {
  const root = dirname(require.resolve('@tensorflow/tfjs-node-gpu/package.json'));
  return existsSync(join(root, 'lib', 'napi-v8', 'tfjs_binding.node'));
}

/** `tensorflow` where the native binding was set up, and `wasm`. */
export const engines: ('tensorflow' | 'wasm')[] = hasBinding() ? ['tensorflow', 'wasm'] : ['wasm'];
if (!hasBinding()) console.log('skipped on tensorflow: the native binding is not set up (npx onestep setup)');

export const useEngine = async (engine: 'tensorflow' | 'wasm') => {
  await openBackend({ engine });
};
