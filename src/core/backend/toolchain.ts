/**
 * What building the binding takes: Python with pip, a C++ compiler, the headers of Node-API.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { EngineError } from '../errors.js';
import { resolveFrom } from './binding-package.js';
import { failure, run, succeeded } from './process.js';

/** A tool that was looked for: `path` where it is usable, else what is wrong and how to mend it. */
export interface Tool {
  path: string | undefined;
  /** For reports: its version, or what is wrong with it. */
  found: string;
  help: string | undefined;
}

export async function findPython(): Promise<Tool> {
  const help = 'install Python 3 with pip (Debian, Ubuntu: apt-get install python3-pip)';
  let found = 'no python3';
  for (const path of ['python3', 'python']) {
    const result = await run(path, ['-m', 'pip', '--version'], { timeout: 20_000 });
    if (succeeded(result) && /python 3/.test(result.stdout))
      return { path, found: result.stdout.trim().replace(/ from .* \(/, ' ('), help: undefined };
    if (result.startError === undefined && found === 'no python3') found = `${path} has no pip (${failure(result)})`;
  }
  return { path: undefined, found, help };
}

export async function findCompiler(environment: NodeJS.ProcessEnv = process.env): Promise<Tool> {
  for (const path of [environment['CXX'], 'c++', 'g++', 'clang++']) {
    if (!path) continue;
    const result = await run(path, ['--version'], { timeout: 20_000 });
    if (succeeded(result)) return { path, found: result.stdout.split('\n')[0]!.trim(), help: undefined };
  }
  return {
    path: undefined,
    found: 'no C++ compiler',
    help: 'install one (Debian, Ubuntu: apt-get install g++), or name it in the environment variable CXX',
  };
}

/** The directory that holds `node_api.h`. Node-API is stable: any version that has what the binding uses will do. */
export function findNodeHeaders(): Tool {
  const { variables } = process.config as unknown as { variables: Record<string, string | undefined> };
  const node = dirname(dirname(process.execPath));
  const cached = [`${homedir()}/.cache/node-gyp`, `${homedir()}/Library/Caches/node-gyp`].map((root) => join(root, process.versions.node));
  const roots = [variables['nodedir'], node, variables['node_prefix'], ...cached, '/usr', '/usr/local'].filter(
    (root) => root !== undefined,
  );
  const packaged = resolveFrom(import.meta.url, 'node-api-headers/package.json');
  const directories = [
    ...(packaged === undefined ? [] : [join(dirname(packaged), 'include')]),
    ...roots.map((root) => join(root, 'include', 'node')),
  ];
  const path = directories.find((directory) => existsSync(join(directory, 'node_api.h')));
  if (path !== undefined) return { path, found: path, help: undefined };
  return { path, found: 'no node_api.h', help: 'npm install node-api-headers' };
}

/** Such as `2.36`; undefined where the C library is another one (musl, for which there are no TensorFlow wheels). */
export function glibcVersion(): string | undefined {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime;
}

export interface AddonBuild {
  /** For the message where it fails; undefined: the binding. */
  what?: string;
  compiler: string;
  /** Flags besides those that every addon takes. */
  flags?: readonly string[];
  sources: readonly string[];
  includes: readonly string[];
  /** Shared libraries to link with, by path. */
  libraries: readonly string[];
  /** Where the addon looks for them when it is loaded; `$ORIGIN` is its own directory. */
  runtimePath: string;
  napi: number;
  output: string;
  /** Where objects are kept: each source is compiled by itself, two at a time, unless its object, named by `objectName`, is there. */
  objects?: { directory: string; objectName: (source: string) => string } | undefined;
  cwd?: string;
  signal?: AbortSignal | undefined;
}

/** Compiles a Node-API addon that uses TensorFlow's C API. Throws {@link EngineError} with the compiler's first error. */
export async function compileAddon(build: AddonBuild): Promise<void> {
  const compiling = ['-std=c++17', '-O2', '-fPIC', '-w', '-pthread', `-DNAPI_VERSION=${build.napi}`, '-DBUILDING_NODE_EXTENSION'];
  compiling.push(...(build.flags ?? []), ...build.includes.map((directory) => `-I${directory}`));
  const linking = ['-shared', ...build.libraries, `-Wl,-rpath,${build.runtimePath}`];
  if (build.objects === undefined) return compile(build, [...compiling, ...build.sources, '-o', build.output, ...linking]);

  const { directory, objectName } = build.objects;
  mkdirSync(directory, { recursive: true });
  const waiting = build.sources.map((source) => ({ source, object: join(directory, objectName(source)) }));
  const objects = waiting.map(({ object }) => object);
  const worker = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      if (existsSync(next.object)) continue;
      const partial = `${next.object}.${process.pid}.partial`;
      try {
        await compile(build, [...compiling, '-c', next.source, '-o', partial]);
        renameSync(partial, next.object);
      } catch (error) {
        waiting.length = 0;
        rmSync(partial, { force: true });
        throw error;
      }
    }
  };
  await Promise.all([worker(), worker()]);
  await compile(build, [...compiling, ...objects, '-o', build.output, ...linking]);
}

async function compile(build: AddonBuild, args: string[]): Promise<void> {
  const result = await run(build.compiler, args, { cwd: build.cwd, signal: build.signal });
  build.signal?.throwIfAborted();
  if (succeeded(result)) return;
  const first = result.stderr.split('\n').find((line) => /error/i.test(line));
  throw new EngineError(
    'E_ENGINE_SETUP',
    `${build.compiler} cannot compile ${build.what ?? 'the binding'}: ${(first ?? failure(result)).trim()}`,
    {
      help: 'a compiler with C++17 is needed: GCC 8 or Clang 7, or later',
    },
  );
}
