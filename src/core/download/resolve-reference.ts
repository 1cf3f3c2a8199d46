/**
 * From a reference to a path on the disk.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { DownloadError, FileError } from '../errors.js';
import { parseOptions } from '../options.js';
import { downloadFile } from './download-file.js';
import type { FileFormat } from './file-format.js';
import { resolveHubFile } from './hugging-face.js';
import { offlineFailure, referenceOptions, referenceSettings, type ReferenceSettings } from './reference-options.js';

/** A file that somebody published and that has a name here. */
export interface PublishedFile {
  /** Its published address. */
  readonly address: string;
  /** Its name on the disk. */
  readonly fileName: string;
  readonly format?: FileFormat;
  /** SHA-256 in hexadecimal, or its beginning; undefined: none is published. */
  readonly sha256?: string;
  /** Said before it is downloaded. */
  readonly licence?: string;
}

const options = referenceOptions.extend({
  /** Names that stand for published files. */
  published: z
    .custom<Readonly<Record<string, PublishedFile>>>((value) => typeof value === 'object' && value !== null, 'expected an object')
    .default({}),
});

/**
 * Options of `resolveReference`.
 *
 * @interface
 */
export type ResolveReferenceOptions = z.input<typeof options>;

/**
 * The path of what `reference` names, fetched into the cache if it is not there: a path that exists, a name of `published`,
 * `https://…`, or `hf:owner/name[/file][@revision]` (a file, or a folder of config.json and safetensors).
 *
 * What is in the cache is not asked for again.
 *
 * @throws FileError `E_FILE_ABSENT` for a path that does not exist; DownloadError `E_DOWNLOAD_NAME` for an unknown name (with the nearest
 * ones), `E_DOWNLOAD_REFERENCE`, `E_DOWNLOAD_OFFLINE`, and those of `downloadFile`.
 */
export async function resolveReference(reference: string, given: ResolveReferenceOptions = {}): Promise<string> {
  const { published, ...rest } = parseOptions(options, given, 'resolveReference');
  if (reference !== '' && existsSync(reference)) return reference;
  const settings = referenceSettings(rest);
  if (/^https?:\/\//i.test(reference)) return resolveAddress(reference, settings);
  if (reference.startsWith('hf:')) return resolveHubFile(reference, settings);
  const file = Object.hasOwn(published, reference) ? published[reference] : undefined;
  if (file !== undefined) return resolvePublished(reference, file, settings);
  throw unknown(reference, published);
}

/** Where the file of a published name is kept; it need not be there. */
export const publishedFilePath = (downloads: string, { fileName }: PublishedFile): string => join(downloads, 'published', fileName);

async function resolvePublished(name: string, file: PublishedFile, settings: ReferenceSettings): Promise<string> {
  const path = publishedFilePath(settings.downloads, file);
  if (existsSync(path)) return path;
  if (settings.offline !== undefined) throw offlineFailure(name, file.address, path, settings.offline);
  if (file.licence !== undefined) settings.onMessage(`${name}: ${file.licence}`);
  return downloadFile(file.address, path, {
    ...settings.transfer,
    ...(file.format !== undefined && { format: file.format }),
    ...(file.sha256 !== undefined && { sha256: file.sha256 }),
    help: `download it by hand and put it at ${path}`,
  });
}

async function resolveAddress(address: string, settings: ReferenceSettings): Promise<string> {
  if (!URL.canParse(address)) throw new DownloadError('E_DOWNLOAD_REFERENCE', `'${address}' is no address`, { help: HELP });
  const url = new URL(address);
  url.hash = '';
  // Two addresses may end in the same name.
  const key = createHash('sha256').update(url.href).digest('hex').slice(0, 12);
  const path = join(settings.downloads, url.host.replace(/[^\w.-]/g, '_'), key, fileNameOf(url));
  if (existsSync(path)) return path;
  if (settings.offline !== undefined)
    throw offlineFailure(`${url.origin}${url.pathname}`, `${url.origin}${url.pathname}`, path, settings.offline);
  return downloadFile(url.href, path, settings.transfer);
}

/** The last part of an address as a file's name on any system. */
function fileNameOf({ pathname }: URL): string {
  let name = basename(pathname);
  try {
    name = decodeURIComponent(name);
  } catch {
    // It stays as it is.
  }
  name = name.replace(/[^\w.+=-]/g, '_').replace(/^\.+/, '');
  return name === '' ? 'download' : name.slice(-120);
}

const HELP = 'give the path of a file, a published name, https://…, or hf:owner/name[/file][@revision]';

function unknown(reference: string, published: Readonly<Record<string, PublishedFile>>): Error {
  const names = Object.keys(published);
  const scheme = /^([a-z][a-z\d+.-]+):\/\//i.exec(reference)?.[1];
  if (scheme !== undefined)
    return new DownloadError('E_DOWNLOAD_REFERENCE', `${scheme}: addresses are not fetched: ${reference}`, { help: HELP });
  const base = basename(reference);
  const stem = names.find((name) => published[name]!.fileName === base);
  if (stem !== undefined)
    return new FileError('E_FILE_ABSENT', `${reference}: no such file`, {
      help: `check the path, or give the name ${stem} without an ending: it is then fetched into the cache`,
    });
  if (/[\\/]|\.[a-z]\w*$/i.test(reference) || names.length === 0)
    return new FileError('E_FILE_ABSENT', `${reference}: no such file`, {
      help: `check the path; a relative one starts at the current directory. Or ${HELP}`,
    });
  const near = nearest(reference, names);
  return new DownloadError(
    'E_DOWNLOAD_NAME',
    `'${reference}' is neither a file nor a published name; the names are\n${names.map((name) => `  ${name}`).join('\n')}`,
    { help: near.length === 0 ? HELP : `did you mean ${near.join(' or ')}?` },
  );
}

/** The names that take the fewest changes, if that is less than a third of their letters; three at most. */
export function nearest(wrong: string, names: readonly string[]): string[] {
  const ranked = names
    .map((name) => ({ name, changes: changes(wrong.toLowerCase(), name) }))
    .filter(({ name, changes }) => changes <= Math.max(name.length, wrong.length) / 3)
    .sort((a, b) => a.changes - b.changes);
  const [best] = ranked;
  return best === undefined
    ? []
    : ranked
        .filter((other) => other.changes <= best.changes + 1)
        .slice(0, 3)
        .map(({ name }) => name);
}

/** Levenshtein's distance: letters inserted, left out or replaced. */
function changes(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let i = 1; i <= Math.min(from.length, 200); i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[to.length]!;
}
