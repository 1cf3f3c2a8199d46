/**
 * What a command of the command line is: one file per command, one row of the table in `src/cli.ts`.
 */
import type { ParseArgsConfig } from 'node:util';

export interface Command {
  /** How it is called, what it does and its exit codes. */
  help: string;
  options: NonNullable<ParseArgsConfig['options']>;
  /** What stands after the command besides options, in order, as the help names it: `['IN', '[OUT]']`, in brackets where it may be left out; default: nothing. */
  positionals?: readonly string[];
  /** Nothing that must be there is missing from `positionals`, nothing is too many. Returns the exit code. */
  run(values: Record<string, unknown>, positionals: readonly string[]): Promise<number>;
}
