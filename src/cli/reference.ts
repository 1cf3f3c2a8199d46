import { openBackend } from '../core/backend/index.js';
import { ENGINE_NAMES, type EngineName } from '../core/backend/options.js';
import { ConfigError, RunError } from '../core/errors.js';
import { formatNumber } from '../core/format.js';
import { makeReference } from '../pipelines/evaluate/make-reference.js';
import type { Command } from './command.js';
import { evaluationProgress } from './evaluation-progress.js';
import { EXTRACTOR_HELP, EXTRACTOR_OPTIONS, extractorsOf } from './extractors.js';
import { count } from './flags.js';
import { withInterruption } from './interruption.js';

export const referenceCommand: Command = {
  help: `usage: onestep reference DATASET OUT.npz [--extractor NAME] [--weights FILE] [--batch N]

Writes mean and covariance of the features of all images of DATASET to OUT.npz (mu, sigma), as EDM's references for the FID.
Features are kept in the cache, keyed by the images' content: a second call is quick.

${EXTRACTOR_HELP}
  --batch N          images at once; default 64
  --engine NAME      ${ENGINE_NAMES.join(', ')}; default: the best that works

exit code: 0, 1 where it cannot be done, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM`,
  options: { ...EXTRACTOR_OPTIONS, batch: { type: 'string' }, engine: { type: 'string' } },
  positionals: ['DATASET', 'OUT.npz'],
  async run(values, [dataset, output]) {
    await openBackend({ engine: (values['engine'] as EngineName | undefined) ?? 'auto' });
    const [extractor, ...others] = await extractorsOf(values);
    if (others.length > 0) throw new ConfigError('reference', ['--extractor: expected one: a reference is of one extractor']);
    return withInterruption(async ({ signal, exitCode }) => {
      try {
        const batch = values['batch'] === undefined ? {} : { batchSize: count(values['batch']) };
        const images = await makeReference(dataset!, output!, {
          extractor: extractor!,
          ...batch,
          signal,
          onProgress: evaluationProgress(),
        });
        console.log(`${output}: ${extractor!.name}, ${formatNumber(images, 1)} images`);
        return 0;
      } catch (error) {
        if (!(error instanceof RunError) || error.code !== 'E_RUN_STOPPED') throw error;
        console.error('\nstopped; nothing was written');
        return exitCode() ?? 1;
      }
    });
  },
};
