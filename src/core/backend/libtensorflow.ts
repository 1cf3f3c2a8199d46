/**
 * The libtensorflow that the binding is built against: out of a Python wheel, kept in the cache.
 *
 * The wheel is current, signed for by its index and reachable wherever pip is; the library that the binding's own
 * installer brings is of 2022.
 */
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { EngineError } from '../errors.js';
import { failure, run, succeeded } from './process.js';

export interface LibraryPackage {
  /** Name in the cache; another wheel, version or platform has another. */
  key: string;
  wheel: string;
  version: string;
  /** Tags of the platform, any of which will do. */
  platformTags: readonly string[];
  /** The wheel's libraries do not depend on it: it only names a wheel that exists. */
  pythonVersion: string;
  downloadMegabytes: number;
  unpackedMegabytes: number;
}

const WHEEL = { wheel: 'tensorflow-cpu', version: '2.21.0', pythonVersion: '3.11', downloadMegabytes: 274, unpackedMegabytes: 1120 };

/** By `process.platform`-`process.arch`. Only linux-x64 is tried by the tests. */
const PLATFORM_TAGS: Record<string, readonly string[]> = {
  'linux-x64': ['manylinux_2_27_x86_64'],
  'linux-arm64': ['manylinux_2_27_aarch64', 'manylinux_2_17_aarch64', 'manylinux2014_aarch64'],
};

/** The two libraries, and the names under which the binding asks the linker for them. */
const LIBRARIES = {
  'libtensorflow_cc.so.2': 'libtensorflow.so',
  'libtensorflow_framework.so.2': 'libtensorflow_framework.so',
} as const;

/** The wheel for this machine; undefined where there is none. */
export function libraryPackage(platform: string = process.platform, architecture: string = process.arch): LibraryPackage | undefined {
  const platformTags = PLATFORM_TAGS[`${platform}-${architecture}`];
  return platformTags && { ...WHEEL, platformTags, key: `${WHEEL.wheel}-${WHEEL.version}-${platform}-${architecture}` };
}

/** A library in the cache: `include/`, `lib/`, the wheel's notices, and `whole.json`, written last. */
export class LibraryStore {
  readonly directory: string;
  readonly #library: LibraryPackage;
  readonly #downloads: string;

  constructor(cache: string, library: LibraryPackage) {
    this.#library = library;
    this.directory = join(cache, 'libtensorflow', library.key);
    this.#downloads = join(cache, 'downloads', library.key);
  }

  get include(): string {
    return join(this.directory, 'include');
  }

  get lib(): string {
    return join(this.directory, 'lib');
  }

  /** True where everything is there in its full size; contents are looked at only by {@link verify}. */
  isWhole(): boolean {
    const sizes = this.#manifest();
    return sizes !== undefined && Object.entries(sizes).every(([name, { size }]) => sizeOf(join(this.lib, name)) === size);
  }

