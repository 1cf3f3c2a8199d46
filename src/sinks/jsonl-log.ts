import { closeSync, fstatSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { RunEvent, SamplesEvent, Sink } from '../core/contracts/events.js';
import { toFileError } from '../core/files.js';

/** An event as logged: samples come without their pixels; a number that is not finite is a string, such as `"NaN"`. */
export type LoggedEvent = Exclude<RunEvent, SamplesEvent> | Omit<SamplesEvent, 'batch'>;

/** The log's name in the run's directory. */
export const EVENTS_FILE = 'events.jsonl';

/**
 * A sink that appends each event as a line of JSON to `events.jsonl` in the run's directory. Does nothing in a run without a directory.
 *
 * A line is handed to the operating system before the next event, so that a killed process loses none; all events but `step` are
 * flushed to the disk too. A resumed run goes on in the same file; half a line left by a killed process is removed first.
 *
 * @throws FileError from `attach` where the file cannot be written.
 */
export function jsonlLog(): Sink {
  return {
    name: 'jsonl-log',
    async attach(events$, { runDir }) {
      if (runDir === undefined) return;
      const path = join(runDir, EVENTS_FILE);
      const io = <T>(action: () => T): T => {
        try {
          return action();
        } catch (error) {
          throw toFileError(error, path, 'write');
        }
      };
      const file = io(() => {
        mkdirSync(runDir, { recursive: true });
        return openSync(path, 'a+');
      });
      try {
        io(() => removeHalfLine(file));
        await events$.forEach((event) =>
          io(() => {
            writeSync(file, toLine(event));
            if (event.kind !== 'step') fsyncSync(file);
          }),
        );
      } finally {
        closeSync(file);
      }
    },
  };
}

/** One line of the log, its line feed included. */
function toLine(event: RunEvent): string {
  const logged = event.kind === 'samples' ? { ...event, batch: undefined } : event;
  return (
    JSON.stringify(logged, (_, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value)) + '\n'
  );
}

/** Cuts the file after its last line feed. */
function removeHalfLine(file: number): void {
  const { size } = fstatSync(file);
  const chunk = Buffer.alloc(64 * 1024);
  let end = size;
  while (end > 0) {
    const start = Math.max(0, end - chunk.length);
    const count = readSync(file, chunk, 0, end - start, start);
    const at = chunk.subarray(0, count).lastIndexOf(10);
    if (at >= 0) {
      end = start + at + 1;
      break;
    }
    end = start;
  }
  if (end < size) ftruncateSync(file, end);
}

/**
 * The events of a log, oldest first, in constant memory. Lines that are not JSON objects are skipped; a missing file has no events.
 *
 * @param path of `events.jsonl`.
 * @throws FileError where the file exists and cannot be read.
 */
export function* readEvents(path: string): Generator<LoggedEvent> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw toFileError(error, path, 'read');
  }
  try {
    const chunk = Buffer.alloc(256 * 1024);
    let rest: Buffer = Buffer.alloc(0);
    for (let count = readSync(file, chunk); count > 0; count = readSync(file, chunk)) {
      const bytes = Buffer.concat([rest, chunk.subarray(0, count)]);
      let start = 0;
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
        const event = parse(bytes.toString('utf8', start, end));
        if (event !== undefined) yield event;
        start = end + 1;
      }
      rest = bytes.subarray(start);
    }
  } finally {
    closeSync(file);
  }
}

function parse(line: string): LoggedEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'kind' in value ? (value as LoggedEvent) : undefined;
  } catch {
    return undefined;
  }
}
