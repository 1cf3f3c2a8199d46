/** `onestep dataset` as a program: what it prints, its exit codes, and how it is stopped. */
import { spawnSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { edmFiles, edmName, FileMaker, npy, pixelsOf, png } from '../support/image-files.js';
import { FakeProject } from './fake-project.js';

const project = new FakeProject();
afterAll(() => project.remove());
const files = new FileMaker('dataset-cli');
const onestep = (...args: string[]) => project.onestep('dataset', ...args);

describe('onestep dataset', () => {
  it('makes a zip and describes it, with a picture', async () => {
    const source = files.folder({
      'cat/1.png': png(1, 20, 16),
      'cat/2.png': png(2, 16, 20),
      'dog/1.png': png(3, 30),
      'dog/2.png': 'no image',
    });
    const out = files.path('out.zip');
    const failed = await onestep('make', source, out, '--size', '8', '--crop');
    expect([failed.code, failed.stdout]).toEqual([1, '']);
    expect(failed.stderr).toMatch(/onestep: E_IMAGE_FORMAT: .*dog\/2\.png: .*\nhelp: /);
    const made = await onestep('make', source, out, '--size', '8', '--crop', '--on-invalid', 'skip', '--force');
    expect(made).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/out\.zip: 3 images, 8 px, 3 channels, 2 classes, .*; 1 left out\n$/) as string,
    });
    expect(made.stderr).toMatch(/left out: .*dog\/2\.png/);
    expect(made.stderr).toMatch(/4 of 4 images/);

    const picture = files.path('grid.png');
    const described = await onestep('describe', out, '--grid', picture);
    expect(described.code).toBe(0);
    expect(described.stdout).toMatch(
      /out\.zip: EDM zip\n +images +3\n +size +8 x 8, 3 channels: 3 of 3 looked at\n +classes +2, 1 to 2 images each\n +0 +2\n +1 +1\n$/,
    );
    expect(readFileSync(picture).toString('latin1', 1, 4)).toBe('PNG');
    const { stdout } = await onestep('describe', source, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      images: 4,
      shapes: { '20 x 16, 3 channels': 1, '16 x 20, 3 channels': 1, '30 x 30, 3 channels': 1 },
      invalid: [expect.stringContaining('dog/2.png')],
      classes: [
        { index: 0, name: 'cat', images: 2 },
        { index: 1, name: 'dog', images: 2 },
      ],
    });
  });

  it('takes --format and --no-labels', async () => {
    const source = files.folder({ 'cat/1.png': png(1), 'dog/1.png': png(2) });
    const [plain, folder] = [files.path('plain.zip'), files.path('folder.zip')];
    expect((await onestep('make', source, plain, '--no-labels')).stdout).toContain('2 images, 8 px, 3 channels, no labels');
    expect((await onestep('make', source, folder, '--format', 'edm-folder')).stdout).toContain('no labels');
    expect(readFileSync(folder).equals(readFileSync(plain))).toBe(true);
    expect((await onestep('describe', source, '--format', 'edm-folder')).stdout).toMatch(/classes +none\n/);
    // Labels that are wrong are no matter where none are asked for.
    const arrays = {
      'photos.npy': npy('|u1', [2, 8, 8, 3], Buffer.concat([pixelsOf(1), pixelsOf(2)])),
      'labels.npy': npy('|u1', [1], Uint8Array.of(7)),
      'kinds.npy': npy('|u1', [2], Uint8Array.of(1, 0)),
    };
    const npz = await files.zip(arrays, { name: 'a.npz' });
    expect((await onestep('describe', npz, '--images', 'photos', '--labels', 'kinds')).stdout).toMatch(/classes +2, 1 images each\n/);
    expect((await onestep('make', npz, files.path('a.zip'), '--images', 'photos')).stderr).toMatch(/labels\.npy: expected labels .*\[2\]/);
    const out = files.path('a.zip');
    expect((await onestep('make', npz, out, '--images', 'photos', '--no-labels')).stdout).toContain(
      '2 images, 8 px, 3 channels, no labels',
    );
    expect(readFileSync(out).equals(readFileSync(plain))).toBe(true);
    const wrong = await onestep('describe', source, '--format', 'gif');
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/E_CONFIG: .*\n.*format.*edm-zip/);
  });

  it.each([
    [['make', 'a'], 'expected OUT.zip'],
    [['mend', 'a', 'b'], "unknown action 'mend'"],
    [['describe', 'a', 'b'], "Unexpected argument 'b'"],
    [['make', 'a', 'b', '--colour'], "Unknown option '--colour'"],
  ])('answers %j with exit code 2', async (args, message) => {
    const { code, stderr } = await onestep(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/help: .*--help\n$/);
  });

  it('answers wrong values and sources that are none with exit code 1', async () => {
    const empty = files.folder({});
    const source = files.folder(edmFiles(2));
    for (const [args, message] of [
      [['make', source, 'o.zip', '--size', 'big', '--on-invalid', 'ask'], /E_CONFIG: makeDataset: 2 problems\n.*size.*\n.*onInvalid/],
      [['make', empty, 'o.zip'], /E_DATA_FORMAT: .*found an empty folder\nhelp: /],
      [['describe', join(empty, 'absent')], /E_FILE_ABSENT: .*absent.*\nhelp: /],
    ] as const) {
      const { code, stdout, stderr } = await onestep(...args);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/^\s+at /m);
    }
  });

  it('stops at Ctrl-C with 130, at SIGTERM with 143, and goes on where it was', async () => {
    const source = files.path('many');
    mkdirSync(join(source, '00000'), { recursive: true });
    const image = files.file('image.png', png(7, 256));
    for (let k = 0; k < 3000; k++) linkSync(image, join(source, edmName(k)));
    const out = files.path('out.zip');
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const { child, ended } = project.start('dataset', 'make', source, out, '--size', '64');
      child.stderr.on('data', (text: string) => /of 3,000 images/.test(text) && child.kill(signal));
      const { code: found, stdout, stderr } = await ended;
      expect([found, stdout]).toEqual([code, '']);
      expect(stderr).toMatch(
        /onestep: E_RUN_STOPPED: .*out\.zip: stopped before it was whole\nhelp: the same command goes on from here\n$/,
      );
      expect([existsSync(out), existsSync(`${out}.part`)]).toEqual([false, true]);
    }
    const { code, stdout } = await onestep('make', source, out, '--size', '64');
    expect(code).toBe(0);
    expect(stdout).toMatch(/3,000 images, 64 px, 3 channels, no labels, .*; \d+ were there already\n$/);
  });

  it('says what to do where the system writes no more, and goes on afterwards', async () => {
    const images = npy('|u1', [60, 128, 128, 3], Buffer.concat(Array.from({ length: 60 }, (_, k) => pixelsOf(k, 128))));
    const source = await files.zip({ 'images.npy': images }, { name: 'a.npz' });
    const out = files.path('out.zip');
    const cli = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));
    // 2,000 kB of the 3,000 that are needed.
    const script = `ulimit -f ${process.platform === 'darwin' ? 4000 : 2000}; exec "$@"`;
    const args = [process.execPath, '--import', import.meta.resolve('tsx'), cli, 'dataset', 'make', source, out];
    const { status, stderr } = spawnSync('/bin/bash', ['-c', script, 'bash', ...args], {
      encoding: 'utf8',
      env: { ...process.env, TSX_DISABLE_CACHE: '1' },
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/onestep: E_FILE_TOO_LARGE: cannot write .*EFBIG.*\nhelp: .*; then the same command goes on\n$/);
    expect(existsSync(out)).toBe(false);
    expect((await onestep('make', source, out)).stdout).toMatch(/60 images, 128 px/);
  });
});
