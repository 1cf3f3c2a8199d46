import { type Check, doctor } from '../core/backend/doctor.js';
import type { Command } from './command.js';

const MARKS = { ok: 'ok     ', warning: 'warning', problem: 'PROBLEM' } as const;

function print({ id, status, found, expected, help }: Check): string {
  const lines = [`${MARKS[status]}  ${id.padEnd(16)} ${found}`];
  if (status !== 'ok' && expected !== undefined) lines.push(`expected: ${expected}`);
  if (status !== 'ok' && help !== undefined) lines.push(`help: ${help}`);
  return lines.join(`\n${' '.repeat(26)}`);
}

export const doctorCommand: Command = {
  help: `usage: onestep doctor [--json]

Examines everything that an engine needs and reports all problems at once.

  --json   prints the report as JSON: { checks: [{ id, status, found, expected, help }], engine, accelerated }

exit code: 0 where the fast engine works, 1 otherwise`,
  options: { json: { type: 'boolean' } },
  async run(values) {
    const diagnosis = await doctor();
    if (values['json'] === true) console.log(JSON.stringify(diagnosis, null, 2));
    else for (const check of diagnosis.checks) console.log(print(check));
    return diagnosis.accelerated ? 0 : 1;
  },
};
