import { copyFileSync, cpSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { goldenPath, openGolden } from '../../test/support/golden.js';
import { readSafetensors, writeSafetensors } from '../core/safetensors.js';
import { float32ToBfloat16, float32ToHalf } from '../core/tensor-file.js';
import { teacher } from '../models/teachers/any-teacher.js';
import { convert } from './convert.js';

const SNAPSHOT = goldenPath('edm-snapshot.pkl');

let directory: string;
const at = (name: string) => join(directory, name);
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'onestep-convert-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('convert', () => {
  it.each([
    ['a snapshot', 'edm-snapshot.pkl', 0.1],
    ['a state dict', 'state-dict.pth', 0],
    ['a legacy state dict', 'state-dict-legacy.pth', 0],
    ['safetensors', 'ncsnpp.weights.safetensors', 0],
  ])('%s: published names, every value, the configuration', async (_, name, dropout) => {
    const result = await convert(goldenPath(name), at('out.safetensors'));
    expect(result).toMatchObject({ parameters: 190_819, tensors: 150, values: 190_915, written: { [Object.keys(result.found)[0]!]: 150 } });
    const [file, golden] = [await readSafetensors(at('out.safetensors')), await openGolden('ncsnpp.weights.safetensors')];
    expect([...file.tensors.keys()].sort()).toEqual([...golden.tensors.keys()].sort());
    for (const tensor of golden.tensors.keys())
      expect(await file.readAsFloat32(tensor), tensor).toEqual(await golden.readAsFloat32(tensor));
    expect(JSON.parse(file.metadata['config']!)).toEqual(result.config);
    expect(file.metadata).toMatchObject({ format: 'pt', source: name });
    expect(await teacher(at('out.safetensors')).describe()).toEqual(result.config);
    expect(result.config!.dropout).toBe(dropout);
  });

  it.each([
    ['F32', (values: Float32Array) => values],
    ['F16', float32ToHalf],
    ['BF16', float32ToBfloat16],
  ] as const)('floats as %s', async (dtype, expected) => {
    const { found, written } = await convert(goldenPath('state-dict.pth'), at('out'), { dtype });
    expect([found, written]).toEqual([{ F32: 150 }, { [dtype]: 150 }]);
    const [file, golden] = [await readSafetensors(at('out')), await openGolden('ncsnpp.weights.safetensors')];
    for (const name of golden.tensors.keys()) expect(await file.read(name), name).toEqual(expected(await golden.readAsFloat32(name)));
  });

  it('other content goes over tensor by tensor, whole numbers as they are', async () => {
    const source = [
      { name: 'net.counts', shape: [2], dtype: 'I64', data: BigInt64Array.of(1n, -(2n ** 60n)) },
      { name: 'net.weight', shape: [1], dtype: 'F64', data: Float64Array.of(0.1) },
      { name: 'other', shape: [1], dtype: 'BOOL', data: Uint8Array.of(1) },
    ] as const;
    await writeSafetensors(at('in'), source, { note: 'kept' });
    const result = await convert(at('in'), at('out'), { dtype: 'F32' });
    expect(result).toMatchObject({
      config: undefined,
      parameters: undefined,
      found: { I64: 1, F64: 1, BOOL: 1 },
      written: { I64: 1, F32: 1, BOOL: 1 },
    });
    expect(result.notes.join()).toContain('no known network');
    const file = await readSafetensors(at('out'));
    expect(file.metadata).toEqual({ note: 'kept', format: 'pt', source: 'in' });
    expect(await file.read('net.counts')).toEqual(source[0].data);
    expect(await file.read('net.weight')).toEqual(Float32Array.of(0.1));
    await convert(at('in'), at('kept'));
    expect(await (await readSafetensors(at('kept'))).read('net.weight')).toEqual(source[1].data);

    await convert(at('in'), at('part'), { key: 'net' });
    expect([...(await readSafetensors(at('part'))).tensors.keys()].sort()).toEqual(['counts', 'weight']);
    await expect(convert(at('in'), at('none'), { key: 'ema' })).rejects.toMatchObject({ code: 'E_WEIGHTS_UNKNOWN' });
  });

  it('a file of several networks is not mixed into one', async () => {
    const golden = await openGolden('ncsnpp.weights.safetensors');
    const both = [...golden.tensors].flatMap(([name, { shape }]) =>
      ['ema.', 'net.'].map((prefix) => ({ name: prefix + name, shape, data: () => golden.readAsFloat32(name) })),
    );
    await writeSafetensors(at('in'), both);
    await expect(convert(at('in'), at('out'))).rejects.toMatchObject({ code: 'E_WEIGHTS_KEY' });
    expect(readdirSync(directory)).toEqual(['in']);
  });
});

