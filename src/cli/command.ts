/**
 * What a command of the command line is: one file per command, one row of the table in `src/cli.ts`.
 */
import type { ParseArgsConfig } from 'node:util';

export interface Command {
  /** One line, for the list of commands. */
  summary: string;
  /** How it is called, what it does and its exit codes. */
  help: string;
  options: NonNullable<ParseArgsConfig['options']>;
  /** Returns the exit code. */
  run(values: Record<string, unknown>): Promise<number>;
}
