/**
 * The run's directory as the training run sees it: what may change between two sessions of one run, and what may not.
 */
import type { z } from 'zod';
import { loadCheckpoint } from '../core/checkpoint.js';
import { RunError } from '../core/errors.js';
import { RunDirectory } from '../core/run-directory.js';
import type { RunStore } from '../core/training-run.js';
import type { runSchema } from './run-options.js';

/** Options that a resumed run may have changed: they alter how long it goes and what it shows, not what it computes. */
const CHANGEABLE = /^(runDir|resume|keepCheckpoints|reportEvery|sampleCount|schedule\.images|intervals\..*)(:|$)/;

/**
 * Opens `settings.runDir`; undefined where the run keeps no files.
 *
 * Throws `E_RUN_LOCKED` where another process has it, `E_RUN_USED` where `resume` is `never` and it holds checkpoints,
 * `E_RUN_CONFIG` where its checkpoints were made with other options, with every difference.
 */
export async function openRunStore(settings: z.output<typeof runSchema>, config: unknown): Promise<RunStore | undefined> {
  const { runDir, resume, keepCheckpoints } = settings;
  if (runDir === undefined) return undefined;
  const directory = await RunDirectory.open(runDir, config, { keepCheckpoints });
  try {
    const { complete } = await directory.checkpoints();
    if (complete.length > 0 && resume === 'never')
      throw new RunError('E_RUN_USED', `${runDir} holds ${complete.length} checkpoint${complete.length > 1 ? 's' : ''} of a former run`, {
        help: "take another directory, or resume: 'auto' to go on from there",
      });
    const differences = directory.differences.filter((line) => !CHANGEABLE.test(line));
    if (complete.length > 0 && differences.length > 0)
      throw new RunError(
        'E_RUN_CONFIG',
        `${runDir} was begun with other options:\n${differences.map((line) => `  - ${line}`).join('\n')}`,
        {
          help: 'go on with the options that it was begun with, or take another directory',
        },
      );
    if (directory.differences.length > 0) await directory.writeConfig(config);
    const newest = complete[0];
    return {
      path: directory.path,
      saveCheckpoint: (kimg, parts) => directory.saveCheckpoint(kimg, parts),
      loadCheckpoint: async () => newest && (await loadCheckpoint(newest.path)).parts,
      release: () => directory.release(),
    };
  } catch (error) {
    await directory.release();
    throw error;
  }
}
