import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engines } from '../support/engines.js';
import { FakeProject, startScript } from './fake-project.js';

const SCRIPT = fileURLToPath(new URL('./report-engine.ts', import.meta.url));
const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));

describe('openBackend in a process of its own', () => {
  let project: FakeProject;
  beforeEach(() => void (project = new FakeProject()));
  afterEach(() => project.remove());

  const open = async (options: object, env: NodeJS.ProcessEnv = {}, cwd = project.root) => {
    const ended = await startScript(SCRIPT, [JSON.stringify(options)], { cwd, env: { ONESTEP_CACHE: project.cache, ...env } }).ended;
    return { ...ended, answer: JSON.parse(ended.stdout) as Record<string, unknown> };
  };

  it.each(engines)('%s computes, prints nothing of its own, listens to no errors of the process, and lets it end', async (engine) => {
    const { code, answer, stderr } = await open({ engine }, {}, REPOSITORY);
    expect(answer).toMatchObject({ name: engine, current: engine, product: [19, 22, 43, 50], reason: `${engine} was asked for` });
    expect(stderr).toBe('');
    expect([code, answer['listeners']]).toEqual([0, 0]);
  });

  it('cpu is opened by name, without its banner', async () => {
    const { code, answer, stderr } = await open({ engine: 'cpu' });
    expect(answer).toMatchObject({ name: 'cpu', product: [19, 22, 43, 50] });
    expect([code, stderr]).toEqual([0, '']);
  });

  it.runIf(engines.includes('tensorflow'))('auto takes tensorflow with the threads that were asked for', async () => {
    const { answer, stderr } = await open({ threads: 1 }, {}, REPOSITORY);
    expect(answer).toMatchObject({ name: 'tensorflow', threads: 1, description: expect.stringContaining('1 thread') });
    expect(stderr).toBe('');
  });

  it('auto falls to wasm with one line that says why and how to mend it', async () => {
    const { code, answer, stderr } = await open({});
    expect(answer).toMatchObject({ name: 'wasm', product: [19, 22, 43, 50], reason: expect.stringContaining('is not built') });
    expect(stderr).toMatch(
      /^onestep computes with wasm, .*the native binding of @tensorflow\/tfjs-node-gpu is not built.*npx onestep setup\n$/,
    );
    expect(code).toBe(0);
  });

  it('survives a binding that kills the process that loads it', async () => {
    mkdirSync(dirname(project.addon), { recursive: true });
    writeFileSync(project.addon, '');
    writeFileSync(join(project.binding, 'index.js'), `process.kill(process.pid, 'SIGSEGV')`);
    installUnion(project, `module.exports = require(${JSON.stringify(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-core')))})`);
    expect((await open({})).answer).toMatchObject({ name: 'wasm', reason: expect.stringContaining('it died of SIGSEGV') });
    expect((await open({ engine: 'tensorflow' })).answer).toMatchObject({ code: 'E_ENGINE_UNAVAILABLE', help: 'npx onestep setup' });
  });

  it('refuses an engine that cannot be opened when it was named, in code or in the environment', async () => {
    const named = await open({ engine: 'tensorflow' });
    expect(named.answer).toMatchObject({
      code: 'E_ENGINE_UNAVAILABLE',
      help: 'npx onestep setup',
      message: expect.stringContaining('is not built'),
    });
    expect((await open({}, { ONESTEP_ENGINE: 'tensorflow' })).answer).toEqual(named.answer);
  });

  it('lets ONESTEP_ENGINE decide where the code says auto, and the code where it names one', async () => {
    expect((await open({}, { ONESTEP_ENGINE: 'cpu' })).answer).toMatchObject({ name: 'cpu', reason: 'ONESTEP_ENGINE is cpu' });
    expect((await open({ engine: 'wasm' }, { ONESTEP_ENGINE: 'cpu' })).answer).toMatchObject({ name: 'wasm' });
  });

  it('finds a second copy of tfjs-core before it does harm', async () => {
    mkdirSync(dirname(project.addon), { recursive: true });
    writeFileSync(project.addon, '');
    installUnion(project, `exports.Tensor = class {}; exports.version_core = '4.1.0';`);
    const { answer } = await open({ engine: 'tensorflow' });
    expect(answer).toMatchObject({
      code: 'E_ENGINE_DUPLICATE_CORE',
      message: expect.stringMatching(/4\.1\.0 in .*4\.22\.0 in /),
      help: expect.stringContaining('npm dedupe'),
    });
  });
});

/** A stand-in for `@tensorflow/tfjs`, and for the `tfjs-core` that it finds. */
function installUnion({ root }: FakeProject, core: string): void {
  for (const [name, code] of Object.entries({ tfjs: '', 'tfjs-core': core })) {
    const directory = join(root, 'node_modules', '@tensorflow', name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'package.json'), '{"main":"index.js"}');
    writeFileSync(join(directory, 'index.js'), code);
  }
}
