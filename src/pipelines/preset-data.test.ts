/** Images that are not the recipe's are refused before the teacher is loaded. */
import { container } from 'tsyringe';
import { describe, expect, it } from 'vitest';
import { FileMaker, edmFiles, edmName, png, type Files } from '../../test/support/image-files.js';
import type { ConfigError } from '../core/errors.js';
import { encoderDiscriminator } from '../models/discriminators/encoder-discriminator.js';
import type { TeacherLoader } from '../models/teachers/teacher.js';
import { distributional } from '../losses/distributional.js';
import { distill } from './distill.js';
import { presetData } from './preset-data.js';
import { presetTable } from './preset-table.js';
import { presets } from './presets.js';

const files = new FileMaker('preset-data');

/** An EDM zip of `count` images of `size` pixels, labels k mod `classes`; 0: none. */
const zipOf = (size: number, { count = 12, classes = 0, channels = 3 } = {}): Promise<string> => {
  const numbers = Array.from({ length: count }, (_, k) => k);
  const images: Files = Object.fromEntries(numbers.map((k) => [edmName(k), png(k, size, size, channels)]));
  const labels = classes > 0 ? numbers.map((k) => [edmName(k), k % classes]) : null;
  return files.zip({ ...edmFiles(0), ...images, 'dataset.json': JSON.stringify({ labels }) });
};

const open = async (path: string, row: keyof typeof presetTable) => {
  const source = presetData('preset', path, presetTable[row]).build(container.createChildContainer());
  try {
    return await source.open();
  } finally {
    await source.close();
  }
};

describe('the images of a recipe', () => {
  it('are read where they fit', async () => {
    expect(await open(await zipOf(32), 'cifar10')).toMatchObject({ size: 12, resolution: 32, channels: 3, classes: 0 });
    expect(await open(await zipOf(32, { classes: 10 }), 'cifar10Conditional')).toMatchObject({ classes: 10 });
    // Labels that a recipe does not use do no harm.
    expect(await open(await zipOf(32, { classes: 3 }), 'cifar10')).toMatchObject({ classes: 3 });
  });

  it('are refused with everything in which they are others', async () => {
    const problems = (path: string) =>
      open(path, 'cifar10Conditional').then(
        () => [],
        (error: ConfigError) => error.problems,
      );
    expect(await problems(await zipOf(16, { classes: 3, channels: 1 }))).toEqual([
      expect.stringMatching(/^resolution: .* has 32 px, data.zip has 16 px/),
      expect.stringMatching(/^channels: .* has 3, data.zip has 1/),
      expect.stringMatching(/^classes: .* knows 10 .* data.zip has 3/),
    ]);
    expect(await problems(await zipOf(32))).toEqual([expect.stringContaining('data.zip has no labels')]);
  });

  it('before the teacher is loaded', async () => {
    let loaded = 0;
    const teacher: TeacherLoader = {
      name: 'not to be loaded',
      describe: () => Promise.reject(new Error('not described')),
      load: () => {
        loaded++;
        return Promise.reject(new Error('loaded'));
      },
    };
    const run = distill({
      ...presets.cifar10({ data: await zipOf(16) }),
      teacher,
      loss: distributional({ discriminator: encoderDiscriminator() }),
      runDir: files.path('run'),
    });
    await expect(run.completed).rejects.toMatchObject({ code: 'E_CONFIG', message: expect.stringContaining('has 16 px') as string });
    expect(loaded).toBe(0);
  });

  it('are missed where nothing is', async () => {
    await expect(open(files.path('absent.zip'), 'cifar10')).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
  });
});
