import type { StepEvent } from '../core/contracts/events.js';

/** How much of its time a run has waited for data, added up from its step events. */
export class DataWait {
  #waited = 0;
  #seconds = 0;
  /** Of the last step of this process. */
  #elapsed = 0;

  add({ elapsedSeconds, waitShare }: StepEvent): void {
    const seconds = Math.max(0, elapsedSeconds - this.#elapsed);
    this.#elapsed = elapsedSeconds;
    this.#seconds += seconds;
    this.#waited += seconds * waitShare;
  }

  /** Another process goes on with the run: its clock begins at zero. */
  resume(): void {
    this.#elapsed = 0;
  }

  /** Such as `0.3%`; undefined before the first step. */
  get text(): string | undefined {
    return this.#seconds === 0 ? undefined : `${((100 * this.#waited) / this.#seconds).toFixed(1)}%`;
  }
}
