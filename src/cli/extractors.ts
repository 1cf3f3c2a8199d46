import { ConfigError } from '../core/errors.js';
import type { FeatureExtractor } from '../core/contracts/metric.js';
import { clipVitB32 } from '../models/extractors/clip-vit-b32.js';
import { dinov2VitL14 } from '../models/extractors/dinov2-vit-l14.js';
import { inceptionV3, type InceptionV3Options } from '../models/extractors/inception-v3.js';
import { loadImageClassifier } from '../models/features/image-classifier.js';

/** Options of commands that extract features. */
export const EXTRACTOR_OPTIONS = {
  extractor: { type: 'string', multiple: true },
  weights: { type: 'string', multiple: true },
  resize: { type: 'string' },
} as const;

export const EXTRACTOR_HELP = `  --extractor NAME   inception (default), clip, dinov2, or the path of a classifier of this package; once more for another one
  --weights FILE     its published file; default: from the cache or downloaded; once for each extractor, in their order
  --resize HOW       of inception: tensorflow (default, as in EDM), pytorch-fid or clean`;

const RESIZES = ['tensorflow', 'pytorch-fid', 'clean'] as const;

/** The extractors that were asked for. Throws `E_CONFIG`, and as the classifier's loader does. */
export async function extractorsOf(values: Record<string, unknown>): Promise<FeatureExtractor[]> {
  const names = (values['extractor'] as string[] | undefined) ?? ['inception'];
  const weights = (values['weights'] as string[] | undefined) ?? [];
  const resize = values['resize'] as InceptionV3Options['resize'];
  const problems: string[] = [];
  if (weights.length > names.length) problems.push(`--weights: ${weights.length} files for ${names.length} extractors`);
  if (resize !== undefined && !RESIZES.includes(resize))
    problems.push(`--resize: expected one of ${RESIZES.join(', ')}, got '${String(resize)}'`);
  if (problems.length > 0) throw new ConfigError('extractors', problems);
  const extractors: FeatureExtractor[] = [];
  for (const [i, name] of names.entries()) {
    const file = weights[i] === undefined ? {} : { weights: weights[i] };
    if (name === 'inception') extractors.push(inceptionV3({ ...file, ...(resize && { resize }) }));
    else if (name === 'clip') extractors.push(clipVitB32(file));
    else if (name === 'dinov2') extractors.push(dinov2VitL14(file));
    else extractors.push(await loadImageClassifier(name));
  }
  return extractors;
}
