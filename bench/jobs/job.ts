/** What `npm run bench` measures. */
export interface JobOptions {
  batch: number;
  /** Images at a time in a step that accumulates gradients. */
  microBatch: number;
}

/** A job that is ready to run. */
export interface PreparedJob {
  /** One step, its result read back. */
  run(): void;
  /** Parameters that each network trains. */
  trained: number[];
}

export interface Job {
  title: string;
  batch: number;
  /** How many times as fast as PyTorch it has to be, in no more memory; undefined where nothing is demanded. */
  bar?: number;
  /** Runs in a row before the other side's turn: more of short ones. */
  repeats: number;
  prepare(options: JobOptions): PreparedJob;
}
