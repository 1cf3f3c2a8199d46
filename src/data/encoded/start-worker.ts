import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { RunError } from '../../core/errors.js';
import type { DecodeWorkerData } from './decode-task.js';

/** In the package: beside the door of the room, from a shared chunk or from the room itself. */
const BUILT = ['./data/decode-worker.js', './decode-worker.js'];

/** Starts a worker of the decoding pool: the built one in the package, the source through tsx in the repository. */
export function startDecodeWorker(workerData: DecodeWorkerData): Worker {
  // Options of the process, such as a loader or a script given with --eval, are not for the worker.
  const options = { workerData, execArgv: [], name: 'onestep-decode' };
  const here = import.meta.url;
  if (here.endsWith('.ts')) {
    const tsx = import.meta.resolve('tsx/esm/api');
    const source = new URL('./decode-worker.ts', here).href;
    const script = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(source)}); })`;
    return new Worker(script, { ...options, eval: true });
  }
  const built = BUILT.map((path) => new URL(path, here)).find((url) => existsSync(fileURLToPath(url)));
  if (built === undefined)
    throw new RunError('E_RUN_WORKER', `expected the worker of onestep, data/decode-worker.js, near ${fileURLToPath(here)}; found none`, {
      help: 'a bundler must leave the package onestep as it is: name it as external',
    });
  return new Worker(built, options);
}
