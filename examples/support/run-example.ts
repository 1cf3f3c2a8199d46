/** How every example is called: `--help`, and wrong options or errors of ours without a stack trace. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { OnestepError } from 'onestep';

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
