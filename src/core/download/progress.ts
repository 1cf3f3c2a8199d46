/**
 * How a download goes: bytes, speed and what is left.
 */

/** Where a download stands. */
export interface DownloadProgress {
  /** Name of the file. */
  file: string;
  /** Bytes that are there, those of an earlier download included. */
  bytes: number;
  /** Bytes of the whole file; undefined where the server does not say. */
  total: number | undefined;
  /** Over the last seconds. */
  bytesPerSecond: number;
  /** Undefined where the total or the speed is not known. */
  secondsLeft: number | undefined;
  /** True in the last report. */
  done: boolean;
}

const WINDOW_MILLISECONDS = 5_000;
const BETWEEN_REPORTS = 100;

/** Turns counts of bytes into reports, ten a second at most; the first and the last are always made. */
export class ProgressMeter {
  readonly #samples: { time: number; bytes: number }[] = [];
  #reported = -Infinity;

  constructor(
    private readonly file: string,
    private readonly report: (progress: DownloadProgress) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** The speed is measured anew from here: after a start, a resumption or a wait. */
  begin(bytes: number, total: number | undefined): void {
    this.#samples.length = 0;
    this.#reported = -Infinity;
    this.update(bytes, total);
  }

  update(bytes: number, total: number | undefined, done = false): void {
    const time = this.now();
    if (!done && time - this.#reported < BETWEEN_REPORTS) return;
    this.#reported = time;
    this.#samples.push({ time, bytes });
    while (this.#samples.length > 2 && time - this.#samples[1]!.time >= WINDOW_MILLISECONDS) this.#samples.shift();
    const oldest = this.#samples[0]!;
    const bytesPerSecond = time > oldest.time ? (1000 * (bytes - oldest.bytes)) / (time - oldest.time) : 0;
    const secondsLeft = total === undefined || bytesPerSecond <= 0 ? undefined : Math.max(0, total - bytes) / bytesPerSecond;
    this.report({ file: this.file, bytes, total, bytesPerSecond, secondsLeft, done });
  }
}
