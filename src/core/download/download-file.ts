/**
 * Fetches one file so that it appears whole or not at all, and goes on where it stopped.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { z } from 'zod';
import { freeMegabytes, withLock } from '../cache.js';
import { DownloadError, FileError } from '../errors.js';
import { toFileError, withFileErrors } from '../files.js';
import { formatBytes } from '../format.js';
import { parseOptions } from '../options.js';
import { ChunkQueue } from './chunk-queue.js';
import { Connection, connectionFailure, shownAddress, statusFailure, type Answer, type Headers } from './connection.js';
import { beginsLikePage, checkFormat, formatOfName, pageInsteadOfFile } from './file-format.js';
import { PartFile, type PartState } from './part-file.js';
import { ProgressMeter, type DownloadProgress } from './progress.js';
import { Transient, withRetries } from './retry.js';

const downloadOptions = z.strictObject({
  /** SHA-256 of the whole file in hexadecimal, or its beginning where no more is published; undefined: none is known. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{8,64}$/, 'expected 8 to 64 hexadecimal digits')
    .optional(),
  /** Bytes of the whole file; undefined: what the server says. */
  bytes: z.number().int().min(0).optional(),
  /** What the file must look like at its ends; undefined: what the end of its name says. A web page is refused in any case. */
  format: z.enum(['pickle', 'safetensors', 'zip']).optional(),
  /** Headers for the first server alone, such as a token; a redirect to another one does not take them along. */
  headers: z.record(z.string(), z.string()).default({}),
  /** What to do where the server forbids the file or has none. */
  help: z.string().optional(),
  /** How often in a row, without a byte coming through, it is tried again. */
  retries: z.number().int().min(0).default(5),
  /** Wait before the first repetition; doubles with each. */
  backoffMilliseconds: z.number().min(0).default(250),
  /** Longest time without a byte. */
  idleMilliseconds: z.number().int().positive().default(30_000),
  /** Takes reports, ten a second at most. */
  onProgress: z.custom<(progress: DownloadProgress) => void>((value) => typeof value === 'function', 'expected a function').optional(),
  /** Takes a line for a wait or a repetition. */
  onMessage: z.custom<(line: string) => void>((value) => typeof value === 'function', 'expected a function').optional(),
  /** Stops the download; what came stays, and the next one goes on from there. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
});

/**
 * Options of `downloadFile`.
 *
 * @interface
 */
export type DownloadOptions = z.input<typeof downloadOptions>;
type Settings = z.output<typeof downloadOptions>;

/**
 * Fetches `address` (http or https) to `path`, unless a file is there already; returns `path`.
 *
 * Two processes do not fetch the same file: one waits for the other. A cut connection, a busy server and a silent one are
 * tried again, and what came is kept: the rest is asked for with Range, if the server says that the file is still the same.
 *
 * @throws DownloadError `E_DOWNLOAD_ABSENT`, `_FORBIDDEN`, `_REFUSED`, `_BUSY`, `_UNREACHABLE`, `_PROXY`, `_REDIRECT`, `_PAGE`, `_FORMAT`,
 * `_LENGTH`, `_CHECKSUM`, `_ENCODING`; FileError `E_FILE_NO_SPACE` and others of writing; the signal's reason.
 */
