/**
 * References from sets of images: mean and covariance in EDM's format.
 */
import type { z } from 'zod';
import type { DataSource } from '../../core/contracts/data.js';
import { parseOptions } from '../../core/options.js';
import { writeReference } from '../../metrics/reference.js';
import { openDataOnce } from './open-data.js';
import { makeReferenceSchema } from './options.js';
import { asStopped } from './pass.js';
import { Problems } from './problems.js';
import { draftScores, prepareScores } from './score-drafts.js';
import { collectReference } from './scoring.js';

/** Options of `makeReference`. @interface */
export type MakeReferenceOptions = z.input<typeof makeReferenceSchema>;

/**
 * Writes mean and covariance of the features of all images of a set to `output`, an `.npz` with `mu` and `sigma` as EDM's references; resolves to the
 * number of images. Throws as extractors and data sources do, and `E_CONFIG` for a set of one image.
 */
export async function makeReference(data: DataSource | string, output: string, options: MakeReferenceOptions): Promise<number> {
  const { extractor, onProgress, signal, ...rest } = parseOptions(makeReferenceSchema, options, 'makeReference');
  const opened = openDataOnce();
  try {
    const problems = new Problems('makeReference');
    if (typeof output !== 'string' || !output.endsWith('.npz')) problems.add(`output: expected a path that ends in .npz, got '${output}'`);
    const size = (await problems.attempt(() => opened.open(data)))?.description.size ?? 2;
    if (size < 2) problems.add(`data: expected two images or more, found ${size}`);
    const settings = { ...rest, against: data, extractors: [extractor], metrics: ['fid' as const], references: 1 };
    const drafts = await draftScores(settings, { images: size, keepReferences: false }, opened.open, problems, []);
    problems.throwIfAny();
    const [score] = await prepareScores(drafts);
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
