import { ConfigError } from '../core/errors.js';
import { formatPlan, formatPresets } from '../pipelines/plan-table.js';
import { presetTable, type PresetName } from '../pipelines/preset-table.js';
import { describePreset, type PresetOptions } from '../pipelines/presets.js';
import type { Command } from './command.js';

const names = Object.keys(presetTable);

/** A whole number, or what was given for the schema to name. */
const count = (value: unknown) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value) as number | undefined;

export const presetCommand: Command = {
  help: `usage: onestep preset [NAME] [--gdd] [--teacher REFERENCE] [--images N] [--batch N] [--micro-batch N] [--json]

Without NAME lists the recipes: ${names.join(', ')}.
With NAME prints the plan of one. No file need be there and nothing is downloaded or allocated: the teacher's file is
looked at where it is on this machine, else its published architecture counts.

  --gdd             trains everything (GDD); else most convolutions are frozen (GDD-I)
  --teacher REF     a path, a published name or hf:owner/name instead of the recipe's teacher
  --images N        real images to see
  --batch N         images of one iteration
  --micro-batch N   images whose gradients are computed together; less memory
  --json            prints JSON

exit code: 0, or 1 where the options are wrong`,
  options: {
    gdd: { type: 'boolean' },
    teacher: { type: 'string' },
    images: { type: 'string' },
    batch: { type: 'string' },
    'micro-batch': { type: 'string' },
    json: { type: 'boolean' },
  },
  positionals: ['[NAME]'],
  async run(values, [name]) {
    const json = values['json'] === true;
    if (name === undefined) {
      console.log(json ? JSON.stringify(presetTable, null, 2) : formatPresets());
      return 0;
    }
    if (!Object.hasOwn(presetTable, name))
      throw new ConfigError('preset', [`expected one of ${names.join(', ')}, got '${name}'`], { help: 'onestep preset lists them' });
    const options: PresetOptions = {
      method: values['gdd'] === true ? 'GDD' : 'GDD-I',
      ...(values['teacher'] !== undefined && { teacher: values['teacher'] as string }),
      schedule: Object.fromEntries(
        Object.entries({ images: values['images'], batchSize: values['batch'], microBatch: values['micro-batch'] }).flatMap(
          ([key, value]) => (value === undefined ? [] : [[key, count(value)]]),
        ),
      ),
    };
    const plan = await describePreset(name as PresetName, options);
    console.log(json ? JSON.stringify(plan, null, 2) : formatPlan(plan));
    return 0;
  },
};
