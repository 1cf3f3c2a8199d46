import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { FakeProject } from './fake-project.js';

describe('the command line', () => {
  const project = new FakeProject();
  afterAll(() => project.remove());

  it('says what it can do', async () => {
    const { code, stdout } = await project.onestep('--help');
    expect(code).toBe(0);
    expect([...stdout.matchAll(/^ {2}(\w+) +\w.*$/gm)].map(([, name]) => name)).toEqual([
      'setup',
      'doctor',
      'fetch',
      'convert',
      'dataset',
      'preset',
      'evaluate',
      'reference',
      'parity',
    ]);
    expect((await project.onestep('doctor', '--help')).stdout).toContain('usage: onestep doctor [--json]');
  });

  it('prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect((await project.onestep('--version')).stdout).toBe(`${version}\n`);
  });

  it.each([
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['constructor'], "unknown command 'constructor'"],
    [['--frobnicate'], "unknown option '--frobnicate'"],
    [['setup', '--frobnicate'], "setup: Unknown option '--frobnicate'"],
    [['doctor', 'now'], "doctor: Unexpected argument 'now'"],
    [['convert', 'in.pkl'], 'convert: expected OUT'],
    [['convert', 'in.pkl', 'out', 'more'], "convert: Unexpected argument 'more'"],
    [['convert', 'in.pkl', 'out', '--dtype', 'F8'], "convert: unknown dtype 'F8'"],
  ])('answers %j with an error and exit code 2', async (args, message) => {
    const { code, stdout, stderr } = await project.onestep(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^onestep: .*\nhelp: .*onestep.*--help\n$/);
    expect(stderr).toContain(message);
  });

  it('answers an error of ours with exit code 1 and no stack trace', async () => {
    const { code, stdout, stderr } = await project.onestep('convert', 'absent.pkl', 'out.safetensors');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^onestep: E_FILE_ABSENT: .*absent\.pkl.*\nhelp: /);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});