  /** True where the libraries still have the contents that were unpacked. Reads about 850 MB. */
  async verify(): Promise<boolean> {
    if (!this.isWhole()) return false;
    for (const [name, { sha256 }] of Object.entries(this.#manifest()!)) {
      if ((await digest(join(this.lib, name))) !== sha256) return false;
    }
    return true;
  }

  /** The wheel, where one was downloaded whole and not yet unpacked. */
  downloaded(): string | undefined {
    const wheel = existsSync(this.#downloads) && readdirSync(this.#downloads).find((name) => name.endsWith('.whl'));
    return wheel ? join(this.#downloads, wheel) : undefined;
  }

  /** Megabytes of disk that {@link fetch} will take at most. */
  megabytesNeeded(): number {
    return this.#library.unpackedMegabytes + (this.downloaded() === undefined ? this.#library.downloadMegabytes : 0);
  }

  /** Downloads the wheel and unpacks what is needed of it. Must be called under the lock. */
  async fetch(python: string, say: (line: string) => void, signal?: AbortSignal): Promise<void> {
    this.#clearPartial();
    const wheel = this.downloaded() ?? (await this.#download(python, say, signal));
    await this.#unpack(python, wheel, say, signal);
    rmSync(this.#downloads, { recursive: true, force: true });
  }

  async #download(python: string, say: (line: string) => void, signal?: AbortSignal): Promise<string> {
    const { wheel, version, platformTags, pythonVersion, downloadMegabytes } = this.#library;
    say(`downloading ${wheel} ${version} with pip (${downloadMegabytes} MB)`);
    const start = performance.now();
    const partial = `${this.#downloads}.partial`;
    mkdirSync(partial, { recursive: true });
    const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--no-cache-dir', '--disable-pip-version-check', '--no-input'];
    args.push('--retries', '0', '--timeout', '20', '--only-binary=:all:', '--python-version', pythonVersion);
    args.push(...platformTags.flatMap((tag) => ['--platform', tag]), '--dest', partial, `${wheel}==${version}`);
    const result = await run(python, args, { signal });
    signal?.throwIfAborted();
    const file = readdirSync(partial).find((name) => name.endsWith('.whl'));
    if (!succeeded(result) || file === undefined) {
      rmSync(partial, { recursive: true, force: true });
      throw new EngineError('E_ENGINE_SETUP', `pip cannot download ${wheel} ${version}: ${failure(result)}`, {
        help: `check the network, and that 'python3 -m pip download ${wheel}==${version}' reaches a package index`,
      });
    }
    rmSync(this.#downloads, { recursive: true, force: true });
    renameSync(partial, this.#downloads);
    const path = join(this.#downloads, file);
    say(`downloaded ${megabytes(path)} MB in ${seconds(start)} s`);
    return path;
  }

  async #unpack(python: string, wheel: string, say: (line: string) => void, signal?: AbortSignal): Promise<void> {
    say(`unpacking the libraries and headers of ${basename(wheel)} (${this.#library.unpackedMegabytes} MB)`);
    const start = performance.now();
    const partial = `${this.directory}.partial`;
    mkdirSync(join(partial, 'lib'), { recursive: true });
    const result = await run(python, ['-c', UNPACK, wheel, partial, ...Object.keys(LIBRARIES)], { signal });
    signal?.throwIfAborted();
    if (!succeeded(result)) {
      rmSync(partial, { recursive: true, force: true });
      rmSync(this.#downloads, { recursive: true, force: true });
      throw new EngineError('E_ENGINE_SETUP', `the wheel ${basename(wheel)} cannot be unpacked: ${failure(result)}`, {
        help: 'it has been removed: run set-up again to download it anew',
      });
    }
    const manifest: Manifest = {};
    for (const [name, link] of Object.entries(LIBRARIES)) {
      const path = join(partial, 'lib', name);
      manifest[name] = { size: statSync(path).size, sha256: await digest(path) };
      symlinkSync(name, join(partial, 'lib', link));
    }
    writeFileSync(join(partial, 'whole.json'), JSON.stringify(manifest, null, 2));
    this.#putInPlace(partial);
    say(`unpacked in ${seconds(start)} s`);
  }

  /** Processes that have the former files open keep them: nothing is overwritten in place. */
  #putInPlace(partial: string): void {
    const former = `${this.directory}.former`;
    rmSync(former, { recursive: true, force: true });
    if (existsSync(this.directory)) renameSync(this.directory, former);
    renameSync(partial, this.directory);
    rmSync(former, { recursive: true, force: true });
  }

  /** Removes what an interrupted set-up left half done. */
  #clearPartial(): void {
    for (const path of [`${this.#downloads}.partial`, `${this.directory}.partial`, `${this.directory}.former`]) {
      rmSync(path, { recursive: true, force: true });
    }
  }

  #manifest(): Manifest | undefined {
    try {
      return JSON.parse(readFileSync(join(this.directory, 'whole.json'), 'utf8')) as Manifest;
    } catch {
      return undefined;
    }
  }
}

type Manifest = Record<string, { size: number; sha256: string }>;

/** Arguments: wheel, target, names of the libraries. Streams each file; zipfile checks its CRC. */
const UNPACK = `
import os, shutil, sys, zipfile
wheel, target, libraries = sys.argv[1], sys.argv[2], sys.argv[3:]
root = 'tensorflow/'
left = set(libraries)
with zipfile.ZipFile(wheel) as archive:
    for item in archive.infolist():
        name = item.filename
        if name.endswith('/') or '..' in name.split('/'):
            continue
        if name.startswith(root + 'include/'):
            out = name[len(root):]
        elif name[len(root):] in libraries and name.startswith(root):
            out = 'lib/' + name[len(root):]
            left.discard(name[len(root):])
        elif name == root + 'THIRD_PARTY_NOTICES.txt' or ('.dist-info/' in name and os.path.basename(name) in ('LICENSE', 'NOTICE', 'METADATA')):
            out = os.path.basename(name)
        else:
            continue
        path = os.path.join(target, out)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(item) as source, open(path, 'wb') as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
if left:
    sys.exit('error: the wheel lacks ' + ', '.join(sorted(left)))
`;

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 22 }), hash);
  return hash.digest('hex');
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

const megabytes = (path: string) => Math.round((sizeOf(path) ?? 0) / 1e6);
const seconds = (start: number) => ((performance.now() - start) / 1000).toFixed(1);
