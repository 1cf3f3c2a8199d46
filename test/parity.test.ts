/** The parity command, on the golden vectors and on damaged copies of them. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { parityCommand } from '../src/cli/parity.js';
import { writeSafetensors } from '../src/core/safetensors.js';
import type { ParityRow } from '../src/pipelines/parity/index.js';
import { goldenPath, openGolden } from './support/golden.js';

const root = mkdtempSync(join(tmpdir(), 'onestep-parity-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let directory: string;
let count = 0;
beforeEach(() => mkdirSync((directory = join(root, String(count++)))));

const copy = (...names: string[]) => names.forEach((name) => copyFileSync(goldenPath(name), join(directory, name)));
const network = (name: string) => copy(`${name}.json`, `${name}.weights.safetensors`, `${name}.io.safetensors`);

/** Runs the command in this process. */
async function run(options: Record<string, unknown> = {}): Promise<{ code: number; rows: ParityRow[]; errors: string }> {
  const lines: string[] = [];
  const errors: string[] = [];
  const spies = [
    vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line)),
    vi.spyOn(console, 'error').mockImplementation((line: string) => void errors.push(line)),
    vi.spyOn(process.stderr, 'write').mockReturnValue(true),
  ];
  const code = await parityCommand.run({ engine: 'wasm', json: true, ...options }, [directory]);
  spies.forEach((spy) => spy.mockRestore());
  const { rows = [] } = (lines.length > 0 ? JSON.parse(lines.join('\n')) : {}) as { rows?: ParityRow[] };
  return { code, rows, errors: errors.join('\n') };
}

const failed = (rows: ParityRow[]) => rows.filter(({ status }) => status === 'failed').map(({ subject, check }) => `${subject}: ${check}`);

/** Writes `name` again with other values. */
async function rewrite(name: string, change: (tensor: string, values: Float32Array) => Float32Array | undefined) {
  const file = await openGolden(name);
  const tensors = [];
  for (const [tensor, { shape }] of file.tensors) {
    const data = change(tensor, await file.readAsFloat32(tensor));
    if (data) tensors.push({ name: tensor, shape, data });
  }
  await writeSafetensors(join(directory, name), tensors);
}

