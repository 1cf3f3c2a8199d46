import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TensorFile } from '../../core/tensor-file.js';
import { halfToFloat32, float32ToHalf } from '../../core/tensor-file.js';
import { BufferSource, NumpyArray, NumpyDtype, PickledBytes } from '../../core/pickle/index.js';
import { openTorchFile, PersistentObject, type TorchFile } from '../../core/torch-file/index.js';
import { PhiloxRandom } from '../../core/random.js';
import { writeSafetensors, type TensorToWrite } from '../../core/safetensors.js';
import { useEngine } from '../../../test/support/engines.js';
import { goldenJson, goldenPath, goldenTensor, openGolden } from '../../../test/support/golden.js';
import { generateOneStep } from '../preconditioning.js';
import { createBackbone, resolveBackboneConfig, type BackboneOptions } from '../backbones/config.js';
import { teacher } from './any-teacher.js';
import { edmSnapshot, readEdmSnapshot } from './edm-snapshot.js';
import { safetensorsTeacher, saveBackbone } from './safetensors-teacher.js';
import { readStateDict, stateDictTeacher } from './state-dict-teacher.js';
import type { FileTeacherLoader } from './teacher-file.js';

const WEIGHTS = goldenPath('ncsnpp.weights.safetensors');
const SNAPSHOT = goldenPath('edm-snapshot.pkl');
const config = resolveBackboneConfig(goldenJson<{ config: BackboneOptions }>('ncsnpp.json').config);

