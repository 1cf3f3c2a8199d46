/**
 * PyTorch's names of data: tensors, storages, dtypes, and modules as what they hold.
 */
import {
  describeValue,
  PickledBytes,
  PickledGlobal,
  PickledObject,
  tuple,
  type ConstructionContext,
  type DataConstructor,
  type PickledTuple,
} from '../pickle/index.js';
import { reconstructPersistentObject } from './persistent-object.js';
import { STORAGE_DTYPES, TORCH_DTYPES, TorchStorage } from './torch-storage.js';
import { torchTensor, TorchTensor } from './torch-tensor.js';

/** Reads a container that lies in a pickle as bytes. */
export type LoadNested = (bytes: PickledBytes, context: ConstructionContext) => unknown;

function expectAtLeast(args: PickledTuple, count: number, name: string, context: ConstructionContext): void {
  if (args.length < count) throw context.fail(`expected ${count} arguments or more for ${name}, found ${args.length}`);
}

/** Tensors that stand for their conjugate or negative say so in their metadata. */
function refuseMetadata(metadata: unknown, context: ConstructionContext): void {
  if (metadata instanceof Map && [...metadata.values()].includes(true))
    throw context.fail('expected plain tensors, found a conjugate or negative view');
}

const rebuildTensor: DataConstructor = {
  call(args, context) {
    expectAtLeast(args, 4, '_rebuild_tensor', context);
    refuseMetadata(args[6], context);
    return torchTensor(args, context);
  },
};

const rebuildTensorOfDtype: DataConstructor = {
  call(args, context) {
    expectAtLeast(args, 7, '_rebuild_tensor_v3', context);
    refuseMetadata(args[7], context);
    const of = args[6];
    const dtype = of instanceof PickledGlobal && of.module === 'torch' ? TORCH_DTYPES.get(of.name) : undefined;
    if (!dtype) throw context.fail(`expected a dtype for _rebuild_tensor_v3, found ${describeValue(of)}`);
    return torchTensor(args, context, dtype);
  },
};

const rebuildParameter: DataConstructor = {
  call([data], context) {
    if (!(data instanceof TorchTensor)) throw context.fail(`expected a tensor for a parameter, found ${describeValue(data)}`);
    return data.asParameter();
  },
};

const REBUILDERS = new Map([
  ['_rebuild_tensor', rebuildTensor],
  ['_rebuild_tensor_v2', rebuildTensor],
  ['_rebuild_tensor_v3', rebuildTensorOfDtype],
  ['_rebuild_parameter', rebuildParameter],
  ['_rebuild_parameter_with_state', rebuildParameter],
]);

/** A tensor with attributes of its own: `(function, type, arguments, attributes)`; the attributes are left out. */
const rebuildFromType: DataConstructor = {
  call(args, context) {
    expectAtLeast(args, 3, '_rebuild_from_type_v2', context);
    const [rebuild, , inner] = args;
    // Only those: a function that calls itself could nest as deeply as the file is long.
    const constructor = rebuild instanceof PickledGlobal && rebuild.module === 'torch._utils' ? REBUILDERS.get(rebuild.name) : undefined;
    if (!constructor || !Array.isArray(inner))
      throw context.fail(`expected a function that makes tensors, found ${describeValue(rebuild)}`);
    return constructor.call!(inner, context);
  },
};

/** A value by its name and arguments. */
const inert = (module: string, name: string): DataConstructor => ({ call: (args) => new PickledObject(module, name, args) });

/** A module of PyTorch's own as its attributes; its class is a name. */
const module = (path: string, name: string): DataConstructor => ({ create: (args) => new PickledObject(path, name, args) });

const DATA: DataConstructor = {};

const NAMED = new Map<string, DataConstructor>([
  ...[...REBUILDERS].map(([name, constructor]) => [`torch._utils.${name}`, constructor] as const),
  ['torch._tensor._rebuild_from_type_v2', rebuildFromType],
  ['torch.Size', { call: ([sizes = tuple([])]) => sizes, create: ([sizes = tuple([])]) => sizes }],
  ['torch.device', inert('torch', 'device')],
  ['torch.serialization._get_layout', inert('torch.serialization', '_get_layout')],
  ['torch.Tensor', DATA],
  ['torch.nn.parameter.Parameter', DATA],
  ['torch.nn.parameter.Buffer', DATA],
  ['torch_utils.persistence._reconstruct_persistent_obj', reconstructPersistentObject],
]);

/** The constructors of a PyTorch file. Without `loadNested` its bytes hold no containers. */
export function torchConstructors(loadNested?: LoadNested): (module: string, name: string) => DataConstructor | undefined {
  const loadFromBytes: DataConstructor = {
    call(args, context) {
      const [bytes] = args;
      if (args.length !== 1 || !(bytes instanceof PickledBytes))
        throw context.fail(`expected the bytes of a storage, found ${describeValue(bytes)}`);
      context.budget.spend('nestedContainers', 1);
      return loadNested!(bytes, context);
    },
  };
  return (path, name) => {
    const named = NAMED.get(`${path}.${name}`);
    if (named) return named;
    if (path === 'torch' && (STORAGE_DTYPES.has(name) || TORCH_DTYPES.has(name))) return DATA;
    // Its name changed with PyTorch 1.13.
    if (path === 'torch.storage' && (name === 'UntypedStorage' || name === '_UntypedStorage')) return DATA;
    if (path === 'torch.storage' && name === '_load_from_bytes' && loadNested) return loadFromBytes;
    if (/^torch\.nn\.modules\.\w+$/.test(path) && /^[A-Z]\w*$/.test(name)) return module(path, name);
    return undefined;
  };
}

/** What a container needs to know of one reference to a storage: `('storage', class, key, device, length, …)`. */
export function storageReference(id: unknown, context: ConstructionContext): { storage: TorchStorage; view: unknown } {
  const [kind, type, key, device, length, view = null] = Array.isArray(id) ? (id as unknown[]) : [];
  if (kind !== 'storage') throw context.fail(`expected a reference to a storage, found ${describeValue(Array.isArray(id) ? kind : id)}`);
  const dtype = type instanceof PickledGlobal && type.module.startsWith('torch') ? STORAGE_DTYPES.get(type.name) : undefined;
  if (!dtype) throw context.fail(`expected the class of a storage, found ${describeValue(type)}`);
  if (typeof key !== 'string' || typeof device !== 'string')
    throw context.fail(`expected the key and the device of a storage, found ${describeValue(key)} and ${describeValue(device)}`);
  if (!Number.isSafeInteger(length) || (length as number) < 0)
    throw context.fail(`expected the length of a storage, found ${describeValue(length)}`);
  return { storage: new TorchStorage(key, dtype, length as number), view };
}
