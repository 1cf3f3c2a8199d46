/**
 * A project whose TensorFlow, pip and compiler are small stand-ins, so that set-up can be watched through every mishap in seconds.
 *
 * The stand-in binding works exactly when the addon and both libraries have the right contents, and dies of SIGBUS where a
 * library is truncated, as the real one does.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIBRARY = 'library that is whole';
const ADDON = 'addon that is whole';

/** Behaves as `@tensorflow/tfjs-node-gpu` does for a probe. */
const BINDING = `
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const read = (...path) => readFileSync(join(__dirname, ...path), 'utf8');
if (read('lib', 'napi-v8', 'tfjs_binding.node') !== ${JSON.stringify(ADDON)}) throw new Error('invalid ELF header');
for (const name of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']) {
  const text = read('deps', 'lib', name);
  if (text.length < ${LIBRARY.length}) process.kill(process.pid, 'SIGBUS');
  if (text !== ${JSON.stringify(LIBRARY)}) throw new Error('undefined symbol: TF_Version');
}
module.exports = {
  tensor2d: (rows) => rows,
  matMul: (a, b) => ({ dataSync: () => a.flatMap((row) => b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0))) }),
  backend: () => ({ binding: { TF_Version: '2.99.0' }, isUsingGpuDevice: false }),
};
`;

const WHEEL = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    for name in ('libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'):
        wheel.writestr('tensorflow/' + name, '${LIBRARY}')
    wheel.writestr('tensorflow/include/tensorflow/c/c_api.h', '')
    wheel.writestr('tensorflow/python/keras.py', 'not needed')
    wheel.writestr('tensorflow/include/../../../escaped.h', 'must not be unpacked')
`;

export const python = ['python3', 'python'].map(realPath).find((path) => path !== undefined);

function realPath(program: string): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter);
  const path = directories.map((directory) => join(directory, program)).find((candidate) => existsSync(candidate));
  if (path === undefined) return undefined;
  try {
    // A version manager's stand-in looks for itself on the PATH, which the tests replace.
    return execFileSync(path, ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');

/** Starts a TypeScript file in a process of its own. */
export function startScript(file: string, args: readonly string[], options: { cwd: string; env?: NodeJS.ProcessEnv }) {
  const { NODE_OPTIONS: _, VITEST: __, ONESTEP_ENGINE: ___, ...inherited } = process.env;
  const child = spawn(process.execPath, ['--import', TSX, file, ...args], {
    cwd: options.cwd,
    env: { ...inherited, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const start = performance.now();
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (code) => resolve({ code, ...said, seconds: (performance.now() - start) / 1000 })),
  );
  /** Resolves when the text has been printed. */
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => said.stdout.includes(text) && resolve();
      child.stdout.on('data', look);
      child.on('close', () => reject(new Error(`it ended without saying '${text}':\n${said.stdout}${said.stderr}`)));
      look();
    });
  return { child, ended, says };
}

export class FakeProject {
  readonly root = mkdtempSync(join(tmpdir(), 'onestep-engine-'));
  readonly cache = join(this.root, 'cache');
  readonly binding = join(this.root, 'node_modules', '@tensorflow', 'tfjs-node-gpu');
  readonly addon = join(this.binding, 'lib', 'napi-v8', 'tfjs_binding.node');
  readonly #bin = join(this.root, 'bin');
  readonly #log = join(this.root, 'log');

  constructor() {
    mkdirSync(this.#bin);
    this.installBinding();
    if (python !== undefined) execFileSync(python, ['-c', WHEEL, join(this.root, 'tensorflow_cpu-0-py3-none-any.whl')]);
    this.tool(
      'c++',
      'for word; do [ "$previous" = -o ] && out="$word"; previous="$word"; done',
      `[ "$1" = --version ] || { echo compile >> "${this.#log}"; printf '${ADDON}' > "$out"; }`,
    );
    this.pip(`/bin/cp "${this.root}"/*.whl "$out"`);
  }

  /** As `npm ci` leaves it: the package without what set-up adds. */
  installBinding(): void {
    rmSync(this.binding, { recursive: true, force: true });
    mkdirSync(this.binding, { recursive: true });
    const binary = { module_path: './lib/napi-v{napi_build_version}', napi_versions: [3, 8] };
    writeFileSync(join(this.root, 'package.json'), '{}');
    writeFileSync(join(this.binding, 'package.json'), JSON.stringify({ name: '@tensorflow/tfjs-node-gpu', version: '4.22.0', binary }));
    writeFileSync(join(this.binding, 'index.js'), BINDING);
  }

  /** A program on the PATH of this project; there are no others but the system's shell. */
  tool(name: string, ...script: string[]): void {
    const path = join(this.#bin, name);
    writeFileSync(path, `#!/bin/sh\n${script.join('\n')}\n`);
    chmodSync(path, 0o755);
  }

  /** Makes `python3 -m pip download` do this, and Python's other work that; `$out` is the target directory of the download. */
  pip(download: string, other = `exec "${python}" "$@"`): void {
    this.tool(
      'python3',
      'for word; do [ "$previous" = --dest ] && out="$word"; previous="$word"; done',
      'if [ "$1 $2 $3" = "-m pip --version" ]; then echo "pip 99 (python 3.99)"; exit; fi',
      `if [ "$1 $2" = "-m pip" ]; then echo download >> "${this.#log}"; ${download}; exit; fi`,
      other,
    );
  }

  removeTool(name: string): void {
    rmSync(join(this.#bin, name));
  }

  get env(): NodeJS.ProcessEnv {
    return { PATH: this.#bin, ONESTEP_CACHE: this.cache, CXX: '' };
  }

  start(...args: string[]) {
    return startScript(CLI, args, { cwd: this.root, env: this.env });
  }

  onestep(...args: string[]): Promise<Ended> {
    return this.start(...args).ended;
  }

  /** As {@link onestep}, with more environment. */
  onestepWith(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Ended> {
    return startScript(CLI, args, { cwd: this.root, env: { ...this.env, ...env } }).ended;
  }

  /** How often pip downloaded and the compiler compiled. */
  get work(): { downloads: number; compilations: number } {
    const lines = existsSync(this.#log) ? readFileSync(this.#log, 'utf8').split('\n') : [];
    const count = (word: string) => lines.filter((line) => line === word).length;
    return { downloads: count('download'), compilations: count('compile') };
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