let golden: TensorFile;
let directory: string;
const at = (name: string) => join(directory, name);
beforeAll(async () => {
  await useEngine('wasm');
  golden = await openGolden('ncsnpp.weights.safetensors');
  directory = mkdtempSync(join(tmpdir(), 'onestep-teachers-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The golden tensors under other names; those that become undefined are left out. */
async function goldenAs(
  path: string,
  rename: (name: string) => string | undefined,
  metadata: Record<string, string> = {},
): Promise<string> {
  const tensors = [...golden.tensors].flatMap(([name, { shape }]) => {
    const now = rename(name);
    return now === undefined ? [] : [{ name: now, shape, data: () => golden.readAsFloat32(name) }];
  });
  await writeSafetensors(path, tensors, metadata);
  return path;
}

/** An array as a pickle holds it. */
function numpyArray(code: string, shape: number[], values: ArrayBufferView): NumpyArray {
  const array = new NumpyArray();
  array.shape = shape;
  array.dtype = new NumpyDtype([code]);
  array.data = new PickledBytes(new BufferSource(new Uint8Array(values.buffer)), 0, values.byteLength);
  return array;
}

async function expectGoldenValues(loader: FileTeacherLoader): Promise<void> {
  const before = tf.memory().numTensors;
  const { backbone } = await loader.load();
  const tensors = backbone.tensors();
  expect(tensors.map(({ name }) => name).sort()).toEqual([...golden.tensors.keys()].sort());
  for (const tensor of tensors) expect(tensor.read(), tensor.name).toEqual(await golden.readAsFloat32(tensor.name));
  backbone.dispose();
  expect(tf.memory().numTensors).toBe(before);
}

describe('each format holds the golden network', () => {
  it.each([
    ['edmSnapshot', edmSnapshot(SNAPSHOT), /^EDM snapshot, EDMPrecond of SongUNet \(pickle, ema\)$/, config.dropout],
    ['stateDictTeacher, zip', stateDictTeacher(goldenPath('state-dict.pth')), /^PyTorch state dict \(zip\)$/, 0],
    ['stateDictTeacher, legacy', stateDictTeacher(goldenPath('state-dict-legacy.pth')), /^PyTorch state dict \(legacy\)$/, 0],
    ['safetensorsTeacher', safetensorsTeacher(WEIGHTS), /^safetensors$/, 0],
    ['teacher of a snapshot', teacher(SNAPSHOT), /^EDM snapshot/, config.dropout],
    ['teacher of a state dict', teacher(goldenPath('state-dict.pth')), /zip/, 0],
    ['teacher of a legacy state dict', teacher(goldenPath('state-dict-legacy.pth')), /legacy/, 0],
    ['teacher of safetensors', teacher(WEIGHTS), /^safetensors$/, 0],
  ])('%s', async (_, loader, format, dropout) => {
    expect((await loader.open()).format).toMatch(format);
    expect(await loader.describe()).toEqual({ ...config, dropout });
    await expectGoldenValues(loader);
  });

  it('the content decides, not the ending', async () => {
    copyFileSync(SNAPSHOT, at('snapshot.safetensors'));
    copyFileSync(WEIGHTS, at('weights.pkl'));
    expect((await teacher(at('snapshot.safetensors')).open()).format).toMatch(/^EDM snapshot/);
    expect((await teacher(at('weights.pkl')).open()).format).toBe('safetensors');
  });

  it('in shards, by index and by folder', async () => {
    const folder = at('shards');
    mkdirSync(folder);
    await goldenAs(join(folder, 'enc.safetensors'), (name) => (name.includes('.dec.') ? undefined : name));
    await goldenAs(join(folder, 'dec.safetensors'), (name) => (name.includes('.dec.') ? name : undefined));
    const map = Object.fromEntries(
      [...golden.tensors.keys()].map((name) => [name, name.includes('.dec.') ? 'dec.safetensors' : 'enc.safetensors']),
    );
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
    await expectGoldenValues(safetensorsTeacher(join(folder, 'model.safetensors.index.json')));
    await expectGoldenValues(teacher(folder));
    expect(teacher(`${folder}/`).name).toBe('shards');
  });

  it('the snapshot computes the golden output', async () => {
    const { backbone } = await teacher(SNAPSHOT).load();
    const io = await openGolden('ncsnpp.io.safetensors');
    const [latent, expected] = await Promise.all(['latent', 'one_step_output'].map((name) => goldenTensor(io, name)));
    const found = tf.tidy(() => generateOneStep(backbone, latent as tf.Tensor4D));
    expect(await found.data()).toBeCloseInL2(await expected!.data(), 1e-5);
    tf.dispose([latent!, expected!, found]);
    backbone.dispose();
  });
});

describe('prefixes and nested files', () => {
  it.each(['module.', 'ema.', 'state_dict.module.', 'model._orig_mod.'])('%s before the published names', async (prefix) => {
    const path = await goldenAs(at('prefixed.safetensors'), (name) => prefix + name);
    const file = await teacher(path).open();
    expect(file.notes.join('\n')).toContain(`${prefix}model.`);
    await expectGoldenValues(teacher(path));
  });

  it('no prefix at all', async () => {
    const path = await goldenAs(at('bare.safetensors'), (name) => name.slice('model.'.length));
    expect((await teacher(path).open()).notes.join('\n')).toMatch(/begin with nothing instead of model\./);
    await expectGoldenValues(teacher(path));
    await expectGoldenValues(safetensorsTeacher(path, { config }));
  });

  it('a configuration that is none: the error names the file and says what to do', async () => {
    const path = await goldenAs(at('many-blocks.safetensors'), (name) => name, {
      config: JSON.stringify({ ...config, num_blocks: 1e9 }),
    });
    await expect(teacher(path).open()).rejects.toMatchObject({
      code: 'E_CONFIG',
      message: expect.stringMatching(/many-blocks\.safetensors: architecture: 1 problem\n.*num_blocks[^]*help: /),
    });
  });

  it('names with control characters, and long ones, do not reach the terminal', async () => {
    const path = await goldenAs(at('names.safetensors'), (name) => `\u001b[31m${'x'.repeat(2000)}\n.${name.replace('enc.', 'down.')}`);
    const error = (await teacher(path)
      .open()
      .catch((thrown: unknown) => thrown)) as Error & { code: string };
    expect(error.code).toBe('E_WEIGHTS_UNKNOWN');
    expect(error.message).toMatch(/\\u001b\[31mxxx/);
    expect(error.message).not.toMatch(/\u001b/);
    expect(error.message.length).toBeLessThan(1500);
  });

  it("tensors that are not the network's are left out and counted", async () => {
    const path = at('more.safetensors');
    const tensors = [...golden.tensors].map(([name, { shape }]) => ({ name, shape, data: () => golden.readAsFloat32(name) }));
    const one = { shape: [1], data: new Float32Array(1) };
    await writeSafetensors(path, [...tensors, { name: 'optimizer.0', ...one }, { name: 'model.logvar', ...one }]);
    const { notes, weights } = await teacher(path).open();
    expect(notes.join('\n')).toMatch(/1 tensors besides the network \(optimizer\)[^]*model\.logvar/);
    expect(weights.tensors.size).toBe(golden.tensors.size);
    await expect(weights.read('optimizer.0')).rejects.toMatchObject({ code: 'E_WEIGHTS_MISSING' });
  });

  it('several networks: they are listed, a prefix chooses', async () => {
    const path = at('two.safetensors');
    const both = [...golden.tensors].flatMap(([name, { shape }]) =>
      ['ema.', 'net.'].map((prefix) => ({ name: prefix + name, shape, data: () => golden.readAsFloat32(name) })),
    );
    await writeSafetensors(path, both);
    await expect(teacher(path).describe()).rejects.toMatchObject({
      code: 'E_WEIGHTS_KEY',
      message: expect.stringMatching(/found 2: .*ema\.model\..*net\.model\.[^]*help: /),
    });
    await expectGoldenValues(teacher(path, { prefix: 'net.model.' }));
    await expect(teacher(path, { prefix: 'sgd.' }).describe()).rejects.toMatchObject({
      code: 'E_WEIGHTS_KEY',
      message: expect.stringContaining('with prefix sgd.'),
    });
  });

  it('safetensors of several networks: a key chooses, one that is not there is an error', async () => {
    const entries = [...golden.tensors].flatMap(([name, { shape }]) =>
      ['ema', 'net'].map((key) => ({
        name: `${key}.${name}`,
        shape,
        data: async () => (await golden.readAsFloat32(name)).map((value) => (key === 'ema' ? value : -value)),
      })),
    );
    const path = at('two.safetensors');
    await writeSafetensors(path, entries);
    await expect(teacher(path).open()).rejects.toMatchObject({ code: 'E_WEIGHTS_KEY' });
    await expectGoldenValues(teacher(path, { key: 'ema' }));
    await expectGoldenValues(safetensorsTeacher(path, { key: 'ema' }));
    await expect(teacher(path, { key: 'sgd' }).open()).rejects.toMatchObject({
      code: 'E_WEIGHTS_KEY',
      message: expect.stringContaining('under sgd') as string,
    });
    await expect(teacher(WEIGHTS, { key: 'ema' }).open()).rejects.toMatchObject({ code: 'E_WEIGHTS_KEY' });
    await expect(teacher(goldenPath('ddpm-unet'), { key: 'ema' }).open()).rejects.toMatchObject({
      code: 'E_CONFIG',
      message: expect.stringContaining('key: ') as string,
    });
  });

  it('nested state dicts: the only network is found, several need a key', async () => {
    const file = await openTorchFile(goldenPath('state-dict.pth'));
    const nested = (parts: Record<string, unknown>) => ({
      ...file,
      root: new Map<string, unknown>([...Object.entries(parts), ['epoch', 3]]),
    });
    const one = await readStateDict(nested({ state_dict: file.root }), {});
    expect(one.notes.join('\n')).toContain('state_dict.model.');
    expect(await one.weights.readAsFloat32('model.map_layer0.bias')).toEqual(await golden.readAsFloat32('model.map_layer0.bias'));

    const two = nested({ ema: file.root, net: new Map([['model.enc.16x16_conv.weight', 0]]), sgd: file.root });
    await expect(readStateDict(two, {})).rejects.toMatchObject({
      code: 'E_WEIGHTS_KEY',
      message: expect.stringMatching(/ema\.model\., sgd\.model\./),
    });
    const chosen = await readStateDict(two, { key: 'sgd' });
    expect([...chosen.weights.tensors.keys()].sort()).toEqual([...golden.tensors.keys()].sort());
    expect(chosen.notes.join('\n')).toContain('150 tensors besides the network (ema)');
    await expect(readStateDict(two, { key: 'net' })).rejects.toMatchObject({
      code: 'E_WEIGHTS_KEY',
      message: expect.stringContaining('under net'),
    });
  });

  it('a file without a known network says what it holds', async () => {
    await expect(teacher(goldenPath('disc-head.weights.safetensors')).describe()).rejects.toMatchObject({
      code: 'E_WEIGHTS_UNKNOWN',
      message: expect.stringMatching(/among 21 tensors, found names that begin with /),
    });
  });

  it('a network with a part missing is no crash', async () => {
    const path = await goldenAs(at('partial.safetensors'), (name) => (name.includes('map_layer') ? undefined : name));
    await expect(teacher(path).describe()).rejects.toMatchObject({
      code: 'E_WEIGHTS_UNKNOWN',
      message: expect.stringContaining('model.map_layer0.weight'),
    });
    await expect(teacher(path, { config }).load()).rejects.toMatchObject({ code: 'E_WEIGHTS_MISMATCH' });
  });
});

describe('what an EDM snapshot says of itself', () => {
  type State = Map<string, unknown>;
  interface Parts {
    file: TorchFile;
    root: Map<string, unknown>;
    outer: State;
    inner: State;
  }
  async function opened(): Promise<Parts> {
    const file = await openTorchFile(SNAPSHOT);
    const root = file.root as Map<string, unknown>;
    const outer = (root.get('ema') as PersistentObject).state as State;
    const inner = ((outer.get('_modules') as State).get('model') as PersistentObject).state as State;
    return { file, root, outer, inner };
  }
  const withClass = ({ state }: PersistentObject, name: string) => new PersistentObject(name, state);
  const innerOf = (outer: State) => outer.get('_modules') as State;

  it('positional arguments count as well', async () => {
    const { file, inner } = await opened();
    const kwargs = inner.get('_init_kwargs') as State;
    inner.set(
      '_init_args',
      ['img_resolution', 'in_channels', 'out_channels'].map((name) => kwargs.get(name)),
    );
    for (const name of ['img_resolution', 'in_channels', 'out_channels']) kwargs.delete(name);
    kwargs.set('label_dropout', 0);
    expect((await readEdmSnapshot(file, {})).config).toEqual(config);
  });

  it('lists in arrays of NumPy are lists; arrays of texts and of more axes are refused', async () => {
    const { file, inner } = await opened();
    const kwargs = inner.get('_init_kwargs') as State;
    kwargs.set('channel_mult', numpyArray('i8', [2], BigInt64Array.of(1n, 2n)));
    kwargs.set('resample_filter', numpyArray('f4', [4], Float32Array.of(1, 3, 3, 1)));
    expect((await readEdmSnapshot(file, {})).config).toEqual(config);
    for (const array of [numpyArray('i8', [1, 2], BigInt64Array.of(1n, 2n)), [[1], [2]], Array.from({ length: 100 }, () => 1)]) {
      kwargs.set('channel_mult', array);
      await expect(readEdmSnapshot(file, {})).rejects.toMatchObject({
        code: 'E_WEIGHTS_UNSUPPORTED',
        message: expect.stringMatching(/as channel_mult/),
      });
    }
    const itself: unknown[] = [];
    itself.push(itself);
    kwargs.set('channel_mult', itself);
    await expect(readEdmSnapshot(file, {})).rejects.toMatchObject({ code: 'E_WEIGHTS_UNSUPPORTED' });
  });

  it('without arguments the architecture is inferred, and a note says so', async () => {
    const { file, inner } = await opened();
    inner.delete('_init_kwargs');
    const { config: inferred, notes } = await readEdmSnapshot(file, {});
    expect(inferred).toEqual({ ...config, dropout: 0 });
    expect(notes.join()).toContain('inferred');
  });

  it('a module that was pickled alone needs no key', async () => {
    const { file, root } = await opened();
    expect((await readEdmSnapshot({ ...file, root: root.get('ema') }, {})).config).toEqual(config);
  });

  it('another key', async () => {
    const { file, root } = await opened();
    root.set('net', root.get('ema'));
    root.delete('ema');
    expect((await readEdmSnapshot(file, { key: 'net' })).format).toContain('(pickle, net)');
    await expect(readEdmSnapshot(file, {})).rejects.toMatchObject({
      code: 'E_WEIGHTS_KEY',
      message: expect.stringMatching(/under the key ema, found net \(EDMPrecond\)\nhelp: .*key: 'net'.*--key/),
    });
  });

  it.each<[string, (parts: Parts) => void, string, RegExp]>([
    ...['VPPrecond', 'VEPrecond', 'iDDPMPrecond', 'Precond'].map((name): [string, (parts: Parts) => void, string, RegExp] => [
      name,
      ({ root }) => root.set('ema', withClass(root.get('ema') as PersistentObject, name)),
      'E_WEIGHTS_UNSUPPORTED',
      new RegExp(`expected EDMPrecond, found the class ${name}\nhelp: supported is EDMPrecond`),
    ]),
    ['sigma_data', ({ outer }) => outer.set('sigma_data', 1), 'E_WEIGHTS_UNSUPPORTED', /sigma_data 0.5, found sigma_data 1/],
    [
      'another network',
      ({ outer }) => innerOf(outer).set('model', withClass(innerOf(outer).get('model') as PersistentObject, 'UNetModel')),
      'E_WEIGHTS_UNSUPPORTED',
      /SongUNet or DhariwalUNet, found the class UNetModel/,
    ],
    [
      'a class that its tensors are not of',
      ({ outer }) => innerOf(outer).set('model', withClass(innerOf(outer).get('model') as PersistentObject, 'DhariwalUNet')),
      'E_WEIGHTS_UNSUPPORTED|E_WEIGHTS_CONTRADICTION',
      /DhariwalUNet/,
    ],
    [
      'an unknown argument',
      ({ inner }) => (inner.get('_init_kwargs') as State).set('secret', 1),
      'E_WEIGHTS_UNSUPPORTED',
      /found "secret"/,
    ],
    [
      'an argument of an odd kind',
      ({ inner }) => (inner.get('_init_kwargs') as State).set('dropout', new Map()),
      'E_WEIGHTS_UNSUPPORTED',
      /found a dict of 0 as dropout/,
    ],
    [
      'a dropout that is none',
      ({ inner }) => (inner.get('_init_kwargs') as State).set('dropout', 7),
      'E_CONFIG',
      /arguments of SongUNet: 1 problem[^]*dropout/,
    ],
    [
      'another width',
      ({ inner }) => (inner.get('_init_kwargs') as State).set('model_channels', 32),
      'E_WEIGHTS_CONTRADICTION',
      /model_channels: the file says 32, its tensors are of 16/,
    ],
    [
      'another embedding',
      ({ inner }) => (inner.get('_init_kwargs') as State).set('embedding_type', 'positional'),
      'E_WEIGHTS_CONTRADICTION',
      /embedding_type/,
    ],
    [
      'another filter',
      ({ inner }) => (inner.get('_init_kwargs') as State).set('resample_filter', [1, 1]),
      'E_WEIGHTS_CONTRADICTION',
      /resample_filter: the file says \[1,1\], its tensors are of \[1,3,3,1\]/,
    ],
    [
      'another resolution outside',
      ({ outer }) => outer.set('img_resolution', 64),
      'E_WEIGHTS_CONTRADICTION',
      /EDMPrecond says img_resolution 64, its network 16/,
    ],
    [
      'no network',
      ({ root }) => root.delete('ema'),
      'E_WEIGHTS_UNKNOWN',
      /found augment_pipe \(None\), dataset_kwargs[^]*stateDictTeacher/,
    ],
  ])('refuses: %s', async (_, change, code, message) => {
    const parts = await opened();
    change(parts);
    await expect(readEdmSnapshot(parts.file, {})).rejects.toMatchObject({
      code: expect.stringMatching(code),
      message: expect.stringMatching(message),
      help: expect.any(String),
    });
  });

  it('half precision and extra resolutions of attention change nothing', async () => {
    const { file, outer, inner } = await opened();
    outer.set('use_fp16', true);
    (inner.get('_init_kwargs') as State).set('attn_resolutions', [32, 8]);
    const { notes, config: said } = await readEdmSnapshot(file, {});
    expect(notes.join()).toContain('use_fp16');
    expect(said).toMatchObject({ attn_resolutions: [32, 8] });
  });

  it('the loaders of the two kinds name each other', async () => {
    await expect(edmSnapshot(goldenPath('state-dict.pth')).describe()).rejects.toMatchObject({
      message: expect.stringContaining('stateDictTeacher(path)'),
    });
    await expect(stateDictTeacher(SNAPSHOT).describe()).rejects.toMatchObject({
      message: expect.stringMatching(/ema \(EDMPrecond\)[^]*edmSnapshot\(path\)/),
    });
  });
});

describe('what is no teacher', () => {
  const loaders: [string, (path: string) => FileTeacherLoader][] = [
    ['teacher', teacher],
    ['edmSnapshot', edmSnapshot],
    ['stateDictTeacher', stateDictTeacher],
    ['safetensorsTeacher', safetensorsTeacher],
  ];
  it.each(loaders)('%s says what it found instead', async (_, load) => {
    const cases: [string, string | Uint8Array, string, RegExp][] = [
      ['page.pkl', '\n<!DOCTYPE html><html><body>404</body></html>', 'E_FILE_FORMAT', /found a page of HTML/],
      ['pointer.safetensors', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n', 'E_FILE_FORMAT', /Git LFS/],
      ['empty.pth', '', 'E_FILE_TRUNCATED', /empty file/],
      ['zeros.pkl', new Uint8Array(4096), 'E_FILE_FORMAT', /found zeros/],
      ['picture.pt', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10), 'E_FILE_FORMAT', /found the bytes 89 50 4e 47/],
    ];
    for (const [name, content, code, message] of cases) {
      writeFileSync(at(name), content);
      await expect(load(at(name)).load(), name).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
        help: expect.any(String),
      });
    }
    await expect(load(at('absent.pkl')).load()).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    mkdirSync(at('folder'), { recursive: true });
    await expect(load(at('folder')).load()).rejects.toMatchObject({
      code: expect.stringMatching(/E_FILE_FORMAT|E_FILE_NOT_READABLE/),
      message: expect.stringContaining('folder'),
    });
  });

  it('unknown options', () => {
    expect(() => teacher(WEIGHTS, { keys: 'ema' } as object)).toThrow(/keys/);
  });

  it('another architecture is told tensor by tensor', async () => {
    const other = { ...config, label_dim: 3 } as BackboneOptions;
    await expect(teacher(WEIGHTS, { config: other }).load()).rejects.toMatchObject({
      code: 'E_WEIGHTS_MISMATCH',
      message: expect.stringContaining('model.map_label.weight: expected shape [32, 3], not in the file'),
    });
  });

  it('a load that fails half-way frees what it has read', async () => {
    const last = [...golden.tensors.keys()].at(-1)!;
    const tensors: TensorToWrite[] = [...golden.tensors].map(([name, { shape }]) =>
      name === last
        ? { name, shape, dtype: 'F8_E4M3', data: new Uint8Array(shape.reduce((a, b) => a * b, 1)) }
        : { name, shape, data: () => golden.readAsFloat32(name) },
    );
    await writeSafetensors(at('float8.safetensors'), tensors);
    const before = tf.memory().numTensors;
    await expect(teacher(at('float8.safetensors'), { config }).load()).rejects.toMatchObject({ code: 'E_WEIGHTS_DTYPE' });
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('saved and loaded again', () => {
  const options: BackboneOptions = {
    model_type: 'SongUNet',
    img_resolution: 8,
    model_channels: 16,
    channel_mult: [1, 1],
    num_blocks: 1,
    attn_resolutions: [4],
    dropout: 0.25,
    embedding_type: 'fourier',
    channel_mult_noise: 2,
    resample_filter: [1, 3, 3, 1],
    label_dim: 2,
  };

  it.each(['F32', 'F16'] as const)('%s: every parameter and buffer, and the configuration', async (dtype) => {
    const network = createBackbone(options).initialize(new PhiloxRandom(5));
    const path = at(`saved-${dtype}.safetensors`);
    await saveBackbone(path, network, { dtype });
    const { backbone } = await teacher(path).load();
    expect(backbone.config).toEqual(network.config);
    expect(network.buffers().map(({ name }) => name)).toEqual(
      expect.arrayContaining([expect.stringContaining('freqs'), expect.stringContaining('resample_filter')]),
    );
    const loaded = new Map(backbone.tensors().map((tensor) => [tensor.name, tensor]));
    for (const tensor of network.tensors()) {
      const values = tensor.read();
      // F16 rounds each value once, to nearest; loading adds nothing to that.
      expect(loaded.get(tensor.name)!.read(), tensor.name).toEqual(dtype === 'F32' ? values : halfToFloat32(float32ToHalf(values)));
    }
    network.dispose();
    backbone.dispose();
  });
});
