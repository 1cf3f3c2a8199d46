/**
 * Files of Hugging Face repositories: `hf:owner/name[/file][@revision]`.
 */
import { statSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileDownloadInfo, HubApiError, InvalidApiResponseFormatError, listFiles } from '@huggingface/hub';
import { z } from 'zod';
import { DownloadError, OnestepError } from '../errors.js';
import { withFileErrors, writeFileAtomic } from '../files.js';
import { formatBytes } from '../format.js';
import { Connection, connectionFailure, redirected, statusFailure } from './connection.js';
import { downloadFile } from './download-file.js';
import { hubAddress, hubToken } from './environment.js';
import { chooseFiles, type RepositoryFile } from './repository-files.js';
import { offlineFailure, type ReferenceSettings } from './reference-options.js';
import { withRetries } from './retry.js';

/** The parts of a reference; without a file the repository says which. */
export interface HubReference {
  repository: string;
  file: string | undefined;
  revision: string;
}

const SHAPE = 'hf:owner/name, hf:owner/name/file or hf:owner/name/file@revision';

/** Takes `hf:owner/name[/file][@revision]` apart; throws `E_DOWNLOAD_REFERENCE`. */
export function parseHubReference(reference: string): HubReference {
  const match = /^hf:([\w.-]+\/[\w.-]+)(?:\/([^@]+?))?\/?(?:@([^\s@]+))?$/.exec(reference);
  const parts = [...(match?.[1]?.split('/') ?? []), ...(match?.[2]?.split('/') ?? [])];
  if (match === null || parts.some((part) => part === '' || part === '.' || part === '..' || /[\\\p{Cc}]/u.test(part)))
    throw new DownloadError('E_DOWNLOAD_REFERENCE', `'${reference}' is no reference to a Hugging Face repository`, {
      help: `write ${SHAPE}`,
    });
  return { repository: match[1]!, file: match[2], revision: match[3] ?? 'main' };
}

const recordSchema = z.strictObject({
  commit: z.string(),
  /** What a reference without a file (key '') or to a folder was found to mean. */
  choices: z.record(z.string(), z.strictObject({ path: z.string(), files: z.array(z.string()).min(1) })),
});
type HubRecord = z.output<typeof recordSchema>;

const COMMIT = /^[0-9a-f]{40}$/;

/** The path of what a reference names, fetched if it is not in the cache. */
export async function resolveHubFile(reference: string, settings: ReferenceSettings): Promise<string> {
  const hub = new HubRepository(reference, settings);
  const cached = await hub.cached();
  if (cached !== undefined) return cached;
  if (settings.offline !== undefined) throw await hub.offline(settings.offline);
  return hub.fetch();
}

class HubRepository {
  readonly #reference: HubReference;
  readonly #root: string;
  readonly #hub = hubAddress();
  readonly #token = hubToken();
  #connection: Connection | undefined;

  constructor(
    private readonly text: string,
    private readonly settings: ReferenceSettings,
  ) {
    this.#reference = parseHubReference(text);
    this.#root = join(settings.downloads, 'huggingface', ...this.#reference.repository.split('/'));
  }

  #folder(revision: string): string {
    return join(this.#root, encodeURIComponent(revision));
  }

  get #recordPath(): string {
    return join(this.#root, `${encodeURIComponent(this.#reference.revision)}.json`);
  }