export async function downloadFile(address: string, path: string, options: DownloadOptions = {}): Promise<string> {
  const settings = parseOptions(downloadOptions, options, 'downloadFile');
  const { signal, onMessage } = settings;
  if (existsSync(path)) return path;
  signal?.throwIfAborted();
  await withFileErrors(dirname(path), 'write', () => mkdir(dirname(path), { recursive: true }));
  const onWait = ({ pid, host }: { pid: number; host: string }): void =>
    onMessage?.(`${basename(path)}: process ${pid} on ${host} downloads it already: waiting`);
  try {
    await withLock(`${path}.lock`, { onWait, ...(signal !== undefined && { signal }) }, async () => {
      if (!existsSync(path)) await new Download(address, path, settings).run();
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw toFileError(error, path, 'write');
  }
  return path;
}

class Download {
  readonly #where: string;
  readonly #key: string;
  readonly #meter: ProgressMeter;
  readonly #connection: Connection;
  #part!: PartFile;
  /** Most bytes that were ever there: only more than that is progress. */
  #most = 0;
  /** The part holds bytes of more than one answer, or of an earlier download. */
  #joined = false;

  constructor(
    private readonly address: string,
    private readonly path: string,
    private readonly settings: Settings,
  ) {
    this.#where = shownAddress(address);
    this.#key = createHash('sha256').update(address).digest('hex');
    this.#meter = new ProgressMeter(basename(path), settings.onProgress ?? (() => {}));
    this.#connection = new Connection(settings);
  }

  async run(): Promise<void> {
    const { retries, backoffMilliseconds, signal, onMessage } = this.settings;
    this.#part = await PartFile.open(this.path, this.#key);
    this.#most = this.#part.size;
    this.#joined = this.#part.size > 0;
    try {
      await withRetries(
        {
          retries,
          backoffMilliseconds,
          signal,
          onRetry: (failure, wait, repetition) =>
            onMessage?.(
              `${failure.message.split('\n')[0]}; trying again${wait >= 1000 ? ` in ${Math.round(wait / 1000)} s` : ''} (${repetition} of ${retries})`,
            ),
        },
        async () => {
          await this.#fetchRest();
          await this.#verify();
        },
      );
      this.#meter.update(this.#part.size, this.#part.size, true);
    } finally {
      await this.#part.close();
      await this.#connection.close();
    }
  }

  async #restart(): Promise<void> {
    this.#joined = false;
    await this.#part.restart();
  }

  /** More bytes are there than ever before. */
  #progressed(): boolean {
    const before = this.#most;
    this.#most = Math.max(before, this.#part.size);
    return this.#most > before;
  }

  /** Fetches what is missing, or throws. */
  async #fetchRest(): Promise<void> {
    const { sha256, bytes } = this.settings;
    const part = this.#part;
    const state = part.state;
    const validator = state?.etag ?? state?.lastModified;
    if (part.size > 0 && validator === undefined && sha256 === undefined) await this.#restart();
    if (part.size > 0 && part.size === (bytes ?? state?.length)) return;
    const asked = part.size;

    const range: Headers = asked === 0 ? {} : { range: `bytes=${asked}-`, ...(validator !== undefined && { 'if-range': validator }) };
    const answer = await this.#connection.get(this.address, range, this.settings.headers);
    const chunks = new ChunkQueue(decoded(answer, this.#where));
    try {
      if (answer.status === 416 && asked > 0) return await this.#beyondTheEnd(answer, asked);
      if (answer.status !== 200 && answer.status !== 206)
        throw statusFailure(answer.status, answer.headers, this.address, this.settings.help);
      if (/^(text\/html|application\/xhtml)/i.test(answer.headers['content-type'] ?? '')) throw await this.#page(answer, chunks);
      const total = answer.status === 206 ? await this.#joins(answer, asked) : await this.#wholeLength(answer);
      if (bytes !== undefined && total !== undefined && total !== bytes)
        throw this.#lengthFailure(`the file should have ${bytes} bytes, the server says ${total}`);
      if (part.size > 0) this.#joined = true;
      await this.#needSpace(total);
      await part.begin(this.#stateOf(answer, total));
      await this.#append(answer, chunks, bytes ?? total);
    } finally {
      chunks.close();
      answer.body.destroy();
      await part.close();
    }
  }

  /** Length of the whole file that an answer of 200 announces; what was there is dropped. */
  async #wholeLength(answer: Answer): Promise<number | undefined> {
    if (this.#part.size > 0) {
      this.settings.onMessage?.(`${this.#where}: the server sends the whole file anew`);
      await this.#restart();
    }
    return encodingOf(answer) === undefined ? length(answer.headers['content-length']) : undefined;
  }

  /** Length of the whole file that an answer of 206 announces, if it is the rest that was asked for; else the download starts anew. */
  async #joins(answer: Answer, asked: number): Promise<number | undefined> {
    const { headers } = answer;
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
    const total = range?.[3] === '*' ? undefined : length(range?.[3]);
    const state = this.#part.state;
    const wrong =
      asked === 0
        ? 'a part of the file, though all of it was asked for'
        : range === null || Number(range[1]) !== asked
          ? `another part of the file than was asked for (${headers['content-range'] ?? 'no Content-Range'}, asked from ${asked})`
          : encodingOf(answer) !== undefined
            ? `a part of a compressed answer`
            : state?.length !== undefined && total !== undefined && total !== state.length
              ? `another length than before (${total}, it was ${state.length})`
              : state?.etag !== undefined && headers['etag'] !== undefined && headers['etag'] !== state.etag
                ? 'a part of another version of the file'
                : undefined;
    if (wrong === undefined) return total ?? state?.length;
    await this.#restart();
    throw new Transient(this.#lengthFailure(`the server sent ${wrong}`));
  }

  /** The rest of a file was asked for that ends before it: either all is there, or the file is another one. */
  async #beyondTheEnd(answer: Answer, asked: number): Promise<void> {
    const total = length(/^bytes \*\/(\d+)$/.exec(answer.headers['content-range'] ?? '')?.[1]);
    if (total === asked && (this.settings.bytes ?? total) === total && encodingOf(answer) === undefined) return;
    await this.#restart();
    throw new Transient(this.#lengthFailure(`the file ends before byte ${asked}, where the download had stopped`));
  }

  #stateOf(answer: Answer, total: number | undefined): PartState {
    const { headers, status } = answer;
    const compressed = encodingOf(answer) !== undefined;
    const before = status === 206 ? this.#part.state : undefined;
    const etag = headers['etag'] ?? before?.etag;
    const lastModified = headers['last-modified'] ?? before?.lastModified;
    return {
      url: this.#where,
      key: this.#key,
      // A weak tag does not promise the same bytes, and a compressed answer cannot be cut where the part ends.
      ...(!compressed && etag !== undefined && !etag.startsWith('W/') && { etag }),
      ...(!compressed && lastModified !== undefined && { lastModified }),
      ...(total !== undefined && { length: total }),
    };
  }

  async #append(answer: Answer, chunks: ChunkQueue, expected: number | undefined): Promise<void> {
    const part = this.#part;
    const before = part.size;
    this.#meter.begin(before, expected);
    let looked = before > 0;
    for (let chunk = await this.#next(chunks, expected); chunk !== undefined; chunk = await this.#next(chunks, expected)) {
      if (!looked && chunk.some((byte) => byte > 0x20)) {
        looked = true;
        if (beginsLikePage(chunk)) {
          await this.#restart();
          throw pageInsteadOfFile(this.#where, answer.headers['content-type'], chunk);
        }
      }
      if (expected !== undefined && part.size + chunk.byteLength > expected) {
        await this.#restart();
        throw new Transient(this.#lengthFailure(`more bytes came than the ${expected} that the file has`));
      }
      await part.append(chunk);
      this.#meter.update(part.size, expected);
    }
    if (expected !== undefined && part.size < expected)
      throw new Transient(this.#lengthFailure(`${part.size} of ${expected} bytes came`), undefined, this.#progressed());
    if (expected === undefined && part.size === 0) throw new Transient(this.#lengthFailure('nothing came'));
  }

  /** The next chunk; trouble on the way becomes what {@link connectionFailure} makes of it. */
  async #next(chunks: ChunkQueue, expected: number | undefined): Promise<Buffer | undefined> {
    try {
      return await chunks.next();
    } catch (error) {
      const came = ` (${formatBytes(this.#part.size)}${expected === undefined ? '' : ` of ${formatBytes(expected)}`} came)`;
      throw connectionFailure(error, this.address, this.#progressed(), came);
    }
  }

  async #verify(): Promise<void> {
    const { sha256, format = formatOfName(this.path), signal } = this.settings;
    const part = this.#part;
    if (sha256 !== undefined) {
      const found = await part.sha256(signal);
      if (!found.startsWith(sha256)) {
        const joined = this.#joined;
        await this.#restart();
        const failure = new DownloadError(
          'E_DOWNLOAD_CHECKSUM',
          `${this.#where}: the bytes are not those of the published file, and were deleted\n  expected SHA-256 ${sha256}\n  found            ${found}`,
          { help: 'try again; if it stays so, something between here and the server changes the file, or it was replaced there' },
        );
        // Two answers may be of two versions; one answer that is wrong stays wrong.
        throw joined ? new Transient(failure) : failure;
      }
    }
    if (format !== undefined) {
      try {
        await checkFormat(part.path, format, this.#where);
      } catch (error) {
        await this.#restart();
        throw error;
      }
    }
    await part.commit();
  }

  async #page(answer: Answer, chunks: ChunkQueue): Promise<DownloadError> {
    let beginning: Uint8Array = new Uint8Array();
    try {
      for (let chunk = await chunks.next(); chunk !== undefined && beginning.byteLength < 4096; chunk = await chunks.next())
        beginning = Buffer.concat([beginning, chunk]);
    } catch {
      // What came is enough.
    }
    return pageInsteadOfFile(this.#where, answer.headers['content-type'], beginning);
  }

  async #needSpace(total: number | undefined): Promise<void> {
    if (total === undefined) return;
    const needed = total - this.#part.size;
    const free = (await freeMegabytes(dirname(this.path))) * 1e6;
    if (needed <= free) return;
    throw new FileError(
      'E_FILE_NO_SPACE',
      `cannot write ${this.path}: it needs ${formatBytes(needed)} more, ${formatBytes(free)} are free`,
      {
        help: 'free some space on that disk, or keep the cache on another one with ONESTEP_CACHE',
      },
    );
  }

  #lengthFailure(what: string): DownloadError {
    return new DownloadError('E_DOWNLOAD_LENGTH', `${this.#where}: ${what}`, {
      help: 'try again; if it stays so, the server or a proxy is at fault: download the file by hand and give its path',
    });
  }
}

function encodingOf({ headers }: Answer): string | undefined {
  const encoding = headers['content-encoding']?.trim().toLowerCase();
  return encoding === undefined || encoding === '' || encoding === 'identity' ? undefined : encoding;
}

/** The body as the file is; none was asked to be compressed, yet some servers do it. */
function decoded(answer: Answer, where: string): Readable {
  const encoding = encodingOf(answer);
  if (encoding === undefined) return answer.body;
  const decoders = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate, br: createBrotliDecompress };
  if (!Object.hasOwn(decoders, encoding)) {
    answer.body.on('error', () => {}).destroy();
    throw new DownloadError('E_DOWNLOAD_ENCODING', `${where}: the server compresses the file as '${encoding}', which is not known here`, {
      help: 'download the file by hand and give its path',
    });
  }
  const decoder = decoders[encoding as keyof typeof decoders]();
  answer.body.on('error', (error) => decoder.destroy(error));
  return answer.body.pipe(decoder);
}

const length = (header: string | undefined): number | undefined =>
  header !== undefined && /^\d+$/.test(header.trim()) && Number.isSafeInteger(Number(header)) ? Number(header) : undefined;
