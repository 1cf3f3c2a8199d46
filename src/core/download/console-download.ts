import { formatBytes, formatDuration } from '../format.js';
import type { DownloadProgress } from './progress.js';

/** What is needed of `process.stderr`. */
export interface DownloadStream {
  write(text: string): unknown;
  isTTY?: boolean;
  /** Characters in a line of the terminal. */
  columns?: number;
}

const ERASE_LINE = '\r\x1b[2K';

/** Removes what could steer a terminal. */
const plain = (text: string): string => text.replace(/[^\P{Cc}\t\n]/gu, ' ');

/** In a log: a line at the start, at each quarter, after so many seconds without one, and at the end. */
const LOG_MILLISECONDS = 30_000;

/**
 * Shows downloads: one line rewritten in place on a terminal, a few lines elsewhere. Messages have lines of their own.
 *
 * Undefined stream: standard error.
 */
export function consoleDownload(stream: DownloadStream = process.stderr): {
  onProgress: (progress: DownloadProgress) => void;
  onMessage: (line: string) => void;
} {
  const tty = stream.isTTY === true;
  let open = false;
  let file: string | undefined;
  let quarter = -1;
  let shown = -Infinity;

  const onProgress = (progress: DownloadProgress): void => {
    if (tty) {
      stream.write(ERASE_LINE + progressLine(progress, (stream.columns || 80) - 1) + (progress.done ? '\n' : ''));
      open = !progress.done;
      return;
    }
    const now = performance.now();
    const reached = progress.total === undefined ? 0 : Math.floor((4 * progress.bytes) / Math.max(1, progress.total));
    if (file === progress.file && !progress.done && reached <= quarter && now - shown < LOG_MILLISECONDS) return;
    [file, quarter, shown] = progress.done ? [undefined, -1, -Infinity] : [progress.file, reached, now];
    stream.write(`${progressLine(progress, 200)}\n`);
  };
  const onMessage = (line: string): void => {
    stream.write(`${open ? ERASE_LINE : ''}${plain(line)}\n`);
    open = false;
  };
  return { onProgress, onMessage };
}

/** Fits `width`: what does not fit is left out from the end, and a long name loses its front. */
function progressLine({ file, bytes, total, bytesPerSecond, secondsLeft, done }: DownloadProgress, width: number): string {
  const parts: string[] = [];
  if (done) parts.push(`downloaded ${formatBytes(bytes)}`);
  else {
    if (total !== undefined) parts.push(`${((100 * bytes) / Math.max(1, total)).toFixed(0).padStart(3)}%`);
    parts.push(total === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(total)}`);
    if (bytesPerSecond > 0) parts.push(`${formatBytes(bytesPerSecond)}/s`);
    if (secondsLeft !== undefined) parts.push(`${formatDuration(secondsLeft)} left`);
  }
  const rest = parts.join('  ');
  const room = Math.max(12, width - rest.length - 2);
  const name = file.length <= room ? file : `…${file.slice(file.length - room + 1)}`;
  return plain(`${name}  ${rest}`).slice(0, width);
}
