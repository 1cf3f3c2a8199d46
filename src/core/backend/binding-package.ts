/**
 * The npm package that holds the native binding, and where its pieces lie.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

/** Looked for in this order. */
export const BINDING_PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

/** The version of every TensorFlow.js package that onestep is built on. */
export const TFJS_VERSION = '4.22.0';

export const INSTALL_BINDING = `npm install --ignore-scripts ${BINDING_PACKAGES[0]}@${TFJS_VERSION}`;

export interface BindingPackage {
  name: string;
  version: string;
  directory: string;
  /** The Node-API version that the binding is built for. */
  napi: number;
  /** The compiled binding, `tfjs_binding.node`. */
  addon: string;
  /** Where the binding expects `include/` and `lib/`. */
  deps: string;
}

interface Manifest {
  name: string;
  version: string;
  binary?: { module_path?: string; napi_versions?: number[] };
}

/** Reads where a binding package in `directory` keeps its pieces. */
export function readBindingPackage(directory: string): BindingPackage {
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest;
  const newest = Number(process.versions['napi']);
  const napi = Math.max(3, ...(manifest.binary?.napi_versions ?? []).filter((version) => version <= newest));
  const modules = (manifest.binary?.module_path ?? './lib/napi-v{napi_build_version}').replace('{napi_build_version}', String(napi));
  return {
    name: manifest.name,
    version: manifest.version,
    directory,
    napi,
    addon: resolve(directory, modules, 'tfjs_binding.node'),
    deps: join(directory, 'deps'),
  };
}

/**
 * Finds the binding package as the user's project sees it, else as this package sees it; of several, one that is built.
 */
export function findBindingPackage(projectDirectory: string = process.cwd()): BindingPackage | undefined {
  for (const from of [join(projectDirectory, 'package.json'), import.meta.url]) {
    const manifests = BINDING_PACKAGES.map((name) => resolveFrom(from, `${name}/package.json`)).filter((path) => path !== undefined);
    const found = manifests.map((path) => readBindingPackage(dirname(path)));
    if (found.length > 0) return found.find(({ addon }) => existsSync(addon)) ?? found[0];
  }
  return undefined;
}

/** The real path of what `request` means in the module `from`; undefined where it is not installed. */
export function resolveFrom(from: string, request: string): string | undefined {
  try {
    return realpathSync(createRequire(from).resolve(request));
  } catch {
    return undefined;
  }
}
