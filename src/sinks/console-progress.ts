import { z } from 'zod';
import type { RunEvent, Sink, StartedEvent, StepEvent } from '../core/contracts/events.js';
import { DataWait } from './data-wait.js';
import { parseOptions } from '../core/options.js';
import { formatDuration, formatKimg, formatNumber } from '../core/format.js';

/** What is needed of `process.stdout`. */
export interface ConsoleStream {
  write(text: string): unknown;
  isTTY?: boolean;
  /** Characters in a line of the terminal. */
  columns?: number;
}

const consoleOptions = z.strictObject({
  /** Where to write. */
  stream: z
    .custom<ConsoleStream>((value) => typeof value === 'object' && value !== null && 'write' in value, 'expected a stream')
    .optional(),
  /** Seconds between two progress lines where the stream is no terminal; on a terminal the line is rewritten ten times a second. */
  everySeconds: z.number().positive().default(30),
});

/**
 * Options of `consoleProgress`.
 *
 * @interface
 */
export type ConsoleProgressOptions = z.input<typeof consoleOptions>;

const ERASE_LINE = '\r\x1b[2K';

/**
 * A sink that shows how the run goes: one line rewritten in place on a terminal, plain lines elsewhere.
 * Evaluations, files, warnings and the end have lines of their own. Undefined stream: standard output.
 *
 * @throws ConfigError for wrong options.
 */
export function consoleProgress(options: ConsoleProgressOptions = {}): Sink {
  const { stream = process.stdout, everySeconds } = parseOptions(consoleOptions, options, 'consoleProgress');
  return {
    name: 'console-progress',
    async attach(events$) {
      const tty = stream.isTTY === true;
      let started: StartedEvent | undefined;
      let lastShown = -Infinity;
      let pending: StepEvent | undefined; // the newest step that was not shown
      let open = false; // a progress line without its line feed stands on the terminal
      const best = new Map<string, number>();
      const wait = new DataWait();

      const show = (event: StepEvent): void => {
        pending = undefined;
        lastShown = event.time;
        const line = progressLine(event, started, tty ? (stream.columns || 80) - 1 : 200, tty);
        stream.write(tty ? ERASE_LINE + line : `${line}\n`);
        open = tty;
      };
      const say = (line: string): void => {
        if (open) stream.write(ERASE_LINE);
        open = false;
        lastShown = tty ? -Infinity : lastShown;
        stream.write(`${plain(line)}\n`);
      };

      try {
        await events$.forEach((event) => {
          if (event.kind === 'step') {
            pending = event;
            wait.add(event);
            if (event.time - lastShown >= (tty ? 100 : everySeconds * 1000)) show(event);
            return;
          }
          if (event.kind === 'started') started = event;
          if (event.kind === 'ended' && pending !== undefined) show(pending);
          for (const line of eventLines(event, best, wait)) say(line);
        });
      } finally {
        if (open) stream.write('\n');
      }
    },
  };
}

/** Removes what could steer a terminal. */
const plain = (text: string): string => text.replace(/[^\P{Cc}\t\n]/gu, ' ');

/** Fits `width`: what matters most comes first, what does not fit is left out. */
function progressLine(event: StepEvent, started: StartedEvent | undefined, width: number, bar: boolean): string {
  const parts: string[] = [];
  const share = started === undefined || started.totalImages <= 0 ? undefined : Math.min(1, event.images / started.totalImages);
  if (share !== undefined) parts.push(`${(100 * share).toFixed(1).padStart(5)}%`);
  parts.push(
    started === undefined ? `${formatKimg(event.images)} kimg` : `${formatKimg(event.images)} of ${formatKimg(started.totalImages)} kimg`,
  );
  parts.push(`${formatDuration(event.remainingSeconds)} left`);
  parts.push(`${formatNumber(event.imagesPerSecond, 3)} images/s`);
  if (event.waitShare > 0.01) parts.push(`waits for data ${Math.round(100 * event.waitShare)}%`);
  for (const [name, value] of Object.entries(event.losses)) parts.push(`${name} ${formatNumber(value, 3)}`);

  let line = '';
  for (const part of parts) {
    const longer = line === '' ? part : `${line}  ${part}`;
    if (longer.length > width) break;
    line = longer;
  }
  const room = Math.min(24, width - line.length - 2);
  if (bar && share !== undefined && room >= 8) {
    const full = Math.floor(share * room);
    line = `${'━'.repeat(full)}${'─'.repeat(room - full)} ${line}`;
  }
  return plain(line);
}

function eventLines(event: RunEvent, best: Map<string, number>, wait: DataWait): string[] {
  const at = `${formatKimg(event.images)} kimg`;
  switch (event.kind) {
    case 'started': {
      const { generator, frozen, discriminator } = event.parameters;
      const millions = (count: number) => `${formatNumber(count / 1e6, 3)}M`;
      return [
        `${event.resumed ? `resumed at ${at}` : 'started'} on ${event.backend}: ${formatKimg(event.totalImages)} kimg in batches of ${event.batchSize}` +
          (event.runDir === undefined ? '' : `, into ${event.runDir}`),
        `generator ${millions(generator)} parameters (${millions(frozen)} frozen), discriminator ${millions(discriminator)}`,
      ];
    }
    case 'evaluation':
      return Object.entries(event.metrics).map(([name, value]) => {
        const before = best.get(name);
        best.set(name, Math.min(value, before ?? Infinity));
        return `${at}: ${name} ${formatNumber(value)}${before === undefined ? '' : ` (lowest before: ${formatNumber(before)})`}`;
      });
    case 'snapshot':
    case 'checkpoint':
      return [`${at}: ${event.kind} ${event.path}`];
    case 'warning':
      return [`${at}: warning ${event.code}: ${event.message}`];
    case 'paused':
    case 'continued':
      return [`${at}: ${event.kind}`];
    case 'ended': {
      const line = `${event.reason} at ${at} after ${formatDuration(event.seconds)}`;
      const waited = wait.text === undefined ? '' : `, ${wait.text} of it waiting for data`;
      return [event.error === undefined ? line + waited : `${line}: ${event.error.code}: ${event.error.message}`];
    }
    default:
      return [];
  }
}
