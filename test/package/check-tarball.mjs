/**
 * Checks the package as users get it: packs it, lints the tarball, installs it into an empty project, imports every
 * subpath, runs the command line and compiles a consumer. Needs `npm run build` before, and npm's registry or its cache.
 *
 * Prints a line for each check; the exit code is 1 where one failed.
 */
import { Buffer } from 'node:buffer';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
const tool = (name) => join(repository, 'node_modules', '.bin', name);
const temporary = mkdtempSync(join(tmpdir(), 'onestep-tarball-'));
const project = join(temporary, 'project');

/** A named export of each subpath, to be there and of this type. */
const EXPORTS = {
  '.': { distill: 'function', Adam: 'function' },
  './core': { openBackend: 'function', Adam: 'function' },
  './models': { SongUNet: 'function', freezeConvolutions: 'function' },
  './losses': { distributional: 'function', nonSaturating: 'function' },
  './data': { shapes: 'function', edmZip: 'function' },
  './metrics': { frechetDistance: 'function' },
  './sinks': { consoleProgress: 'function' },
};

const CONSUMER = `
import { distill, distributional, freezeConvolutions, shapes, type DistillOptions } from 'onestep';
import { Adam, type Sink } from 'onestep/core';
import { safetensorsTeacher, type Backbone } from 'onestep/models';
import { consoleProgress } from 'onestep/sinks';

const sinks: Sink[] = [consoleProgress()];
const options: Partial<DistillOptions> = { freeze: freezeConvolutions(), data: shapes({ resolution: 16, size: 100 }), sinks };
const optimizer = new Adam({ learningRate: 1e-4 });
export const backbones: Backbone[] = [];
export { distill, distributional, options, optimizer, safetensorsTeacher };
// @ts-expect-error: unknown options are errors.
new Adam({ learningRat: 1e-4 });
`;

