/**
 * Ctrl-C: the first asks a run to end with a checkpoint, the second ends the process at once.
 */
import type { TrainingRun } from '../core/training-run.js';

/**
 * Stops `run` on SIGINT and SIGTERM; the process goes on and `run.completed` resolves with what there is.
 *
 * A second signal exits at once with 128 + its number. The handlers are gone when the run has ended.
 */
export function stopOnSignals(
  run: Pick<TrainingRun<unknown>, 'stop' | 'completed'>,
  write: (line: string) => void = (line) => process.stderr.write(line),
): void {
  const numbers = { SIGINT: 2, SIGTERM: 15 } as const;
  let asked = false;
  const onSignal = (signal: keyof typeof numbers) => {
    if (asked) process.exit(128 + numbers[signal]);
    asked = true;
    write(`\n${signal}: finishing this iteration and writing a checkpoint; once more to quit at once\n`);
    void run.stop();
  };
  const names = Object.keys(numbers) as (keyof typeof numbers)[];
  for (const name of names) process.on(name, onSignal);
  const off = () => {
    for (const name of names) process.off(name, onSignal);
  };
  run.completed.then(off, off);
}
