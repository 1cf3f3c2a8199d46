import { openBackend } from '../core/backend/index.js';
import { ENGINE_NAMES, type EngineName } from '../core/backend/options.js';
import { OnestepError } from '../core/errors.js';
import { formatParity, parity, type ParityRow } from '../pipelines/parity/index.js';
import type { Command } from './command.js';

/** Nothing was compared: told apart from what was compared and differs. */
const NOT_COMPARED = 2;

export const parityCommand: Command = {
  help: `usage: onestep parity DIR [--json] [--engine ${ENGINE_NAMES.join('|')}] [--only TEXT]

Compares everything that DIR holds with what this package computes, and prints the largest relative error of each check:
NAME.json, NAME.weights.safetensors and NAME.io.safetensors of networks, discriminator heads and random projections;
sampler-*.safetensors; frechet.json with frechet-NAME.npz; *.pkl, *.pth and *.pt. Progress goes to standard error.

  --json     prints the rows as JSON: { engine, rows: [{ subject, check, status, error, tolerance, note, seconds }] }
  --engine   the engine to check; default: the best that works
  --only     only networks and files whose name contains TEXT

exit code: 0 where all agree (1e-5 on outputs, 1e-4 on gradients, in relative L2 norm), 1 where one does not or a file cannot be
read, 2 where nothing was compared: wrong options, no such directory, nothing to check in it`,
  options: { json: { type: 'boolean' }, engine: { type: 'string' }, only: { type: 'string' } },
  positionals: ['DIR'],
  async run(values, [directory]) {
    let rows: ParityRow[];
    let engine: EngineName;
    try {
      ({ name: engine } = await openBackend({ engine: (values['engine'] as EngineName | undefined) ?? 'auto' }));
      rows = await parity(directory!, {
        only: values['only'] as string | undefined,
        onStart: (subject, check) => process.stderr.write(`${subject}: ${check} …`),
        onRow: ({ status, seconds }) => process.stderr.write(` ${status} (${seconds.toFixed(1)} s)\n`),
      });
    } catch (error) {
      if (!(error instanceof OnestepError)) throw error;
      console.error(`onestep: ${error.code}: ${error.message}`);
      return NOT_COMPARED;
    }
    // NaN is no JSON.
    const plain = (_: string, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value);
    console.log(values['json'] === true ? JSON.stringify({ engine, rows }, plain, 2) : `engine ${engine}\n\n${formatParity(rows)}`);
    if (rows.some(({ status }) => status === 'failed')) return 1;
    return rows.some(({ status }) => status === 'ok') ? 0 : NOT_COMPARED;
  },
};