describe('what convert does not write over', () => {
  it('a file that is there, unless it is told to', async () => {
    writeFileSync(at('out'), 'precious');
    await expect(convert(SNAPSHOT, at('out'))).rejects.toMatchObject({
      code: 'E_FILE_EXISTS',
      message: expect.stringContaining('--force'),
    });
    await convert(SNAPSHOT, at('out'), { force: true });
    expect((await readSafetensors(at('out'))).tensors.size).toBe(150);
  });

  it('its own input, under whatever name, even when forced', async () => {
    copyFileSync(SNAPSHOT, at('in.pkl'));
    linkSync(at('in.pkl'), at('same'));
    for (const name of ['in.pkl', 'same', './in.pkl'])
      await expect(convert(at('in.pkl'), at(name), { force: true })).rejects.toMatchObject({
        code: 'E_FILE_EXISTS',
        message: expect.stringContaining('the input itself'),
      });
  });

  it('a part of its input', async () => {
    cpSync(goldenPath('ddpm-unet'), at('folder'), { recursive: true });
    const part = at('folder/unet/diffusion_pytorch_model.safetensors');
    await expect(convert(at('folder'), part, { force: true })).rejects.toMatchObject({
      code: 'E_FILE_EXISTS',
      message: expect.stringMatching(/the input/),
    });

    const shards = at('shards');
    mkdirSync(shards);
    await writeSafetensors(join(shards, 'a.safetensors'), [{ name: 'a', shape: [1], data: new Float32Array(1) }]);
    writeFileSync(join(shards, 'x.index.json'), JSON.stringify({ weight_map: { a: 'a.safetensors' } }));
    await expect(convert(join(shards, 'x.index.json'), join(shards, 'a.safetensors'), { force: true })).rejects.toMatchObject({
      message: expect.stringContaining('a part of the input'),
    });
  });

  it('a folder, a device, a file without a name', async () => {
    for (const output of [directory, '/dev/null', ''])
      await expect(convert(SNAPSHOT, output, { force: true })).rejects.toMatchObject({
        code: 'E_FILE_NOT_WRITABLE',
        help: expect.any(String),
      });
  });
});

describe('a conversion that ends early', () => {
  it('stopped: nothing is left, what was there stays', async () => {
    writeFileSync(at('out'), 'former');
    const controller = new AbortController();
    const running = convert(SNAPSHOT, at('out'), { force: true, signal: controller.signal });
    setTimeout(() => controller.abort(), 1);
    await running.then(
      () => expect.unreachable('150 tensors take longer than a millisecond'),
      (error: unknown) => expect(error).toMatchObject({ code: 'E_RUN_STOPPED' }),
    );
    expect(readdirSync(directory)).toEqual(['out']);
  });

  it('a damaged input leaves nothing', async () => {
    writeFileSync(at('in'), 'nothing of the kind');
    await expect(convert(at('in'), at('out'))).rejects.toMatchObject({ code: 'E_FILE_FORMAT' });
    await expect(convert(SNAPSHOT, at('none/out'))).rejects.toMatchObject({ code: 'E_FILE_NO_DIRECTORY' });
    expect(existsSync(at('out'))).toBe(false);
  });
});
