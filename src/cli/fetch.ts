import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from '../core/cache.js';
import { publishedFilePath } from '../core/download/index.js';
import { formatBytes, formatNumber } from '../core/format.js';
import { publishedTeachers, publishedTeacherSize, resolveFile } from '../models/teachers/published-teachers.js';
import type { Command } from './command.js';

/** What the shell expects where a program was called wrongly. */
const USAGE = 2;

export const fetchCommand: Command = {
  help: `usage: onestep fetch REFERENCE
       onestep fetch --list

Prints the path of what REFERENCE names, and fetches it first if it is not in the cache (ONESTEP_CACHE, else ~/.cache/onestep).
A download that was interrupted goes on where it stopped. REFERENCE is

  NAME                               a published teacher, see --list
  https://…                          an address
  hf:owner/name[/file][@revision]    a Hugging Face repository: a file, or a folder of config.json and safetensors
  PATH                               a file that is there already

  --list   prints the published teachers: name, network, parameters, size, whether it is in the cache

HTTPS_PROXY, HTTP_PROXY and NO_PROXY are heeded; ONESTEP_OFFLINE=1 forbids connections; HF_TOKEN and HF_ENDPOINT are for hf:.
exit code: 0, 1 where it could not be fetched, 130 where it was interrupted`,
  options: { list: { type: 'boolean' } },
  positionals: ['[REFERENCE]'],
  async run(values, [reference]) {
    if (values['list'] === true) {
      console.log(list());
      return 0;
    }
    if (reference === undefined) {
      console.error('onestep: fetch: REFERENCE is missing\nhelp: onestep fetch --list prints the published teachers');
      return USAGE;
    }
    const interruption = new AbortController();
    let received: 'SIGINT' | 'SIGTERM' | undefined;
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.once(name, () => {
        received = name;
        interruption.abort(new Error('interrupted'));
      });
    }
    try {
      console.log(await resolveFile(reference, { signal: interruption.signal }));
      return 0;
    } catch (error) {
      if (received === undefined) throw error;
      console.error('\ninterrupted: the next download goes on from here');
      return 128 + constants.signals[received];
    }
  },
};

/** A column is as wide as its widest cell. */
function list(): string {
  const downloads = join(cacheDirectory(), 'downloads');
  const rows = Object.values(publishedTeachers).map((teacher) => {
    const { parameters, bytes } = publishedTeacherSize(teacher.name);
    const path = publishedFilePath(downloads, teacher);
    const size = `about ${formatBytes(bytes)}`;
    return [teacher.name, teacher.network, `${formatNumber(parameters / 1e6, 3)} M`, size, existsSync(path) ? path : 'not in the cache'];
  });
  const table = [['name', 'network', 'parameters', 'size', 'cached'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  const licence = Object.values(publishedTeachers)[0]!.licence!;
  return `${lines.join('\n')}\n\nEach of them: ${licence}.`;
}
