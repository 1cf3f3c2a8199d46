/**
 * Looks whether a downloaded file can be what its name says, by its first and last bytes.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { DownloadError } from '../errors.js';
import { withFileErrors } from '../files.js';
import { readSafetensors } from '../safetensors.js';

/** Formats that are looked at. */
export type FileFormat = 'pickle' | 'safetensors' | 'zip';

const HELP = 'the server sent something else under this address, or not all of it; download the file by hand and give its path';

/** The format that the end of a name promises; undefined where it promises none that is looked at. */
export const formatOfName = (name: string): FileFormat | undefined =>
  ({ pkl: 'pickle', safetensors: 'safetensors', zip: 'zip' })[/\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? ''] as
    FileFormat | undefined;

/** True where the first bytes are those of a page of HTML or XML, which no file of weights begins with. */
export function beginsLikePage(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.subarray(0, 512)).toString('latin1');
  return text
    .replace(/^\u00ef\u00bb\u00bf/, '')
    .trimStart()
    .startsWith('<');
}

/** The error for a page that came in place of a file, with its title: it often says what is wrong. */
export function pageInsteadOfFile(where: string, contentType: string | undefined, beginning: Uint8Array): DownloadError {
  const title = /<title[^>]*>([^<]{1,100})/i
    .exec(Buffer.from(beginning).toString('utf8'))?.[1]
    ?.replace(/[\s\p{Cc}]+/gu, ' ')
    .trim();
  return new DownloadError(
    'E_DOWNLOAD_PAGE',
    `${where}: a web page came in place of the file (${contentType ?? 'no content type'}${title === undefined ? '' : `, titled '${title}'`})`,
    { help: 'a proxy or a login page may be in the way: open the address in a browser, or download the file by hand and give its path' },
  );
}

/** Throws `E_DOWNLOAD_FORMAT` where the file at `path` cannot be of `format`, or its end is missing. */
export async function checkFormat(path: string, format: FileFormat, where: string): Promise<void> {
  let wrong: string | undefined;
  if (format === 'safetensors')
    wrong = await readSafetensors(path).then(
      () => undefined,
      (error: Error) => error.message.split('\n')[0]!.replace(`${path}: `, ''),
    );
  else
    wrong = await withFileErrors(path, 'read', async () => {
      const handle = await open(path, 'r');
      return (format === 'zip' ? wrongZip(handle) : wrongPickle(handle)).finally(() => handle.close());
    });
  if (wrong !== undefined)
    throw new DownloadError('E_DOWNLOAD_FORMAT', `${where}: expected a file of the format ${format}, but ${wrong}; it was deleted`, {
      help: HELP,
    });
}

/** An end record follows the last entry, and a comment of 64 KiB at most follows that. */
const ZIP_END = Buffer.from([0x50, 0x4b, 5, 6]);
const ZIP_END_BYTES = 22 + 0xffff;

async function wrongZip(handle: FileHandle): Promise<string | undefined> {
  const { size } = await handle.stat();
  const first = await bytesAt(handle, 0, 4);
  if (!isZip(first) && first.indexOf(ZIP_END) !== 0) return beginning(first);
  const last = await bytesAt(handle, Math.max(0, size - ZIP_END_BYTES), ZIP_END_BYTES);
  return last.includes(ZIP_END) ? undefined : 'its end is missing';
}

/** A plain pickle of protocol 2 to 5 ends with STOP; a file of PyTorch may be a zip, or a pickle that values follow. */
async function wrongPickle(handle: FileHandle): Promise<string | undefined> {
  const { size } = await handle.stat();
  const first = await bytesAt(handle, 0, 4);
  if (isZip(first)) return wrongZip(handle);
  if (first[0] !== 0x80 || first[1]! < 2 || first[1]! > 5) return beginning(first);
  if (first[1] === 2 && first[2] === 0x8a && first[3] === 10) return undefined; // the magic number of PyTorch's legacy container
  return (await bytesAt(handle, size - 1, 1))[0] === 0x2e ? undefined : 'its end is missing';
}

const isZip = (first: Buffer): boolean => first.toString('latin1') === 'PK\x03\x04';
const beginning = (first: Buffer): string => (first.length === 0 ? 'it is empty' : `it begins with the bytes ${first.toString('hex')}`);

async function bytesAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}
