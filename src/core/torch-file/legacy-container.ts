/**
 * PyTorch's container up to version 1.5, still what `torch_utils.persistence` snapshots hold for each storage: four pickles (a magic number, a
 * protocol, facts of the machine, the objects), a pickled list of storage keys, then for each its length (8 bytes) and its values.
 */
import { FileError } from '../errors.js';
import {
  ByteCursor,
  describeValue,
  PickledGlobal,
  SourceSlice,
  unpickle,
  type ByteSource,
  type ConstructionContext,
  type PickleBudget,
} from '../pickle/index.js';
import { ITEM_SIZE } from '../tensor-file.js';
import { storageReference, torchConstructors, type LoadNested } from './torch-constructors.js';
import { TorchStorage } from './torch-storage.js';

export const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/** Of the window a nested container is read through: all but its values lies in its first half kilobyte. */
const NESTED_WINDOW_BYTES = 512;

const damaged = (source: ByteSource, at: number, problem: string) =>
  new FileError('E_FILE_FORMAT', `${source.name}: at byte ${source.locate(at)}: ${problem}`, {
    help: 'this is no whole PyTorch file; download or write it again',
  });

/** Storages of one container, by key. */
class LegacyStorages {
  readonly #byKey = new Map<string, TorchStorage>();

  get count(): number {
    return this.#byKey.size;
  }

  /** For `persistentLoad`. */
  readonly load = (id: unknown, context: ConstructionContext): TorchStorage | PickledGlobal => {
    // Classes of modules come with the text of their source, which is not looked at: `('module', class, file, source)`.
    if (Array.isArray(id) && id[0] === 'module' && id[1] instanceof PickledGlobal) return id[1];
    const { storage, view } = storageReference(id, context);
    const known = this.#byKey.get(storage.key);
    if (known && (known.dtype !== storage.dtype || known.length !== storage.length))
      throw context.fail(`expected storage ${storage.key} of ${known.length} ${known.dtype}, found ${storage.length} ${storage.dtype}`);
    if (!known) context.budget.spend('storages', 1);
    const root = known ?? storage;
    this.#byKey.set(root.key, root);
    return view === null ? root : this.#viewOf(root, view, context);
  };

  /** `(key, offset, length)`: a part of a storage, which old versions wrote as a storage of its own. */
  #viewOf(root: TorchStorage, view: unknown, context: ConstructionContext): TorchStorage {
    const [key, offset, length] = Array.isArray(view) ? (view as unknown[]) : [];
    const whole = [offset, length].every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
    if (typeof key !== 'string' || !whole || (offset as number) + (length as number) > root.length)
      throw context.fail(
        `expected a part of storage ${root.key} of ${root.length} values, found ${describeValue(offset)} and ${describeValue(length)} values`,
      );
    return new TorchStorage(key, root.dtype, length as number, root, (offset as number) * ITEM_SIZE[root.dtype]);
  }

  get(key: unknown): TorchStorage | undefined {
    return this.#byKey.get(key as string);
  }
}

/** Reads the container after its magic number; returns its object. `nested`: one that lies in the bytes of a pickle. */
export function readLegacyContainer(source: ByteSource, afterMagic: number, budget: PickleBudget, nested = false): unknown {
  const windowBytes = nested ? NESTED_WINDOW_BYTES : undefined;
  const plain = { budget, windowBytes };
  const protocol = unpickle(source, { ...plain, at: afterMagic });
  if (protocol.value !== LEGACY_PROTOCOL)
    throw damaged(source, afterMagic, `expected PyTorch's protocol ${LEGACY_PROTOCOL}, found ${describeValue(protocol.value)}`);
  const machine = unpickle(source, { ...plain, at: protocol.end });
  const facts = machine.value;
  if (!(facts instanceof Map)) throw damaged(source, protocol.end, `expected the facts of a machine, found ${describeValue(facts)}`);
  if (facts.get('little_endian') !== true)
    throw new FileError('E_FILE_UNSUPPORTED', `${source.name}: expected little-endian values, found those of a big-endian machine`, {
      help: 'load it in PyTorch and save it again on a little-endian machine',
    });

  const storages = new LegacyStorages();
  const constructors = torchConstructors(nested ? undefined : loadNestedIn(budget));
  const { value: root, end } = unpickle(source, { ...plain, at: machine.end, constructors, persistentLoad: storages.load });
  const keys = unpickle(source, { ...plain, at: end });
  locateStorages(source, keys.value, keys.end, end, storages, windowBytes);
  return root;
}

function locateStorages(
  source: ByteSource,
  keys: unknown,
  begin: number,
  at: number,
  storages: LegacyStorages,
  windowBytes?: number,
): void {
  if (!Array.isArray(keys) || keys.length !== storages.count)
    throw damaged(source, at, `expected a list of ${storages.count} storages, found ${describeValue(keys)}`);
  const cursor = new ByteCursor(source, begin, Math.min(windowBytes ?? 4096, 4096));
  for (const key of keys) {
    const storage = storages.get(key);
    if (!storage || storage.located) throw damaged(source, cursor.position, `expected each storage once, found ${describeValue(key)}`);
    const length = cursor.int64();
    if (length !== BigInt(storage.length))
      throw damaged(source, cursor.position - 8, `expected ${storage.length} values in storage ${storage.key}, found ${length}`);
    storage.locate(source, cursor.position);
    cursor.skip(storage.byteLength);
  }
  if (cursor.remaining > 0)
    throw damaged(source, cursor.position, `expected the end of the container, found ${cursor.remaining} more bytes`);
}

/** What `torch.storage._load_from_bytes` gives: the object of a legacy container, whose own bytes hold no further ones. */
export const loadNestedIn =
  (budget: PickleBudget): LoadNested =>
  (bytes, context) => {
    const source = new SourceSlice(bytes.source, bytes.offset, bytes.offset + bytes.length);
    const magic = unpickle(source, { budget, windowBytes: NESTED_WINDOW_BYTES });
    if (magic.value !== LEGACY_MAGIC) throw context.fail(`expected a legacy container of PyTorch, found ${describeValue(magic.value)}`);
    return readLegacyContainer(source, magic.end, budget, true);
  };
