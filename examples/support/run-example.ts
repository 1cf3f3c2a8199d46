/** How every example is called: `--help`, and wrong options or errors of ours without a stack trace. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { OnestepError, stopOnSignals, type TrainingRun } from 'onestep';

type Options = NonNullable<ParseArgsConfig['options']>;

/** The values that `parseArgs` makes of the options. */
type Values<O extends Options> = ReturnType<typeof parseArgs<{ options: O; allowPositionals: true }>>['values'];

/**
 * Parses the command line and runs `main` with the options' values and the other arguments, of which at most `positionals` are taken.
 *
 * The process ends with 0, 1 after an error of onestep, 2 after wrong options; errors that are nobody's fault but ours keep their stack trace.
 */
export async function runExample<O extends Options>(
  usage: string,
  options: O,
  main: (values: Values<O>, positionals: string[]) => Promise<void>,
  positionals = 0,
): Promise<void> {
  try {
    const parsed = parseArgs({
      options: { ...options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: positionals > 0,
    });
    if ((parsed.values as { help?: boolean }).help === true) return console.log(usage);
    if (parsed.positionals.length > positionals) throw new WrongUsage(`unexpected argument '${parsed.positionals[positionals]}'`);
    await main(parsed.values as Values<O>, parsed.positionals);
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string };
    const wrongUsage = error instanceof WrongUsage || (typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS'));
    if (!wrongUsage && !(error instanceof OnestepError)) throw error;
    console.error(wrongUsage ? `${message}\nhelp: ${usage.split('\n')[0]}` : message);
    process.exitCode = wrongUsage ? 2 : 1;
  }
}

/** Options that were given wrongly; the message says what is expected. */
export class WrongUsage extends Error {}

/** The whole number that an option was given as. Throws {@link WrongUsage} where it is none from `least` to `most`. */
export function count(option: string, text: string, least: number, most = 2 ** 31): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new WrongUsage(`--${option}: expected a whole number from ${least} to ${most}, found '${text}'`);
  return value;
}

/** What a run ends with. Ctrl-C stops it with a checkpoint and ends the process with 130. */
export async function finished<T extends { reason: 'completed' | 'stopped' }>(run: TrainingRun<T>): Promise<T> {
  stopOnSignals(run);
  const result = await run.completed;
  if (result.reason === 'completed') return result;
  console.log('stopped; the same command goes on from the checkpoint');
  process.exit(130);
}
