/**
 * References from sets of images: mean and covariance in EDM's format.
 */
import { z } from 'zod';
import type { DataSource } from '../../core/contracts/data.js';
import type { EvaluationProgress } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor } from '../../core/contracts/metric.js';
import { ConfigError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { writeReference } from '../../metrics/reference.js';
import { openDataOnce } from './open-data.js';
import { scoringSchema } from './options.js';
import { asStopped } from './pass.js';
import { collectReference, prepareScores } from './scoring.js';

const schema = scoringSchema.pick({ batchSize: true, featureCache: true }).extend({
  extractor: z.custom<FeatureExtractor>(
    (value) => typeof value === 'object' && value !== null && 'extract' in value,
    'expected a feature extractor',
  ),
  onProgress: z.custom<(progress: EvaluationProgress) => void>((value) => typeof value === 'function').optional(),
  /** Ends it with `E_RUN_STOPPED`; nothing is written then. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal).optional(),
});

/** Options of `makeReference`. @interface */
export type MakeReferenceOptions = z.input<typeof schema>;

/**
 * Writes mean and covariance of the features of all images of a set to `output`, an `.npz` with `mu` and `sigma` as EDM's references; resolves to the
 * number of images. Throws as extractors and data sources do, and `E_CONFIG` for a set of one image.
 */
export async function makeReference(data: DataSource | string, output: string, options: MakeReferenceOptions): Promise<number> {
  const { extractor, onProgress, signal, ...rest } = parseOptions(schema, options, 'makeReference');
  const opened = openDataOnce();
  try {
    const { description } = await opened.open(data);
    const { size, resolution, channels } = description;
    if (size < 2) throw new ConfigError('makeReference', [`${description.name}: expected two images or more, found ${size}`]);
    const settings = { ...rest, against: data, extractors: [extractor], metrics: ['fid' as const], references: 1 };
    const [score] = await prepareScores(settings, { images: size, resolution, channels, keepReferences: false }, opened.open, []);
    const say = (line: string) => void process.stderr.write(`${line}\n`);
    const set = await collectReference(score!, { options: settings, store: undefined, checkpointEvery: Infinity, onProgress, signal, say });
    await writeReference(output, set!.statistics);
    return size;
  } catch (error) {
    throw asStopped(error, signal);
  } finally {
    await opened.close();
  }
}
