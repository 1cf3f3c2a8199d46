/**
 * PyTorch's container since version 1.6: a zip archive of stored entries, `ROOT/data.pkl` with the objects and `ROOT/data/KEY` with the values of each storage.
 */
import { FileError } from '../errors.js';
import { printable, SourceSlice, unpickle, type ByteSource, type ConstructionContext, type PickleBudget } from '../pickle/index.js';
import { loadNestedIn } from './legacy-container.js';
import { storageReference, torchConstructors } from './torch-constructors.js';
import { type TorchStorage } from './torch-storage.js';
import { listZip, type ZipEntry } from './zip-entries.js';

const unsupported = (file: string, found: string, help: string) => new FileError('E_FILE_UNSUPPORTED', `${file}: ${found}`, { help });
const damaged = (file: string, problem: string) =>
  new FileError('E_FILE_FORMAT', `${file}: ${problem}`, { help: 'this is no whole PyTorch file; download or write it again' });

/** A small entry as text. */
function textOf(source: ByteSource, entry: ZipEntry): string {
  if (entry.end - entry.begin > 64)
    throw damaged(source.name, `entry ${printable(entry.name)}: expected a word, found ${entry.end - entry.begin} bytes`);
  const bytes = new Uint8Array(entry.end - entry.begin);
  source.readSync(bytes, entry.begin);
  return Buffer.from(bytes).toString('latin1').trim();
}

/** Storages, found in the archive where the pickle first names them. */
class ZipStorages {
  readonly #byKey = new Map<string, TorchStorage>();

  constructor(
    private readonly source: ByteSource,
    private readonly entries: ReadonlyMap<string, ZipEntry>,
    private readonly root: string,
  ) {}

  /** For `persistentLoad`. */
  readonly load = (id: unknown, context: ConstructionContext): TorchStorage => {
    const { storage } = storageReference(id, context);
    const known = this.#byKey.get(storage.key);
    if (known) {
      if (known.dtype === storage.dtype && known.length === storage.length) return known;
      throw context.fail(`expected storage ${storage.key} of ${known.length} ${known.dtype}, found ${storage.length} ${storage.dtype}`);
    }
    const name = `${this.root}data/${storage.key}`;
    const entry = this.entries.get(name);
    if (!entry) throw context.fail(`expected an entry ${printable(name)} in the archive, found ${this.entries.size} others`);
    if (entry.end - entry.begin !== storage.byteLength)
      throw context.fail(
        `entry ${printable(name)}: expected ${storage.byteLength} bytes for ${storage.length} ${storage.dtype}, found ${entry.end - entry.begin}`,
      );
    context.budget.spend('storages', 1);
    storage.locate(this.source, entry.begin);
    this.#byKey.set(storage.key, storage);
    return storage;
  };
}

/** The folder that the archive keeps everything in, as `archive/`. */
function rootOf(file: string, names: readonly string[]): string {
  const [pickle, ...others] = names.filter((name) => /^([^/]+\/)?data\.pkl$/.test(name));
  if (pickle === undefined || others.length > 0)
    throw damaged(
      file,
      `expected one data.pkl in the archive, found ${pickle === undefined ? 'none' : others.length + 1} among ${names.length} entries`,
    );
  const root = pickle.slice(0, -'data.pkl'.length);
  if (names.some((name) => name === `${root}constants.pkl` || name.startsWith(`${root}code/`)))
    throw unsupported(
      file,
      'expected weights, found a TorchScript program',
      "take its weights in Python: torch.save(torch.jit.load('IN').state_dict(), 'OUT.pth')",
    );
  return root;
}

/** Reads the object of a zip container. */
export async function readZipContainer(source: ByteSource, budget: PickleBudget): Promise<unknown> {
  let root = '';
  const entries = await listZip(source, (names) => {
    root = rootOf(source.name, names);
  });
  const order = entries.get(`${root}byteorder`);
  if (order && textOf(source, order) !== 'little')
    throw unsupported(
      source.name,
      `expected little-endian values, found byte order ${printable(textOf(source, order))}`,
      'load it in PyTorch and save it again on a little-endian machine',
    );

  const { begin, end } = entries.get(`${root}data.pkl`)!;
  const pickle = new SourceSlice(source, begin, end);
  const storages = new ZipStorages(source, entries, root);
  const read = unpickle(pickle, { budget, constructors: torchConstructors(loadNestedIn(budget)), persistentLoad: storages.load });
  if (read.end !== pickle.size) throw damaged(source.name, `entry data.pkl: expected ${read.end} bytes of pickle, found ${pickle.size}`);
  return read.value;
}
