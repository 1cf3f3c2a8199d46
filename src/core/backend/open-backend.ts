/**
 * The one way to an engine.
 */
import { EngineError, OnestepError } from '../errors.js';
import { installAutodiff } from '../autodiff/index.js';
import type { OpenedEngine } from './engine.js';
import { ENGINES } from './engines/index.js';
import { type BackendOptions, type EngineName, type ResolvedBackendOptions, resolveBackendOptions } from './options.js';

/** An open engine. */
export interface Backend extends OpenedEngine {
  name: EngineName;
  /** Why this engine, and why not the better ones. */
  reason: string;
}

/** Notices are given once a process. */
const noticed = new Set<string>();

/**
 * Opens an engine and makes it the current backend of TensorFlow.js, with the gradients and kernels that TensorFlow.js lacks.
 *
 * `auto` takes the best engine that works; if that is not the first, one line goes to `onMessage`. It never takes `cpu`.
 * Opening the same engine again is cheap, opening another one switches to it.
 *
 * Throws {@link ConfigError} for wrong options; {@link EngineError} `E_ENGINE_UNAVAILABLE` where the engine that was asked for,
 * or with `auto` every one, cannot be opened, `E_ENGINE_THREADS` where it is open with another number of threads,
 * `E_ENGINE_DUPLICATE_CORE` where two copies of tfjs-core are installed.
 *
 * ```ts
 * const { name, description } = await openBackend({ engine: 'auto', threads: 4 });
 * ```
 */
export async function openBackend(options: BackendOptions = {}): Promise<Backend> {
  const resolved = resolveBackendOptions(options);
  const backend = resolved.engine === 'auto' ? await openBest(resolved) : await openNamed(resolved.engine, resolved);
  installAutodiff();
  if (backend.notice !== undefined && !noticed.has(backend.notice)) {
    noticed.add(backend.notice);
    resolved.onMessage(backend.notice);
  }
  return backend;
}

async function openNamed(name: EngineName, { threads, chosenBy }: ResolvedBackendOptions): Promise<Backend> {
  const engine = ENGINES.find((candidate) => candidate.name === name)!;
  const reason = chosenBy === 'ONESTEP_ENGINE' ? `ONESTEP_ENGINE is ${name}` : `${name} was asked for`;
  return { name, reason, ...(await engine.open({ threads })) };
}

async function openBest({ threads, onMessage }: ResolvedBackendOptions): Promise<Backend> {
  const failures: OnestepError[] = [];
  for (const engine of ENGINES.filter(({ automatic }) => automatic)) {
    try {
      const opened = await engine.open({ threads });
      const better = failures.map((error) => error.message.split('\n')[0]!).join('; ');
      if (failures.length > 0) {
        const [{ help }] = failures as [OnestepError];
        onMessage(
          `onestep computes with ${engine.name}, which is several times slower than ${ENGINES[0]!.name} (${better}); to mend it: ${help}`,
        );
      }
      return { name: engine.name, reason: better === '' ? `${engine.name} is the fastest engine and works` : better, ...opened };
    } catch (error) {
      // A wrong number of threads is the caller's mistake: a slower engine is no answer to it.
      if (!(error instanceof OnestepError) || error.code === 'E_ENGINE_THREADS') throw error;
      failures.push(error);
    }
  }
  throw new EngineError(
    'E_ENGINE_UNAVAILABLE',
    `no engine works:\n${failures.map((error) => `  - ${error.message.replaceAll('\n', ' ')}`).join('\n')}`,
    {
      help: `npx onestep doctor; the engine 'cpu', a hundred times slower, is opened only by name: openBackend({ engine: 'cpu' }) or ONESTEP_ENGINE=cpu`,
    },
  );
}