/** A pixel of RGB 10, 20, 30. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGPgEpEDAABoAD1UCKP3AAAAAElFTkSuQmCC';

const run = async (command, args, { codes = [0], ...options } = {}) => {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd: project, maxBuffer: 1 << 26, ...options });
    return stdout;
  } catch (error) {
    if (codes.includes(error.code)) return error.stdout;
    throw new Error([error.message.split('\n')[0], error.stdout, error.stderr].filter(Boolean).join('\n'), { cause: error });
  }
};

let failed = 0;
async function check(name, action) {
  const start = performance.now();
  try {
    await action();
    console.log(`ok      ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${String(error.message).trim().replace(/^/gm, '        ')}`);
    return false;
  }
}

const expect = (condition, message) => {
  if (!condition) throw new Error(message);
};

let tarball;
try {
  const packed = await check('npm pack', async () => {
    const [{ filename, files }] = JSON.parse(
      await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', temporary], { cwd: repository }),
    );
    tarball = join(temporary, filename);
    const paths = files.map(({ path }) => path);
    const wanted = [
      'LICENSE',
      'NOTICE',
      'README.md',
      'dist/cli.js',
      'dist/index.d.ts',
      'dist/data/decode-worker.js',
      'src/core/native/fused-ops.h',
      'assets/',
    ];
    const missing = wanted.filter((start) => !paths.some((path) => path.startsWith(start)));
    expect(missing.length === 0, `the tarball lacks ${missing.join(', ')}: npm run build, then see "files" in package.json`);
    const strays = paths.filter((path) => /\.test\.|^test\/|^runs\/|^src\/.*\.ts$/.test(path));
    expect(strays.length === 0, `the tarball holds ${strays.join(', ')}`);
    const megabytes = files.reduce((sum, { size }) => sum + size, 0) / 1e6;
    expect(megabytes < 20, `the tarball unpacks to ${megabytes.toFixed(0)} MB`);
  });

  if (packed) {
    await check('publint', () => run(tool('publint'), ['run', tarball, '--strict'], { cwd: repository }));
    await check('attw', () => run(tool('attw'), [tarball, '--profile', 'esm-only', '--no-emoji'], { cwd: repository }));

    const installed = await check('install into an empty project', async () => {
      mkdirSync(project);
      writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
      const args = ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', tarball];
      await run('npm', args).catch((error) => {
        const network = /ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENOTCACHED|E403|network/.test(error.message);
        throw new Error(network ? `no network: npm's registry cannot be reached\n${error.message}` : error.message, { cause: error });
      });
    });

    if (installed) {
      await check('every subpath is tried', () => {
        const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
        expect(String(subpaths.sort()) === String(Object.keys(EXPORTS).sort()), `package.json exports ${subpaths}`);
      });
      for (const [subpath, names] of Object.entries(EXPORTS)) {
        const specifier = `onestep${subpath.slice(1)}`;
        await check(`import '${specifier}'`, async () => {
          const code = `import * as room from '${specifier}';
            for (const [name, type] of Object.entries(${JSON.stringify(names)}))
              if (typeof room[name] !== type) throw new Error(name + ' is ' + typeof room[name] + ', not ' + type);`;
          await run(process.execPath, ['--input-type=module', '-e', code]);
        });
      }
      await check('the rooms share one copy of everything', async () => {
        const code = `import * as all from 'onestep'; import * as core from 'onestep/core'; import * as models from 'onestep/models';
          if (all.Adam !== core.Adam || all.SongUNet !== models.SongUNet) throw new Error('two copies');
          if (all.Adam.name !== 'Adam') throw new Error('the class Adam is called ' + all.Adam.name);`;
        await run(process.execPath, ['--input-type=module', '-e', code]);
      });
      await check('worker threads decode images', async () => {
        // Two folders of one image each; from the room and from the door, which lie at different depths.
        for (const folder of ['a', 'b']) {
          mkdirSync(join(project, 'images', folder), { recursive: true });
          writeFileSync(join(project, 'images', folder, '1.png'), Buffer.from(PNG, 'base64'));
        }
        for (const specifier of ['onestep', 'onestep/data']) {
          const code = `import { imageFolder } from '${specifier}';
            const source = imageFolder('images', { workers: 2 });
            const { size, resolution } = await source.open();
            const { images, labels } = await source.read(Uint32Array.of(1, 0));
            const found = JSON.stringify([size, resolution, ...images, ...labels]);
            if (found !== '[2,1,10,20,30,10,20,30,1,0]') throw new Error('read ' + found);`;
          await run(process.execPath, ['--input-type=module', '-e', code]);
        }
      });
      await check('the wasm engine computes', async () => {
        const code = `import { openBackend } from 'onestep/core';
          const { name } = await openBackend({ engine: 'wasm' });
          if (name !== 'wasm') throw new Error('opened ' + name);`;
        await run(process.execPath, ['--input-type=module', '-e', code]);
      });
      await check('onestep --help', async () => {
        expect((await run('npx', ['--no-install', 'onestep', '--help'])).includes('usage: onestep'), 'no usage');
      });
      await check('onestep --version', async () => {
        expect((await run('npx', ['--no-install', 'onestep', '--version'])).trim() === manifest.version, 'another version');
      });
      await check('onestep doctor --json', async () => {
        // Without the native binding the engine is wasm, and the exit code says that there is a faster one.
        const report = JSON.parse(await run('npx', ['--no-install', 'onestep', 'doctor', '--json'], { codes: [1] }));
        expect(report.engine === 'wasm' && !report.accelerated, `the report says ${report.engine}, accelerated: ${report.accelerated}`);
      });
      for (const moduleResolution of ['Bundler', 'NodeNext']) {
        await check(`types of a consumer (${moduleResolution})`, async () => {
          writeFileSync(join(project, 'consumer.ts'), CONSUMER);
          const compilerOptions = {
            target: 'ES2022',
            module: moduleResolution === 'Bundler' ? 'ESNext' : 'NodeNext',
            moduleResolution,
            strict: true,
            noEmit: true,
            skipLibCheck: true,
            types: [],
          };
          writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
          await run(tool('tsc'), ['-p', join(project, 'tsconfig.json')]);
        });
      }
    }
  }
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
console.log(failed === 0 ? 'the tarball is good' : `${failed} of the tarball's checks failed`);
process.exitCode = failed === 0 ? 0 : 1;
