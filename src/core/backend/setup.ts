/**
 * Makes the native TensorFlow binding work.
 *
 * An existing binding that works is left alone. Else the library and the compiled addon come from the cache, and what
 * the cache lacks is made: the library out of a Python wheel, the addon from the binding package's own sources.
 * Everything is built under another name and renamed when whole, so an interrupted set-up is taken up where it stopped,
 * and node_modules only ever gets a link and a small copy: after `npm ci` that takes a second.
 *
 * The binding package's own installer (a prebuilt libtensorflow 2.9.1 from a host that many networks block) is used only
 * when asked for, or on platforms for which there is no wheel, and there only once.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EngineError, OnestepError } from '../errors.js';
import { buildFused } from '../native/build.js';
import { type BindingPackage, BINDING_PACKAGES, findBindingPackage, INSTALL_BINDING } from './binding-package.js';
import { cacheDirectory, freeMegabytes, whyNotWritable, withLock } from '../cache.js';
import { type LibraryPackage, libraryPackage, LibraryStore } from './libtensorflow.js';
import { markProved, type Probe, probeNative } from './probe.js';
import { failure, run, succeeded } from './process.js';
import { compileAddon, findCompiler, findNodeHeaders, findPython, glibcVersion } from './toolchain.js';

/** Options of `setup`. */
export interface SetupOptions {
  /** Use the binding package's own installer first. */
  stock?: boolean;
  /** Set up anew even where the present binding works. */
  force?: boolean;
  /** Where the binding package is looked for first; undefined: the working directory. */
  projectDirectory?: string;
  /** Takes a line for each thing that is done; undefined: standard output. */
  onMessage?: (line: string) => void;
  /** Stops the work; the next set-up goes on from there. */
  signal?: AbortSignal;
}

/** How a set-up ended. */
export interface SetupResult {
  works: boolean;
  /** `already`: nothing to do; `cache`: put back from the cache; `built`: something was downloaded or compiled; `stock`: by the package's installer; `none`. */
  how: 'already' | 'cache' | 'built' | 'stock' | 'none';
  /** Version of TensorFlow; undefined where it does not work. */
  version: string | undefined;
  /** Why it does not work, or with `force` could not be made anew, each with its fix; empty where all went well. */
  problems: readonly string[];
  seconds: number;
}

/** Longer than a slow network needs for 400 MB, shorter than a blocked one hangs. */
const STOCK_TIMEOUT = 600_000;

/**
 * Makes the native TensorFlow binding work, or says why it cannot.
 *
 * Several may run at once: one works, the others wait. Throws the signal's reason where it was stopped; everything else
 * that goes wrong is in the result.
 */
export async function setup(options: SetupOptions = {}): Promise<SetupResult> {
  const say = options.onMessage ?? ((line) => void process.stdout.write(`${line}\n`));
  const result = await attempt(options, say);
  if (result.works) await addFusedOperations(options, say);
  const { works, how, version, problems } = result;
  const took = `(${result.seconds.toFixed(1)} s)`;
  if (!works) say(`TensorFlow cannot be set up: ${problems.join('; ')}. The engine will be wasm, which is several times slower.`);
  else if (problems.length > 0)
    say(`TensorFlow ${version} cannot be set up anew: ${problems.join('; ')}. The present binding still works ${took}`);
  else say(`TensorFlow ${version} works${how === 'already' ? ': nothing to do' : ''} ${took}`);
  return result;
}

/** They only make it faster: without them everything works. */
async function addFusedOperations(options: SetupOptions, say: (line: string) => void): Promise<void> {
  const binding = findBindingPackage(options.projectDirectory);
  if (binding === undefined) return;
  const problem = await buildFused(binding, { onMessage: say, force: options.force ?? false, signal: options.signal });
  if (problem !== undefined) say(`fused operations cannot be built: ${problem}. TensorFlow's own will be used, which are slower.`);
}

