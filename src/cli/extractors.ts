import { existsSync } from 'node:fs';
import type { FeatureExtractor } from '../core/contracts/metric.js';
import { clipVitB32 } from '../models/extractors/clip-vit-b32.js';
import { dinov2VitL14 } from '../models/extractors/dinov2-vit-l14.js';
import { inceptionV3, type InceptionV3Options } from '../models/extractors/inception-v3.js';
import { loadImageClassifier } from '../models/features/image-classifier.js';
import { Problems } from '../pipelines/evaluate/problems.js';

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

const PUBLISHED = {
  inception: (weights: { weights?: string }, resize: InceptionV3Options['resize']) =>
    inceptionV3({ ...weights, ...(resize && { resize }) }),
  clip: clipVitB32,
  dinov2: dinov2VitL14,
};

/** The extractors that were asked for. Throws everything that is wrong with names, files and resizing at once. */
export async function extractorsOf(values: Record<string, unknown>): Promise<FeatureExtractor[]> {
  const names = (values['extractor'] as string[] | undefined) ?? ['inception'];
  const weights = (values['weights'] as string[] | undefined) ?? [];
  const resize = values['resize'] as InceptionV3Options['resize'];
  const problems = new Problems('extractors');
  if (weights.length > names.length) problems.add(`--weights: ${weights.length} files for ${names.length} extractors`);
  if (resize !== undefined && !RESIZES.includes(resize))
    problems.add(`--resize: expected one of ${RESIZES.join(', ')}, got '${String(resize)}'`);
  else if (resize !== undefined && !names.includes('inception'))
    problems.add('--resize: is of inception, which is not among the extractors');
  const extractors: FeatureExtractor[] = [];
  for (const [i, name] of names.entries()) {
    const file = weights[i] === undefined ? {} : { weights: weights[i] };
    const known = `${Object.keys(PUBLISHED).join(', ')}, or the path of a classifier of this package`;
    if (Object.hasOwn(PUBLISHED, name)) {
      if (!problems.any) extractors.push(PUBLISHED[name as keyof typeof PUBLISHED](file, resize));
    } else if (!existsSync(name)) problems.add(`--extractor: expected ${known}, got '${name}', which is no file`);
    else if (weights[i] !== undefined) problems.add(`--weights: ${name} is a file of weights itself, got '${weights[i]}' for it`);
    else {
      const classifier = await problems.attempt(() => loadImageClassifier(name));
      if (classifier) extractors.push(classifier);
    }
  }
  if (problems.any) for (const extractor of extractors) extractor.dispose?.();
  problems.throwIfAny();
  return extractors;
}
