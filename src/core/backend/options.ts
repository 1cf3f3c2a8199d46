/**
 * What `openBackend` may be told.
 */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { describeIssues } from '../options.js';

/** The engines, best first. */
export const ENGINE_NAMES = ['tensorflow', 'wasm', 'cpu'] as const;

/** The name of an engine. */
export type EngineName = (typeof ENGINE_NAMES)[number];

/** Schema of {@link BackendOptions}. */
export const backendOptions = z.strictObject({
  /** `auto` takes the best engine that works, never `cpu`. The environment variable ONESTEP_ENGINE takes the place of `auto`. */
  engine: z.enum(['auto', ...ENGINE_NAMES]).default('auto'),
  /** Threads that one operation may use; undefined: all processors. Only `tensorflow` heeds it: the others compute on one. */
  threads: z.int().min(1).max(1024).optional(),
  /** Takes the lines that the user should read, such as why a slower engine was taken; undefined: standard error. */
  onMessage: z.custom<(line: string) => void>((value) => typeof value === 'function', 'expected a function').optional(),
});

/**
 * Options of `openBackend`.
 *
 * @interface
 */
export type BackendOptions = z.input<typeof backendOptions>;

export interface ResolvedBackendOptions {
  engine: 'auto' | EngineName;
  /** Who chose: `default`, the option, or the environment. */
  chosenBy: 'default' | 'option' | 'ONESTEP_ENGINE';
  threads: number | undefined;
  onMessage: (line: string) => void;
}

/** Checks the options and lets ONESTEP_ENGINE take the place of `auto`. Throws {@link ConfigError} with every problem. */
export function resolveBackendOptions(options: BackendOptions, environment: NodeJS.ProcessEnv = process.env): ResolvedBackendOptions {
  const parsed = backendOptions.safeParse(options);
  const problems = parsed.success ? [] : describeIssues(parsed.error);
  const wanted = environment['ONESTEP_ENGINE'] || 'auto';
  const fromEnvironment = (['auto', ...ENGINE_NAMES] as const).find((name) => name === wanted);
  if (fromEnvironment === undefined) {
    problems.push(`environment variable ONESTEP_ENGINE: expected one of auto, ${ENGINE_NAMES.join(', ')}, got '${wanted}'`);
  }
  if (!parsed.success || fromEnvironment === undefined) throw new ConfigError('openBackend', problems);

  const { engine, threads, onMessage } = parsed.data;
  return {
    engine: engine === 'auto' ? fromEnvironment : engine,
    chosenBy: engine !== 'auto' ? 'option' : fromEnvironment !== 'auto' ? 'ONESTEP_ENGINE' : 'default',
    threads,
    onMessage: onMessage ?? ((line) => void process.stderr.write(`${line}\n`)),
  };
}
