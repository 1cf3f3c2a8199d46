import { beforeAll, describe, expect, it } from 'vitest';
import { BufferSource, isTuple, type NumpyArray, type PickledBytes, type PickledDict, type PickledObject } from '../pickle/index.js';
import { readSafetensors } from '../safetensors.js';
import { type TensorFile } from '../tensor-file.js';
import { OPCODE } from '../pickle/opcodes.js';
import { openTorchFile, PersistentObject, stateDict, type TorchTensor } from './index.js';
import { readTorchFile } from './open-torch-file.js';
import { bytes, legacy, storage, tensor, write, type Written } from './test-support.js';

const golden = (name: string) => `test/golden/${name}`;

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength);

describe('the golden network ncsnpp in every container', () => {
  let expected: TensorFile;
  beforeAll(async () => {
    expected = await readSafetensors(golden('ncsnpp.weights.safetensors'));
  });

  it.each([
    ['edm-snapshot.pkl', 'pickle', (root: unknown) => (root as Map<string, unknown>).get('ema')],
    ['state-dict.pth', 'zip', (root: unknown) => root],
    ['state-dict-legacy.pth', 'legacy', (root: unknown) => root],
  ] as const)('%s holds the same tensors, bit for bit', async (name, container, weightsOf) => {
    const file = await openTorchFile(golden(name));
    expect(file.container).toBe(container);
    const tensors = stateDict(weightsOf(file.root));
    expect([...tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
    for (const [key, tensor] of tensors) {
      expect({ name: key, shape: tensor.shape }).toEqual({ name: key, shape: expected.tensors.get(key)!.shape });
      // Whole arrays through the matcher take seconds.
      expect(Buffer.compare(bytesOf(await tensor.readAsFloat32(key)), bytesOf(await expected.readAsFloat32(key)))).toBe(0);
    }
  });

  it('the snapshot says what its network is', async () => {
    const { root } = await openTorchFile(golden('edm-snapshot.pkl'));
    const ema = (root as Map<string, unknown>).get('ema') as PersistentObject;
    expect(ema).toBeInstanceOf(PersistentObject);
    expect(ema.className).toBe('EDMPrecond');
    const settings = ema.state.get('_init_kwargs') as Map<string, unknown>;
    expect(settings.get('model_type')).toBe('SongUNet');
    expect(settings.get('channel_mult')).toEqual([1, 2]);
    expect(ema.state.get('sigma_max')).toBe(Infinity);
    const model = (ema.state.get('_modules') as Map<string, PersistentObject>).get('model')!;
    expect(model.className).toBe('SongUNet');
    expect((ema.state.get('_backward_hooks') as PickledDict).className).toBe('collections.OrderedDict');
  });
});

/** Both files hold the same tensors: names, shapes, dtypes and every bit. */
async function expectSame(found: Map<string, TorchTensor>, expected: TensorFile): Promise<void> {
  expect([...found.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
  for (const [name, tensor] of found) {
    const { dtype, shape } = expected.tensors.get(name)!;
    expect({ name, dtype: tensor.dtype, shape: tensor.shape }).toEqual({ name, dtype, shape });
    const [a, b] = [await tensor.read(name), await expected.read(name)];
    expect({ name, bytes: Buffer.from(bytesOf(a)).toString('hex') }).toEqual({ name, bytes: Buffer.from(bytesOf(b)).toString('hex') });
  }
}

describe('files made by make-torch-files.py', () => {
  const made = (name: string) => golden(`torch-files/${name}`);

  it.each(['views-zip.pth', 'views-zip-p4.pth', 'views-legacy.pth', 'views-legacy-p4.pth'])(
    '%s: every dtype and every kind of view is what PyTorch reads',
    async (name) => {
      const tensors = stateDict((await openTorchFile(made(name))).root);
      await expectSame(tensors, await readSafetensors(made('views.safetensors')));
      expect(tensors.get('parameter')!.isParameter).toBe(true);
      expect(tensors.get('base')!.isParameter).toBe(false);
      expect(tensors.get('row')!.storage).toBe(tensors.get('base')!.storage);
    },
  );

  it('dtypes without a storage class of their own', async () => {
    const tensors = stateDict((await openTorchFile(made('dtypes-v3.pth'))).root);
    expect(tensors.get('u16')).toMatchObject({ dtype: 'U16', shape: [2] });
    expect(await tensors.get('u16')!.read()).toEqual(Uint16Array.of(65535, 1));
    expect(await tensors.get('f8')!.read()).toEqual(Uint8Array.of(0x38, 0xc0));
    await expect(tensors.get('f8')!.readAsFloat32('f8')).rejects.toMatchObject({
      code: 'E_WEIGHTS_DTYPE',
      message: expect.stringContaining('tensor f8'),
    });
  });

  it('a whole module is its parameters, as data', async () => {
    const { root } = await openTorchFile(made('module.pth'));
    expect((root as PickledObject).className).toBe('torch.nn.modules.container.Sequential');
    expect([...stateDict(root)].map(([name, { shape }]) => [name, shape])).toEqual([
      ['0.weight', [3, 2]],
      ['0.bias', [3]],
      ['2.weight', [3]],
      ['2.bias', [3]],
    ]);
  });

  it.each([0, 1, 2, 3, 4, 5])('snapshot of protocol %i: tensors, settings and other objects', async (protocol) => {
    const root = (await openTorchFile(made(`snapshot-p${protocol}.pkl`))).root as Map<string, unknown>;
    await expectSame(stateDict(root.get('ema')), await readSafetensors(made('snapshot.safetensors')));
    const settings = root.get('dataset_kwargs') as PickledDict;
    expect(settings.className).toBe('dnnlib.util.EasyDict');
    expect(Object.fromEntries(settings)).toEqual({
      class_name: 'training.dataset.ImageFolderDataset',
      resolution: 8,
      max_size: 50000,
      seen: new Set([1, 2]),
    });
    const loss = root.get('loss_fn') as PersistentObject;
    expect([loss.className, loss.state.get('P_mean'), loss.moduleSource]).toEqual(['EDMLoss', -1.2, 'raise SystemExit\n']);
    const table = (root.get('augment_pipe') as PersistentObject).state.get('table') as NumpyArray;
    expect([table.dtype!.code, table.shape]).toEqual(['f4', [2, 3]]);
    expect(new Float32Array((await table.data!.read()).buffer)).toEqual(Float32Array.of(0, 1, 2, 3, 4, 5));
    const progress = root.get('progress') as Map<string, unknown>;
    expect(progress.get('kimg')).toBe(0.5);
    expect(progress.get('done')).toBe(true);
    expect(progress.get('big')).toBe(2n ** 70n);
    expect(progress.get('note')).toBe('\u03c3 = 0.5');
    expect(isTuple(progress.get('pair'))).toBe(true);
    expect(progress.get('pair')).toEqual([1, -2]);
    expect(await (progress.get('raw') as PickledBytes).read()).toEqual(Uint8Array.of(0, 255, 0, 255, 0, 255));
  });

  it.each([
    ['sparse.pth', 'E_PICKLE_GLOBAL', /torch\._utils\._rebuild_sparse_tensor/],
    ['quantized.pth', 'E_PICKLE_GLOBAL', /torch\._utils\._rebuild_qtensor/],
    ['complex.pth', 'E_PICKLE_GLOBAL', /torch\.ComplexFloatStorage/],
    ['script.pth', 'E_FILE_UNSUPPORTED', /TorchScript.*\nhelp: .*torch\.jit\.load/s],
  ])('%s is refused by name', async (name, code, message) => {
    await expect(openTorchFile(made(`refused/${name}`))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe('modules in the legacy container', () => {
  it('their classes come with the text of their source, which is not looked at', async () => {
    const linear: Written = { global: 'torch.nn.modules.linear.Linear' };
    const module = bytes(write({ tuple: ['module', linear, 'linear.py', 'raise SystemExit'] }), OPCODE.BINPERSID);
    const state: Written = {
      dict: [
        ['_parameters', { dict: [['weight', tensor(storage('a', 2, undefined, null), 0, [2], [1])]] }],
        ['_modules', { dict: [] }],
      ],
    };
    const object = bytes(module, write({ tuple: [] }), OPCODE.NEWOBJ, write(state), OPCODE.BUILD);
    const { root } = await readTorchFile(new BufferSource(legacy({ object })));
    const weight = stateDict(root).get('weight')!;
    expect(await weight.readAsFloat32()).toEqual(Float32Array.of(1, 2));
    const foreign = write({ tuple: ['module', { global: 'os.system' }, 'os.py', ''] });
    await expect(readTorchFile(new BufferSource(legacy({ object: bytes(foreign, OPCODE.BINPERSID) })))).rejects.toMatchObject({
      code: 'E_PICKLE_GLOBAL',
    });
  });
});

describe('names of a state dict', () => {
  it('two tensors of one name are an error', async () => {
    const tensor = [...stateDict((await openTorchFile(golden('torch-files/views-zip.pth'))).root).values()][0]!;
    const root = new Map<string, unknown>([
      ['a', new Map([['b', tensor]])],
      ['a.b', tensor],
    ]);
    expect(() => stateDict(root)).toThrow(
      expect.objectContaining({ code: 'E_WEIGHTS_DUPLICATE', message: expect.stringContaining('a.b') }),
    );
    expect([...stateDict([tensor, { other: tensor }, new Map([[3, tensor]])]).keys()]).toEqual(['0', '2.3']);
  });
});