async function attempt(options: SetupOptions, say: (line: string) => void): Promise<SetupResult> {
  const start = performance.now();
  const end = (how: SetupResult['how'], version?: string, problems: string[] = []): SetupResult => {
    return { works: how !== 'none', how, version, problems, seconds: (performance.now() - start) / 1000 };
  };

  const binding = findBindingPackage(options.projectDirectory);
  if (binding === undefined) return end('none', undefined, [`the package ${BINDING_PACKAGES[0]} is not installed (${INSTALL_BINDING})`]);
  const present = await tryPresent(binding, options);
  if (present.works && !options.force) return end('already', present.version);

  const cache = cacheDirectory();
  const notWritable = whyNotWritable(cache);
  if (notWritable !== undefined) {
    return end('none', undefined, [`the cache directory cannot be written: ${notWritable} (name another one in ONESTEP_CACHE)`]);
  }
  const onWait = ({ pid }: { pid: number }) => say(`another set-up is at work (process ${pid}): waiting for it`);
  try {
    return await withLock(join(cache, 'setup.lock'), { onWait, signal: options.signal }, async (waited) => {
      if (waited) {
        const now = await tryPresent(binding, options);
        if (now.works) return end('already', now.version);
      }
      if (present.problem !== undefined && existsSync(binding.addon)) say(`the present binding does not work: ${present.problem}`);
      return await make(binding, cache, { ...options, say }, end);
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    const still = present.works ? await tryPresent(binding, options) : present;
    return end(still.works ? 'already' : 'none', still.works ? still.version : undefined, [inOneLine(error)]);
  }
}

type Trial = Pick<Probe, 'works' | 'version' | 'problem'>;

interface Work extends SetupOptions {
  say: (line: string) => void;
}

type End = (how: SetupResult['how'], version?: string, problems?: string[]) => SetupResult;

async function make(binding: BindingPackage, cache: string, work: Work, end: End): Promise<SetupResult> {
  const library = libraryPackage();
  const problems: string[] = [];

  if (work.stock || library === undefined) {
    const stock = await runStockInstaller(binding, cache, work);
    if (stock.works) return end('stock', stock.version);
    problems.push(stock.problem!);
  }
  if (library === undefined) return end('none', undefined, problems);
  if (process.platform === 'linux' && glibcVersion() === undefined) {
    return end('none', undefined, [...problems, 'the C library is not glibc, and TensorFlow is published for no other']);
  }

  const store = new LibraryStore(cache, library);
  const addon = join(cache, 'binding', addonKey(binding, library), 'tfjs_binding.node');
  const built = await prepare(binding, store, addon, work);
  const first = await putIn(binding, store, addon, work);
  if (first.works) return end(built.library || built.addon ? 'built' : 'cache', first.version);
  const failed = (trial: Trial) => end('none', undefined, [...problems, `the binding that was built does not load: ${trial.problem}`]);
  // Nothing that could be made anew helps against a processor that is too old.
  if ((built.library && built.addon) || /SIGILL/.test(first.problem ?? '')) return failed(first);

  // Something kept is broken: find out which, so that the library is downloaded only where it must be.
  work.say(`what the cache holds does not work: ${first.problem}`);
  if (!built.library && !(await store.verify())) rmSync(store.directory, { recursive: true, force: true });
  rmSync(addon, { force: true });
  await prepare(binding, store, addon, work);
  const second = await putIn(binding, store, addon, work);
  return second.works ? end('built', second.version) : failed(second);
}

/** Makes what the cache lacks. Names everything that is missing at once. */
async function prepare(binding: BindingPackage, store: LibraryStore, addon: string, work: Work) {
  const lacks = { library: !store.isWhole(), addon: !existsSync(addon) };
  const missing: string[] = [];
  const need = <T>(path: T | undefined, found: string, help: string | undefined): T => {
    if (path === undefined) missing.push(`${found} (${help})`);
    return path as T;
  };

  let python = '';
  if (lacks.library) {
    if (existsSync(store.directory)) work.say('the library in the cache is damaged: it will be made anew');
    const tool = await findPython();
    python = need(tool.path, tool.found, tool.help);
    const [free, wanted] = [await freeMegabytes(store.directory), store.megabytesNeeded()];
    if (free < wanted)
      missing.push(`${free} MB free in ${cacheDirectory()}, ${wanted} MB needed (free some, or name another disk in ONESTEP_CACHE)`);
  }
  let [compiler, headers] = ['', ''];
  if (lacks.addon) {
    const [tool, nodeHeaders] = [await findCompiler(), findNodeHeaders()];
    compiler = need(tool.path, tool.found, tool.help);
    headers = need(nodeHeaders.path, nodeHeaders.found, nodeHeaders.help);
  }
  if (missing.length > 0) throw new EngineError('E_ENGINE_SETUP', missing.join('; '));

  if (lacks.library) await store.fetch(python, work.say, work.signal);
  if (lacks.addon) await compileBinding(binding, store, addon, compiler, headers, work);
  return lacks;
}

async function compileBinding(
  binding: BindingPackage,
  store: LibraryStore,
  addon: string,
  compiler: string,
  headers: string,
  work: Work,
): Promise<void> {
  work.say(`compiling the binding of ${binding.name} ${binding.version} with ${compiler}`);
  const start = performance.now();
  mkdirSync(dirname(addon), { recursive: true });
  const partial = `${addon}.partial`;
  rmSync(partial, { force: true });
  await compileAddon({
    compiler,
    sources: ['binding/tfjs_backend.cc', 'binding/tfjs_binding.cc'],
    includes: [headers, store.include],
    libraries: [join(store.lib, 'libtensorflow_cc.so.2'), join(store.lib, 'libtensorflow_framework.so.2')],
    // From lib/napi-v8/ of the package to its deps/lib/.
    runtimePath: '$ORIGIN/../../deps/lib',
    napi: binding.napi,
    output: partial,
    cwd: binding.directory,
    signal: work.signal,
  });
  renameSync(partial, addon);
  work.say(`compiled in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

/** Another binding, Node-API version or library makes another addon. */
const addonKey = (binding: BindingPackage, library: LibraryPackage) =>
  `${binding.name.replace(/^@.*\//, '')}-${binding.version}-napi${binding.napi}-${library.key}`;

/** Links the library and copies the addon into the package, each in one step, and tries them. */
async function putIn(binding: BindingPackage, store: LibraryStore, addon: string, work: Work): Promise<Trial> {
  const mark = randomBytes(4).toString('hex');
  const link = `${binding.deps}.${mark}`;
  symlinkSync(store.directory, link);
  if (lstatSync(binding.deps, { throwIfNoEntry: false })?.isDirectory()) {
    const former = `${binding.deps}.former-${mark}`;
    renameSync(binding.deps, former);
    renameSync(link, binding.deps);
    rmSync(former, { recursive: true, force: true });
  } else {
    renameSync(link, binding.deps);
  }
  mkdirSync(dirname(binding.addon), { recursive: true });
  copyFileSync(addon, `${binding.addon}.${mark}`);
  renameSync(`${binding.addon}.${mark}`, binding.addon);
  return tryPresent(binding, work);
}

async function tryPresent(binding: BindingPackage, options: SetupOptions): Promise<Trial> {
  if (!existsSync(binding.addon)) return { works: false, version: undefined, problem: 'it is not built' };
  const probe = await probeNative(binding, options.signal);
  options.signal?.throwIfAborted();
  if (probe.works) markProved(binding);
  return probe;
}

async function runStockInstaller(binding: BindingPackage, cache: string, work: Work): Promise<Trial> {
  const failed = join(cache, `stock-failed-${binding.name.replace('/', '-')}-${binding.version}`);
  const again = 'onestep setup --stock tries it again';
  if (!work.stock && existsSync(failed))
    return { works: false, version: undefined, problem: `the installer of ${binding.name} failed before (${again})` };

  work.say(`running the installer of ${binding.name} ${binding.version}, for ${STOCK_TIMEOUT / 60_000} minutes at most`);
  // It would otherwise write through the link into the cache.
  if (lstatSync(binding.deps, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(binding.deps);
  const root = join(binding.directory, '..', '..', '..');
  // Node starts no .cmd file without a shell.
  const [command, prefix] = process.platform === 'win32' ? ['cmd.exe', ['/d', '/c', 'npm']] : ['npm', []];
  const args = [...prefix, 'rebuild', binding.name, '--ignore-scripts=false'];
  const result = await run(command, args, { cwd: root, timeout: STOCK_TIMEOUT, signal: work.signal });
  work.signal?.throwIfAborted();
  const probe = succeeded(result) ? await tryPresent(binding, work) : undefined;
  if (probe?.works) return probe;
  writeFileSync(failed, '');
  const why = probe?.problem ?? failure(result);
  work.say(`the installer of ${binding.name} failed: ${why}`);
  return { works: false, version: undefined, problem: `the installer of ${binding.name} failed: ${why} (${again})` };
}

function inOneLine(error: unknown): string {
  if (!(error instanceof OnestepError)) return String((error as Error).message);
  const [message] = error.message.split('\nhelp: ');
  return error.help === undefined ? message! : `${message} (${error.help})`;
}
