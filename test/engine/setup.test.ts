import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { libraryPackage } from '../../src/core/backend/libtensorflow.js';
import { FakeProject, python } from './fake-project.js';

const reason = libraryPackage() === undefined ? 'no wheel for this platform' : python === undefined ? 'no python' : '';
if (reason !== '') console.log(`set-up is not tried: ${reason}`);

describe.skipIf(reason !== '')('onestep setup', { concurrent: false }, () => {
  let project: FakeProject;
  beforeEach(() => void (project = new FakeProject()));
  afterEach(() => project.remove());

  const library = () => join(project.cache, 'libtensorflow', libraryPackage()!.key);
  const keptAddon = () => join(project.cache, 'binding', readdirSync(join(project.cache, 'binding'))[0]!, 'tfjs_binding.node');

  it('builds once, and after npm ci puts back what the cache holds', async () => {
    const first = await project.onestep('setup');
    expect(first.stdout).toMatch(
      /downloading tensorflow-cpu .*\n.*downloaded.*\nunpacking.*\nunpacked.*\ncompiling.*\ncompiled.*\nTensorFlow 2\.99\.0 works/,
    );
    expect(first.code).toBe(0);
    expect(existsSync(join(library(), 'include/tensorflow/c/c_api.h'))).toBe(true);
    expect(existsSync(join(library(), 'python'))).toBe(false);
    expect(existsSync(join(project.cache, 'escaped.h'))).toBe(false);
    expect(readdirSync(join(project.cache, 'downloads'))).toEqual([]);

    const again = await project.onestep('setup');
    expect(again.stdout).toMatch(/^TensorFlow 2\.99\.0 works: nothing to do \(.*\)\n$/);

    project.installBinding();
    const afterInstall = await project.onestep('setup');
    expect(afterInstall.stdout).toMatch(/^TensorFlow 2\.99\.0 works \(.*\)\n$/);
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
    expect(realpathSync(join(project.binding, 'deps'))).toBe(realpathSync(library()));
  });

  it('names everything that is missing in one line and ends well, unless the engine is required', async () => {
    project.removeTool('python3');
    project.removeTool('c++');
    const optional = await project.onestep('setup');
    expect(optional.stdout).toMatch(
      /^TensorFlow cannot be set up: no python3 \(install .*\); no C\+\+ compiler \(install .*\)\. The engine will be wasm.*\n$/,
    );
    expect(optional.code).toBe(0);
    const required = await project.onestep('setup', '--require');
    expect(required.stdout).toBe(optional.stdout);
    expect(required.code).toBe(1);
    expect(existsSync(join(project.cache, 'setup.lock'))).toBe(false);
  });

  it('says so where python has no pip', async () => {
    project.tool('python3', 'echo "No module named pip" >&2; exit 1');
    expect((await project.onestep('setup')).stdout).toContain('python3 has no pip (No module named pip)');
  });

  it('says what pip said where the index cannot be reached, and downloads when it can', async () => {
    project.pip('echo "ERROR: No matching distribution found for tensorflow-cpu" >&2; exit 1');
    const offline = await project.onestep('setup');
    expect(offline.stdout).toContain('pip cannot download tensorflow-cpu 2.21.0: ERROR: No matching distribution found');
    expect(offline.code).toBe(0);
    project.pip(`/bin/cp "${project.root}"/*.whl "$out"`);
    expect((await project.onestep('setup', '--require')).code).toBe(0);
  });

  it('says what the compiler said, and keeps the library', async () => {
    project.tool(
      'c++',
      '[ "$1" = --version ] && echo c++ 99 && exit',
      'echo "tfjs_backend.cc:1: fatal error: no such thing" >&2',
      'exit 1',
    );
    expect((await project.onestep('setup')).stdout).toContain('cannot compile the binding: tfjs_backend.cc:1: fatal error: no such thing');
    expect(existsSync(join(library(), 'whole.json'))).toBe(true);
  });

  it('removes a wheel that is no wheel', async () => {
    project.pip('echo rubbish > "$out"/tensorflow.whl');
    expect((await project.onestep('setup')).stdout).toContain('cannot be unpacked');
    project.pip(`/bin/cp "${project.root}"/*.whl "$out"`);
    expect((await project.onestep('setup', '--require')).code).toBe(0);
  });

  it('finds a truncated library by loading it, and makes it anew', async () => {
    await project.onestep('setup');
    truncateSync(join(library(), 'lib', 'libtensorflow_cc.so.2'), 5);
    const mended = await project.onestep('setup');
    expect(mended.stdout).toContain('the present binding does not work: it died of SIGBUS');
    expect(mended.stdout).toContain('the library in the cache is damaged');
    expect(mended.stdout).toContain('TensorFlow 2.99.0 works');
    expect(project.work).toEqual({ downloads: 2, compilations: 1 });
  });

  it('finds a library of the right size with the wrong contents', async () => {
    await project.onestep('setup');
    const path = join(library(), 'lib', 'libtensorflow_cc.so.2');
    writeFileSync(path, readFileSync(path, 'utf8').replace('whole', 'wrong'));
    expect((await project.onestep('setup', '--require')).code).toBe(0);
    expect(project.work.downloads).toBe(2);
  });

  it('compiles again where the kept addon is wrong, without a new download', async () => {
    await project.onestep('setup');
    writeFileSync(keptAddon(), 'rubbish');
    project.installBinding();
    expect((await project.onestep('setup', '--require')).code).toBe(0);
    expect(project.work).toEqual({ downloads: 1, compilations: 2 });
  });

  it('mends dangling links and a directory in the place of the link', async () => {
    await project.onestep('setup');
    rmSync(join(project.binding, 'deps'));
    symlinkSync(join(project.root, 'gone'), join(project.binding, 'deps'));
    expect((await project.onestep('setup', '--require')).code).toBe(0);
    rmSync(join(project.binding, 'deps'));
    mkdirSync(join(project.binding, 'deps', 'lib'), { recursive: true });
    expect((await project.onestep('setup', '--require')).code).toBe(0);
    expect(lstatSync(join(project.binding, 'deps')).isSymbolicLink()).toBe(true);
    expect(readdirSync(project.binding).sort()).toEqual(['deps', 'index.js', 'lib', 'package.json']);
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('goes on where an interruption stopped it', async () => {
    const compiler = readFileSync(join(project.root, 'bin', 'c++'), 'utf8');
    project.tool('c++', '[ "$1" = --version ] && echo c++ 99 && exit', 'exec /bin/sleep 60');
    const interrupted = project.start('setup');
    await interrupted.says('compiling');
    interrupted.child.kill('SIGINT');
    const { code, stderr, seconds } = await interrupted.ended;
    expect([code, stderr]).toEqual([130, 'interrupted: the next set-up goes on from here\n']);
    expect(seconds).toBeLessThan(30);
    expect(existsSync(join(project.cache, 'setup.lock'))).toBe(false);

    project.tool('c++', compiler);
    expect((await project.onestep('setup', '--require')).code).toBe(0);
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('does not download again what was not yet unpacked', async () => {
    const download = `/bin/cp "${project.root}"/*.whl "$out"`;
    project.pip(download, 'exec /bin/sleep 60');
    const interrupted = project.start('setup');
    await interrupted.says('unpacking');
    interrupted.child.kill('SIGTERM');
    expect((await interrupted.ended).code).toBe(143);
    project.pip(download);
    expect((await project.onestep('setup', '--require')).code).toBe(0);
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('takes over from one that was killed in the middle of a download', async () => {
    project.pip('echo half > "$out"/tensorflow.whl; exec /bin/sleep 60');
    const killed = project.start('setup');
    await killed.says('downloading');
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(existsSync(join(project.cache, 'setup.lock'))).toBe(true);
    project.pip(`/bin/cp "${project.root}"/*.whl "$out"`);
    const next = await project.onestep('setup', '--require');
    expect([next.code, next.stdout.includes('another set-up')]).toEqual([0, false]);
    expect(readdirSync(join(project.cache, 'downloads'))).toEqual([]);
  });

  it('takes a lock over whose holder on another machine has been silent for long', async () => {
    mkdirSync(project.cache);
    const lock = join(project.cache, 'setup.lock');
    writeFileSync(lock, JSON.stringify({ pid: 1, host: `not-${hostname()}`, token: 'x' }));
    utimesSync(lock, 0, 0);
    expect((await project.onestep('setup', '--require')).code).toBe(0);
  });

  it('lets one of two at a time work, and the other wait for it', async () => {
    project.pip(`/bin/sleep 1; /bin/cp "${project.root}"/*.whl "$out"`);
    const both = await Promise.all([project.onestep('setup', '--require'), project.onestep('setup', '--require')]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.filter(({ stdout }) => /another set-up is at work \(process \d+\)/.test(stdout))).toHaveLength(1);
    expect(both.filter(({ stdout }) => stdout.includes('nothing to do'))).toHaveLength(1);
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('keeps a binding that works where a new one cannot be made', async () => {
    await project.onestep('setup');
    rmSync(join(project.cache, 'binding'), { recursive: true });
    project.removeTool('c++');
    const { code, stdout } = await project.onestep('setup', '--force', '--require');
    expect(stdout).toMatch(/^TensorFlow 2\.99\.0 cannot be set up anew: no C\+\+ compiler .*\. The present binding still works/);
    expect(code).toBe(0);
  });

  it('does not build again and again for a processor that is too old', async () => {
    writeFileSync(join(project.binding, 'index.js'), `process.kill(process.pid, 'SIGILL')`);
    expect((await project.onestep('setup')).stdout).toContain('this processor lacks instructions');
    expect((await project.onestep('setup')).stdout).toContain('this processor lacks instructions');
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('tries the installer of the package when it is asked to, and builds where that fails', async () => {
    project.tool(
      'npm',
      `echo "$@" > "${project.root}/npm.log"`,
      'echo "npm error Error: getaddrinfo ENOTFOUND" >&2; echo "npm error A complete log of this run" >&2',
      'exit 1',
    );
    const { code, stdout } = await project.onestep('setup', '--stock', '--require');
    expect(code).toBe(0);
    expect(readFileSync(join(project.root, 'npm.log'), 'utf8')).toBe('rebuild @tensorflow/tfjs-node-gpu --ignore-scripts=false\n');
    expect(stdout).toContain('the installer of @tensorflow/tfjs-node-gpu failed: Error: getaddrinfo ENOTFOUND\n');
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('is content with what the installer of the package brings', async () => {
    await project.onestep('setup');
    project.tool(
      'npm',
      `/bin/cp -r "${library()}/lib" lib.new`,
      `/bin/mkdir -p "${project.binding}/deps"`,
      `/bin/mv lib.new "${project.binding}/deps/lib"`,
    );
    const { code } = await project.onestepWith({ ONESTEP_STOCK_BINDING: '1' }, 'setup', '--force', '--require');
    expect(code).toBe(0);
    expect(lstatSync(join(project.binding, 'deps')).isSymbolicLink()).toBe(false);
    expect(existsSync(join(library(), 'whole.json'))).toBe(true);
    expect(project.work).toEqual({ downloads: 1, compilations: 1 });
  });

  it('says so where the cache cannot be written', async () => {
    writeFileSync(project.cache, 'a file in the place of the directory');
    expect((await project.onestep('setup')).stdout).toMatch(
      /the cache directory cannot be written: .*\(name another one in ONESTEP_CACHE\)/,
    );
  });

  it('leaves TensorFlow alone where another engine is named', async () => {
    const { code, stdout } = await project.onestepWith({ ONESTEP_ENGINE: 'wasm' }, 'setup');
    expect([code, stdout]).toEqual([0, 'ONESTEP_ENGINE is wasm: TensorFlow is not set up\n']);
    expect(project.work).toEqual({ downloads: 0, compilations: 0 });
  });
});
