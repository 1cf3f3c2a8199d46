import { beforeAll, describe, expect, it } from 'vitest';
import { type PickledDict } from '../pickle/index.js';
import { readSafetensors } from '../safetensors.js';
import { type TensorFile } from '../tensor-file.js';
import { openTorchFile, PersistentObject, stateDict } from './index.js';

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