describe('onestep parity', () => {
  it('a changed weight is found in everything that it computes', async () => {
    network('song-skip');
    await rewrite('song-skip.weights.safetensors', (tensor, values) => {
      if (tensor === 'model.enc.16x16_block0.conv0.weight') values[17]! += 0.5;
      return values;
    });
    const { code, rows } = await run();
    expect(code).toBe(1);
    expect(failed(rows)).toEqual(
      ['raw output F', 'one-step output G', 'denoised output D', 'gradient of the image', 'gradient norms'].map(
        (check) => `song-skip: ${check}`,
      ),
    );
    expect(rows.find(({ check }) => check === 'gradient norms')).toMatchObject({
      note: expect.stringMatching(/^worst of 146: model\./) as string,
    });
  });

  it('one wrong gradient norm, one wrong freeze list, a wrong count, an unknown setting: each is its own check', async () => {
    network('song-skip');
    const json = JSON.parse(readFileSync(goldenPath('song-skip.json'), 'utf8')) as {
      parameters: number;
      gradient_norms: Record<string, number>;
      freeze: Record<string, { frozen: string[] }>;
    };
    json.gradient_norms['model.map_layer1.bias']! *= 1.001;
    json.freeze['2']!.frozen.pop();
    json.parameters++;
    writeFileSync(join(directory, 'song-skip.json'), JSON.stringify(json));
    const { rows } = await run();
    expect(failed(rows)).toEqual(['song-skip: parameter count', 'song-skip: freeze levels', 'song-skip: gradient norms']);
    expect(rows.at(-1)!.note).toBe('worst of 146: model.map_layer1.bias');

    writeFileSync(join(directory, 'song-skip.json'), JSON.stringify({ config: { model_type: 'SongUNet', img_resolution: 16, colour: 3 } }));
    const second = await run();
    expect(failed(second.rows)[0]).toBe('song-skip: config');
    // The weights say the rest.
    expect(second.rows.find(({ check }) => check === 'raw output F')!.status).toBe('ok');
  });

  it('a truncated file is a failed row, and the rest goes on', async () => {
    network('song-skip');
    copy('projection.weights.safetensors', 'projection.io.safetensors', 'frechet.json', 'frechet-full.npz', 'sampler-heun-6.safetensors');
    truncateSync(join(directory, 'song-skip.weights.safetensors'), 5000);
    truncateSync(join(directory, 'sampler-heun-6.safetensors'), 100);
    writeFileSync(join(directory, 'hostile.pkl'), Buffer.from('80049563000000000000008c05706f736978948c0673797374656d9493942e', 'hex'));
    writeFileSync(join(directory, 'random.pth'), Buffer.alloc(999, 7));
    const { code, rows } = await run();
    expect(code).toBe(1);
    expect(failed(rows)).toEqual([
      'song-skip: architecture inferred',
      'song-skip: weights',
      'hostile.pkl: weights',
      'random.pth: weights',
      'sampler-heun-6: inputs and outputs',
    ]);
    for (const { status, note } of rows) if (status === 'failed') expect(note).toContain(directory);
    expect(rows.find(({ check }) => check === 'mixed maps')!.status).toBe('ok');
    expect(rows.find(({ check }) => check === 'freeze levels')!.status).toBe('ok');
    expect(rows.filter(({ status }) => status === 'absent').map(({ check }) => check)).toEqual(['singular', 'identical']);
  });

  it('missing pieces are absent', async () => {
    copy('song-skip.json', 'disc-head.io.safetensors', 'projection.weights.safetensors', 'frechet-full.npz', 'sampler-heun-6.safetensors');
    const { code, rows } = await run();
    expect(code).toBe(0);
    expect(rows.filter(({ status }) => status === 'absent').map(({ subject, check, note }) => `${subject}: ${check}: ${note}`)).toEqual([
      'song-skip: architecture inferred: song-skip.weights.safetensors',
      'song-skip: weights: song-skip.weights.safetensors',
      'sampler-heun-6: samples: a network for latents [2, 3, 16, 16]',
      'disc-head: weights: disc-head.weights.safetensors',
      'projection: inputs and outputs: projection.io.safetensors',
      'frechet: full: full in frechet.json',
    ]);
  });

  it('a snapshot beside inputs and outputs is their network, without a description too', async () => {
    copy('edm-snapshot.pkl', 'ncsnpp.io.safetensors');
    renameSync(join(directory, 'edm-snapshot.pkl'), join(directory, 'ncsnpp.pkl'));
    const { code, rows } = await run();
    expect(code).toBe(0);
    expect(rows.filter(({ status }) => status === 'ok').map(({ check }) => check)).toContain('one-step output G');
    expect(rows.find(({ status }) => status === 'absent')).toMatchObject({ check: 'config', note: 'ncsnpp.json' });
  });

  it('pieces that nothing can be compared with are no agreement', async () => {
    copy('song-skip.io.safetensors');
    const { code, rows } = await run();
    expect([code, new Set(rows.map(({ status }) => status))]).toEqual([2, new Set(['absent'])]);
  });

  it('values that are not finite fail, in the files and in what is computed', async () => {
    copy('projection.weights.safetensors', 'projection.io.safetensors');
    await rewrite('projection.io.safetensors', (tensor, values) => (tensor === 'mixed2' ? values.fill(NaN, 3, 4) : values));
    const { code, rows } = await run();
    expect(code).toBe(1);
    expect(rows.at(-1)).toMatchObject({
      check: 'mixed maps',
      status: 'failed',
      error: 'NaN',
      note: 'a value is not finite; worst of 4: mixed2',
    });
  });

  it('only: a part of the name', async () => {
    network('song-skip');
    copy('projection.weights.safetensors', 'projection.io.safetensors');
    expect(new Set((await run({ only: 'proj' })).rows.map(({ subject }) => subject))).toEqual(new Set(['projection']));
    const { code, errors } = await run({ only: 'nothing' });
    expect([code, errors]).toEqual([2, expect.stringContaining('the names are song-skip, projection')]);
  });

  it('an empty directory, no directory and an unknown engine end in an error with a fix', async () => {
    const empty = await run();
    expect([empty.code, empty.rows]).toEqual([2, []]);
    expect(empty.errors).toMatch(/^onestep: .*expected golden vectors, found none among 0 files\nhelp: /);
    writeFileSync(join(directory, 'notes.json'), '{"not": "a network"}');
    expect((await run()).code).toBe(2);
    directory = join(directory, 'nowhere');
    expect((await run()).errors).toMatch(/^onestep: .*nowhere.*\nhelp: /);
    expect((await run({ engine: 'abacus' })).errors).toContain('engine');
  });

  it('from the shell', async () => {
    copy('projection.weights.safetensors', 'projection.io.safetensors');
    const shell = (...args: string[]) =>
      new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
        execFile(process.execPath, ['--import', 'tsx', 'src/cli.ts', 'parity', ...args], (error, stdout, stderr) =>
          resolve({ code: error?.code ?? 0, stdout, stderr }),
        );
      });
    const whole = await shell(directory, '--engine', 'wasm');
    expect(whole.code).toBe(0);
    expect(whole.stdout).toMatch(/projection +weights .*\n.*\n +mixed maps .*ok/);
    expect(whole.stderr).toContain('projection: mixed maps … ok');
    expect(await shell()).toMatchObject({ code: 2, stderr: expect.stringContaining('DIR') as string });
    truncateSync(join(directory, 'projection.io.safetensors'), 9);
    expect((await shell(directory, '--engine', 'wasm')).code).toBe(1);
  });
});
