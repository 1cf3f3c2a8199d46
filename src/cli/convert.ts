import { formatBytes, formatNumber } from '../core/format.js';
import { RunError } from '../core/errors.js';
import { convert, CONVERSION_DTYPES, type Conversion, type ConvertOptions } from '../pipelines/convert.js';
import type { Command } from './command.js';
import { withInterruption } from './interruption.js';

const counts = (dtypes: Conversion['found']) =>
  Object.entries(dtypes)
    .map(([dtype, count]) => `${count} ${dtype}`)
    .join(', ');

function architecture({ config }: Conversion): string {
  if (!config) return 'unknown';
  const { model_type, img_resolution, img_channels, label_dim } = config;
  return `${model_type}, ${img_resolution} px, ${img_channels} channels, ${label_dim > 0 ? `${label_dim} classes` : 'unconditional'}, dropout ${config.dropout}`;
}

function report(result: Conversion): string {
  const rows = [
    ['format', result.format],
    ['architecture', architecture(result)],
    ...(result.parameters === undefined ? [] : [['parameters', formatNumber(result.parameters, 1)]]),
    ['tensors', `${counts(result.found)}; ${formatNumber(result.values, 1)} values`],
    ...result.notes.map((note) => ['note', note]),
    ['written', `${result.output}: ${counts(result.written)}, ${formatBytes(result.bytes)}`],
  ];
  return [result.input, ...rows.map(([name, text]) => `  ${name!.padEnd(13)} ${text}`)].join('\n');
}

/** What the shell expects where a program was called wrongly. */
const WRONG_USAGE = 2;

export const convertCommand: Command = {
  help: `usage: onestep convert IN OUT [--dtype keep|F32|F16|BF16] [--key NAME] [--force]

Finds out by its content what IN holds (an EDM snapshot, a PyTorch state dict, safetensors in one file or in shards, a diffusers folder), runs nothing of it,
writes its network to OUT as safetensors under the published names with the architecture in the metadata, and prints what was found and what was left out.
A file without a known network is converted tensor by tensor as it is. IN may also be a published name, an address or hf:owner/name[/file][@revision].

  --dtype   what floats are written as; default keep: as IN has them. F16 halves float32 and rounds to 11 bits, BF16 to 8 bits
  --key     which network of a file that holds several; default ema for an EDM snapshot
  --force   replaces OUT if it is there; the input itself is never written over

exit code: 0 where OUT was written, 1 where it was not (nothing is left behind then), 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM`,
  options: { dtype: { type: 'string' }, key: { type: 'string' }, force: { type: 'boolean' } },
  positionals: ['IN', 'OUT'],
  async run(values, [input, output]) {
    const { dtype } = values;
    if (dtype !== undefined && !CONVERSION_DTYPES.some((known) => known === dtype)) {
      console.error(
        `onestep: convert: unknown dtype '${String(dtype)}'\nhelp: one of ${CONVERSION_DTYPES.join(', ')}; onestep convert --help`,
      );
      return WRONG_USAGE;
    }
    return withInterruption(async ({ signal, exitCode }) => {
      try {
        console.log(report(await convert(input!, output!, { ...(values as ConvertOptions), signal })));
        return 0;
      } catch (error) {
        if (!(error instanceof RunError) || error.code !== 'E_RUN_STOPPED') throw error;
        console.error(`onestep: ${error.code}: ${error.message}`);
        return exitCode() ?? 1;
      }
    });
  },
};
