import { describe, expect, it } from 'vitest';
import { ConfigError, FileError, RunError } from '../../core/errors.js';
import { Problems } from './problems.js';

const absent = new FileError('E_FILE_ABSENT', 'a.npz: no such file', { help: 'check the path' });
const fail = (error: Error) => () => Promise.reject(error);

describe('problems', () => {
  it('are none where nothing fails', async () => {
    const problems = new Problems('here');
    expect(await problems.attempt(() => 3)).toBe(3);
    expect(problems.any).toBe(false);
    problems.throwIfAny();
  });

  it('are the error itself where it is alone, however often it comes', async () => {
    const problems = new Problems('here');
    for (let i = 0; i < 2; i++) expect(await problems.attempt(fail(absent))).toBeUndefined();
    expect(() => problems.throwIfAny()).toThrow(absent);
  });

  it('are listed together, with the help of each', async () => {
    const problems = new Problems('here');
    problems.add('images: expected 2', 'images: expected 2');
    await problems.attempt(fail(absent));
    await problems.attempt(fail(new ConfigError('there', ['x: wrong', 'y: wrong'])));
    expect(problems.any).toBe(true);
    let thrown: unknown;
    try {
      problems.throwIfAny();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'E_CONFIG', cause: absent });
    expect((thrown as ConfigError).problems).toEqual([
      'images: expected 2',
      'x: wrong',
      'y: wrong',
      'a.npz: no such file\n    help: check the path',
    ]);
  });

  it('are not interruptions, nor errors of others', async () => {
    const stop = new RunError('E_RUN_STOPPED', 'stopped');
    await expect(new Problems('here').attempt(fail(stop))).rejects.toBe(stop);
    await expect(new Problems('here').attempt(fail(new TypeError('a bug')))).rejects.toThrow(TypeError);
  });
});
