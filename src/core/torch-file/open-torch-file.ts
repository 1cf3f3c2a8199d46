/**
 * PyTorch's files, opened by what is in them: the zip container, the legacy container, and plain pickles whose tensors lie in them as bytes.
 */
import { FileError } from '../errors.js';
import { ByteCursor, FileSource, PickleBudget, unpickle, type ByteSource } from '../pickle/index.js';
import { LEGACY_MAGIC, loadNestedIn, readLegacyContainer } from './legacy-container.js';
import { torchConstructors } from './torch-constructors.js';
import { readZipContainer } from './zip-container.js';

/** An open PyTorch file; it holds no file handle, so there is nothing to close. */
export interface TorchFile {
  readonly path: string;
  readonly container: 'pickle' | 'zip' | 'legacy';
  /** Its object: Maps, arrays, numbers, texts, {@link PickledObject}, {@link PersistentObject}, with a {@link TorchTensor} for every tensor. */
  readonly root: unknown;
}

/**
 * Opens a `.pkl`, `.pt`, `.pth` or `.ckpt`: reads what describes its tensors, and their values when they are asked for. Nothing of the file is ever run.
 *
 * Throws {@link FileError}: `E_PICKLE_GLOBAL` for a name that is not on the list of data constructors, `E_PICKLE_OPCODE`, `E_PICKLE_LIMIT`,
 * `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`, `E_FILE_TRUNCATED`, `E_FILE_FORMAT`, `E_FILE_UNSUPPORTED`.
 */
export async function openTorchFile(path: string): Promise<TorchFile> {
  const source = new FileSource(path);
  try {
    return { path, ...(await readTorchFile(source)) };
  } finally {
    source.close();
  }
}

/** {@link openTorchFile} of any source. */
export async function readTorchFile(source: ByteSource): Promise<Omit<TorchFile, 'path'>> {
  refuseOtherFormats(source);
  const budget = new PickleBudget(source.name);
  if (startOf(source, 2) === 'PK') return { container: 'zip', root: await readZipContainer(source, budget) };

  const { value, end } = unpickle(source, { budget, constructors: torchConstructors(loadNestedIn(budget)) });
  if (value === LEGACY_MAGIC) return { container: 'legacy', root: readLegacyContainer(source, end, budget) };
  if (end !== source.size)
    throw new FileError(
      'E_FILE_FORMAT',
      `${source.name}: expected the end of the file at byte ${end}, found ${source.size - end} more bytes`,
      {
        help: 'the file is more than one pickle, or damaged; download or write it again',
      },
    );
  return { container: 'pickle', root: value };
}

const startOf = (source: ByteSource, count: number, at = 0): string =>
  at >= source.size ? '' : Buffer.from(new ByteCursor(source, at).bytes(Math.min(count, source.size - at))).toString('latin1');

/** Formats that one may well have under these names. */
function refuseOtherFormats(source: ByteSource): void {
  const refuse = (found: string, help: string) =>
    new FileError('E_FILE_UNSUPPORTED', `${source.name}: expected a pickle or a PyTorch file, found ${found}`, { help });
  if (source.size === 0)
    throw new FileError('E_FILE_TRUNCATED', `${source.name}: expected a PyTorch file, found no bytes`, { help: 'download it again' });
  if (startOf(source, 5, 257) === 'ustar')
    throw refuse('a tar archive, the container of PyTorch before 0.1.10', 'load it in PyTorch and save its state dict again');
  if (startOf(source, 24).startsWith('version https://git-lfs'))
    throw refuse('a Git LFS pointer', 'it only names the file: run `git lfs pull`, or download the file itself');
  if (/^\s*<(!doctype|html)/i.test(startOf(source, 40)))
    throw refuse('a page of HTML', 'the download gave a web page; take the address of the file itself');
  if (source.size > 9 && startOf(source, 2, 8) === '{"') throw refuse('a safetensors file', 'open it as one: readSafetensors(path)');
}
