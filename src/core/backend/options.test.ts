import { describe, expect, it } from 'vitest';
import { ConfigError } from '../errors.js';
import { resolveBackendOptions } from './options.js';

const problemsOf = (options: object, environment: NodeJS.ProcessEnv = {}): readonly string[] => {
  try {
    resolveBackendOptions(options, environment);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  return [];
};

describe('resolveBackendOptions', () => {
  it('chooses by itself where nobody chooses', () => {
    expect(resolveBackendOptions({}, {})).toMatchObject({ engine: 'auto', chosenBy: 'default', threads: undefined });
    expect(resolveBackendOptions({}, { ONESTEP_ENGINE: '' })).toMatchObject({ engine: 'auto', chosenBy: 'default' });
    expect(resolveBackendOptions({}, { ONESTEP_ENGINE: 'auto' })).toMatchObject({ engine: 'auto', chosenBy: 'default' });
  });

  it('lets the environment take the place of auto, but not of a name', () => {
    const environment = { ONESTEP_ENGINE: 'wasm' };
    expect(resolveBackendOptions({ engine: 'auto' }, environment)).toMatchObject({ engine: 'wasm', chosenBy: 'ONESTEP_ENGINE' });
    expect(resolveBackendOptions({ engine: 'cpu' }, environment)).toMatchObject({ engine: 'cpu', chosenBy: 'option' });
  });

  it('reports every problem at once', () => {
    const problems = problemsOf({ engine: 'webgl', threads: 0.5, thread: 2, onMessage: 'console' }, { ONESTEP_ENGINE: 'tensorflwo' });
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'engine',
      'threads',
      'onMessage',
      '(options)',
      'environment variable ONESTEP_ENGINE',
    ]);
    expect(problems.at(-1)).toContain("expected one of auto, tensorflow, wasm, cpu, got 'tensorflwo'");
  });

  it('takes no thread count that is not a positive whole number', () => {
    for (const threads of [0, -1, 1.5, Infinity, NaN]) expect(problemsOf({ threads })).toHaveLength(1);
    expect(problemsOf({ threads: 1 })).toEqual([]);
  });
});