  async offline(forbids: string): Promise<DownloadError> {
    const { repository, file, revision } = this.#reference;
    const record = await this.#record();
    const missing = record?.choices[file ?? '']?.files
      .map((path) => join(this.#folder(record.commit), path))
      .filter((path) => !isFile(path));
    const byHand = join(this.#folder(revision), file ?? '');
    const place = missing?.join(' and ') ?? (file === undefined ? `${byHand} (config.json and the safetensors)` : byHand);
    return offlineFailure(this.text, `${this.#hub}/${repository}/resolve/${revision}/${file ?? ''}`, place, forbids);
  }

  /** What is there already: of the commit that the revision was last found to be, or put there by hand. */
  async cached(): Promise<string | undefined> {
    const { file, revision } = this.#reference;
    const record = await this.#record();
    const choice = record?.choices[file ?? ''];
    if (record !== undefined && choice !== undefined) {
      const folder = this.#folder(record.commit);
      if (choice.files.every((path) => isFile(join(folder, path)))) return join(folder, choice.path);
    }
    const places = [record?.commit, revision].flatMap((name) => (name === undefined ? [] : [join(this.#folder(name), file ?? '')]));
    const found = file === undefined ? undefined : places.find(isFile);
    if (found !== undefined || record !== undefined) return found;
    return places.find((folder) => isFile(join(folder, 'config.json')));
  }

  async #record(): Promise<HubRecord | undefined> {
    try {
      return recordSchema.parse(JSON.parse(await readFile(this.#recordPath, 'utf8')));
    } catch {
      return undefined; // absent or damaged: the hub is asked
    }
  }

  async #remember(commit: string, key: string | undefined, choice?: { path: string; files: string[] }): Promise<void> {
    const before = await this.#record();
    const choices = { ...(before?.commit === commit ? before.choices : {}), ...(choice !== undefined && { [key ?? '']: choice }) };
    await withFileErrors(this.#root, 'write', () => mkdir(this.#root, { recursive: true }));
    await writeFileAtomic(this.#recordPath, `${JSON.stringify({ commit, choices } satisfies HubRecord, null, 2)}\n`);
  }

  async fetch(): Promise<string> {
    const { file, revision } = this.#reference;
    this.#connection = new Connection({
      idleMilliseconds: this.settings.transfer.idleMilliseconds ?? 30_000,
      signal: this.settings.signal,
    });
    try {
      if (file !== undefined) {
        const found = await this.#locate(file, revision);
        if (found !== undefined) {
          await this.#remember(found.commit, undefined);
          return await this.#download(found);
        }
      }
      const listing = await this.#list(revision);
      const choice = chooseFiles(listing, file ?? '');
      if (choice === undefined) throw this.#undecided(listing);
      const located: Located[] = [];
      for (const { path, sha256 } of choice.files) {
        // All of them of the commit that the first one is of.
        const found = await this.#locate(path, located[0]?.commit ?? revision);
        if (found === undefined) throw this.#undecided(listing);
        located.push({ ...found, sha256: found.sha256 ?? sha256 });
      }
      const { commit } = located[0]!;
      await this.#remember(commit, file, { path: choice.path, files: choice.files.map(({ path }) => path) });
      for (const one of located) await this.#download(one);
      return join(this.#folder(commit), choice.path);
    } finally {
      await this.#connection.close();
    }
  }

  #download({ path, commit, url, bytes, sha256 }: Located): Promise<string> {
    return downloadFile(url, join(this.#folder(commit), path), {
      ...this.settings.transfer,
      ...(bytes !== undefined && { bytes }),
      ...(sha256 !== undefined && { sha256 }),
      ...(this.#token !== undefined && { headers: { authorization: `Bearer ${this.#token}` } }),
      help: this.#accessHelp(),
    });
  }

  /** Address, length, checksum and commit of a file; undefined where the repository has no such file. */
  #locate(path: string, revision: string): Promise<Located | undefined> {
    return this.#ask(async (fetch, seen) => {
      const encoded = path.split('/').map(encodeURIComponent).join('/');
      const info = await fileDownloadInfo({ repo: this.#reference.repository, path: encoded, revision, hubUrl: this.#hub, fetch }).catch(
        async (error: unknown) => {
          // A mirror may leave out what the library asks for; the listing has it too.
          if (!(error instanceof InvalidApiResponseFormatError)) throw error;
          const entry = (await this.#list(revision)).find((listed) => listed.path === path);
          return { size: entry?.size, etag: entry?.sha256 ?? '', url: undefined };
        },
      );
      if (info === null) return undefined;
      const said = seen.get('x-repo-commit') ?? '';
      const commit = COMMIT.test(said) ? said : revision;
      return {
        path,
        commit,
        url: `${this.#hub}/${this.#reference.repository}/resolve/${encodeURIComponent(commit)}/${encoded}`,
        bytes: info.size,
        sha256: /^"?([0-9a-f]{64})"?$/.exec(seen.get('x-linked-etag') ?? info.etag)?.[1],
      };
    });
  }

  #list(revision: string): Promise<RepositoryFile[]> {
    return this.#ask(async (fetch) => {
      const files: RepositoryFile[] = [];
      // The library writes the revision into the address as it is.
      const listing = listFiles({
        repo: this.#reference.repository,
        revision: encodeURIComponent(revision),
        recursive: true,
        hubUrl: this.#hub,
        fetch,
      });
      for await (const { type, path, size, lfs } of listing)
        if (type === 'file') files.push({ path, size: lfs?.size ?? size, sha256: lfs?.oid.replace(/^sha256:/, '') });
      return files;
    });
  }

  /** Runs a call of the library with our connections, token and retries; `seen` holds the headers of all answers on the way: those of the hub stand in the redirect. */
  #ask<T>(call: (fetch: typeof globalThis.fetch, seen: Map<string, string>) => Promise<T>): Promise<T> {
    const { signal, onMessage, transfer } = this.settings;
    const { retries = 5, backoffMilliseconds = 250 } = transfer;
    const onRetry = (failure: OnestepError): void => onMessage(`${failure.message.split('\n')[0]}; trying again`);
    return withRetries({ retries, backoffMilliseconds, signal, onRetry }, async () => {
      const seen = new Map<string, string>();
      const unread = new AbortController();
      let address = this.#hub;
      const fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
        address = String(input);
        for (let redirects = 0; ; redirects++) {
          const token = new URL(address).origin === new URL(this.#hub).origin ? this.#token : undefined;
          const headers = { ...(init.headers as Record<string, string>), ...(token !== undefined && { authorization: `Bearer ${token}` }) };
          const response = await this.#connection!.fetch(address, { ...init, headers, signal: unread.signal, redirect: 'manual' });
          for (const [name, value] of response.headers) seen.set(name, value);
          const location = response.headers.get('location');
          if (response.status < 300 || response.status >= 400 || location === null || redirects === 10) return response;
          address = redirected(new URL(address), location).href;
        }
      };
      try {
        return await call(fetch as typeof globalThis.fetch, seen);
      } catch (error) {
        if (error instanceof OnestepError) throw error;
        if (error instanceof HubApiError) throw this.#statusFailure(error, Object.fromEntries(seen));
        if (error instanceof SyntaxError || error instanceof InvalidApiResponseFormatError)
          throw new DownloadError('E_DOWNLOAD_PAGE', `${this.#hub}: the answer is none of a Hugging Face hub: ${error.message}`, {
            help: 'check HF_ENDPOINT; a proxy or a login page may be in the way',
            cause: error,
          });
        throw connectionFailure(error, address);
      } finally {
        unread.abort(); // the library leaves bodies unread
      }
    });
  }

  #statusFailure(error: HubApiError, headers: Record<string, string>): Error {
    const message = headers['x-error-message'];
    const help = [401, 403, 404].includes(error.statusCode)
      ? `${message === undefined ? '' : `${message} — `}${this.#accessHelp()}`
      : undefined;
    return statusFailure(error.statusCode, headers, error.url || this.#hub, help);
  }

  #accessHelp(): string {
    const page = `${this.#hub}/${this.#reference.repository}`;
    return this.#token === undefined
      ? `check the name at ${page}; if the repository is private or gated, accept its terms there and set HF_TOKEN to a token of yours`
      : `check the name at ${page}; HF_TOKEN is set, but it may have no right to it: accept the terms there, or use a token that may read it`;
  }

  #undecided(listing: readonly RepositoryFile[]): DownloadError {
    const { repository, file, revision } = this.#reference;
    const shown = listing.slice(0, 40).map(({ path, size }) => `  ${path}  ${formatBytes(size)}`);
    if (listing.length > shown.length) shown.push(`  … and ${listing.length - shown.length} more`);
    const what =
      file === undefined
        ? 'expected a diffusers folder (config.json and safetensors) or a single .safetensors, .pth or .pkl'
        : `there is neither a file '${file}' in it nor a folder that holds one network`;
    return new DownloadError('E_DOWNLOAD_ABSENT', `${this.text}: ${what}; the files of ${revision} are\n${shown.join('\n')}`, {
      help: `name one: hf:${repository}/FILE`,
    });
  }
}

/** False for a folder, and where nothing is. */
const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

/** A file of the repository, as it is to be fetched. */
interface Located {
  path: string;
  commit: string;
  url: string;
  bytes: number | undefined;
  sha256: string | undefined;
}
