import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Check, Diagnosis } from '../../src/core/backend/index.js';
import { libraryPackage } from '../../src/core/backend/libtensorflow.js';
import { FakeProject, python } from './fake-project.js';

describe('onestep doctor', () => {
  let project: FakeProject;
  beforeEach(() => void (project = new FakeProject()));
  afterEach(() => project.remove());

  const examine = async (env: NodeJS.ProcessEnv = {}) => {
    const { code, stdout } = await project.onestepWith(env, 'doctor', '--json');
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    const check = (id: string): Check => diagnosis.checks.find((candidate) => candidate.id === id)!;
    return { code, diagnosis, check };
  };

  it('reports all problems at once, each with its fix', async () => {
    project.removeTool('python3');
    project.removeTool('c++');
    writeFileSync(project.cache, 'a file in the place of the directory');
    const { code, diagnosis, check } = await examine();
    expect(code).toBe(1);
    const status = Object.fromEntries(diagnosis.checks.map(({ id, status }) => [id, status]));
    expect(status).toMatchObject({
      node: 'ok',
      'binding-package': 'ok',
      'binding-built': 'problem',
      python: 'problem',
      compiler: 'problem',
      cache: 'warning',
      wasm: 'ok',
    });
    expect(check('python')).toMatchObject({ found: 'no python3', help: expect.stringContaining('apt-get install python3-pip') });
    expect(check('binding-built').help).toBe('npx onestep setup');
    expect(diagnosis).toMatchObject({ engine: 'wasm', accelerated: false });
    for (const { status, help } of diagnosis.checks) if (status === 'problem') expect(help).toBeTruthy();
  });

  it.skipIf(python === undefined || libraryPackage() === undefined)(
    'survives a library that kills the process, and is content when it is mended',
    async () => {
      await project.onestep('setup');
      const library = join(project.binding, 'deps', 'lib', 'libtensorflow_cc.so.2');
      truncateSync(library, 3);
      const broken = await examine();
      expect(broken.code).toBe(1);
      expect(broken.check('native-library')).toMatchObject({
        status: 'problem',
        found: expect.stringContaining('SIGBUS'),
        help: 'npx onestep setup',
      });

      await project.onestep('setup');
      const { code, diagnosis, check } = await examine();
      expect(check('native-library').found).toContain('TensorFlow 2.99.0');
      expect([code, diagnosis.engine]).toEqual([0, 'tensorflow']);
    },
  );

  it.skipIf(python === undefined || libraryPackage() === undefined)(
    'does not call a missing compiler a problem where nothing has to be built',
    async () => {
      await project.onestep('setup');
      project.removeTool('c++');
      expect((await examine()).check('compiler').status).toBe('warning');
    },
  );

  it('says which engine the environment chooses', async () => {
    const { check, diagnosis } = await examine({ ONESTEP_ENGINE: 'wasm' });
    expect(diagnosis.engine).toBe('wasm');
    expect(check('engine').found).toBe('wasm (ONESTEP_ENGINE is wasm)');
  });

  it('prints a line per check for people', async () => {
    const { stdout } = await project.onestep('doctor');
    expect(stdout).toMatch(/^ok {7}node {13}\d+\.\d+\.\d+$/m);
    expect(stdout).toMatch(/^PROBLEM {2}binding-built .*\n +help: npx onestep setup$/m);
  });
});
