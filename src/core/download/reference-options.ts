/**
 * What every kind of reference is resolved with.
 */
import { z } from 'zod';
import { cacheDirectory } from '../cache.js';
import { DownloadError } from '../errors.js';
import { join, resolve } from 'node:path';
import { consoleDownload } from './console-download.js';
import { offlineVariable } from './environment.js';
import type { DownloadProgress } from './progress.js';

const callback = <T>() => z.custom<T>((value) => typeof value === 'function', 'expected a function').optional();

/** Options of `resolveReference`, but for what is published. */
export const referenceOptions = z.strictObject({
  /** Where downloads are kept, in its folder `downloads`; undefined: `cacheDirectory()`. */
  cacheDir: z.string().min(1).optional(),
  /** True: no connection is made; undefined: as ONESTEP_OFFLINE and HF_HUB_OFFLINE say. */
  offline: z.boolean().optional(),
  /** Takes reports, ten a second at most; undefined: they are shown on standard error. */
  onProgress: callback<(progress: DownloadProgress) => void>(),
  /** Takes a line for a licence, a wait or a repetition; undefined: standard error. */
  onMessage: callback<(line: string) => void>(),
  /** Stops the download; the next one goes on from there. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
  /** How often in a row, without a byte coming through, it is tried again; default 5. */
  retries: z.number().int().min(0).optional(),
  /** Wait before the first repetition; doubles with each; default 250. */
  backoffMilliseconds: z.number().min(0).optional(),
  /** Longest time without a byte; default 30,000. */
  idleMilliseconds: z.number().int().positive().optional(),
});

/** What is made of the options. */
export interface ReferenceSettings {
  /** The folder of downloads. */
  readonly downloads: string;
  /** What forbids connections; undefined: nothing does. */
  readonly offline: string | undefined;
  readonly onMessage: (line: string) => void;
  readonly signal: AbortSignal | undefined;
  /** Goes to `downloadFile` as it is. */
  readonly transfer: {
    onProgress: (progress: DownloadProgress) => void;
    onMessage: (line: string) => void;
    signal?: AbortSignal;
    retries?: number;
    backoffMilliseconds?: number;
    idleMilliseconds?: number;
  };
}

/** Fills in what the environment says. */
export function referenceSettings(options: z.output<typeof referenceOptions>): ReferenceSettings {
  const { cacheDir, offline, onProgress, onMessage, ...rest } = options;
  const shown = consoleDownload();
  const say = onMessage ?? shown.onMessage;
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return {
    downloads: join(cacheDir === undefined ? cacheDirectory() : resolve(cacheDir), 'downloads'),
    offline: offline === undefined ? offlineVariable() : offline ? 'the option offline' : undefined,
    onMessage: say,
    signal: rest.signal,
    transfer: { ...given, onProgress: onProgress ?? shown.onProgress, onMessage: say },
  };
}

/** The error where a file is needed and no connection may be made. */
export const offlineFailure = (reference: string, address: string, place: string, offline: string): DownloadError =>
  new DownloadError(
    'E_DOWNLOAD_OFFLINE',
    `${reference}: is not in the cache, and ${offline} forbids to fetch it\n  file needed: ${address}`,
    {
      help: `fetch it on another machine and put it at ${place}, or allow connections`,
    },
  );
