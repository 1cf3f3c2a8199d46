/**
 * The Inception Score (Salimans et al., "Improved techniques for training GANs", 2016, section 4).
 */
import { z } from 'zod';
import type { Metric } from '../core/contracts/metric.js';
import { ArgumentError } from '../core/errors.js';
import { parseOptions } from '../core/options.js';
import { meanAndSpread, requireRows } from './feature-sets.js';

const schema = z.strictObject({ splits: z.int().min(1).default(10) });

/** Options of `inceptionScore`. */
export interface InceptionScoreOptions {
  /** Parts that the images are cut into, in their order; the score is the mean over them. Default 10. */
  splits?: number;
}

/** How far a row of float32 probabilities may sum from 1. */
const SUM_TOLERANCE = 1e-3;

/**
 * exp E KL(p(y|x) ‖ p(y)): 1 where every image has the same classes, at most the number of classes.
 *
 * Values `inceptionScore` and `inceptionScoreSpread`, the standard deviation over the splits (divided by their number). Higher is better.
 * Image i of N belongs to split floor(i · splits / N); published numbers are over 50,000 images and 10 splits.
 * `compute` throws `E_VALUE` for fewer images than splits and for rows that are no probabilities.
 */
export function inceptionScore(options: InceptionScoreOptions = {}): Metric {
  const { splits } = parseOptions(schema, options, 'inceptionScore');
  const name = 'inception-score';
  return {
    name,
    needs: ['probabilities'],
    comparesWithReference: false,
    compute: async (generated) => {
      const rows = requireRows(name, 'generated', generated, 'probabilities', splits, ` for ${splits} splits`);
      rows.forEach((row, i) => {
        const sum = row.reduce((a, b) => a + b, 0);
        if (Math.abs(sum - 1) > SUM_TOLERANCE || row.some((value) => value < 0))
          throw new ArgumentError('E_VALUE', `${name}: image ${i}: expected probabilities that sum to 1, got a sum of ${sum}`, {
            help: 'give the softmax of the logits, not the logits',
          });
      });
      const edge = (split: number) => Math.floor((split * rows.length) / splits);
      const scores = Array.from({ length: splits }, (_, split) => score(rows.slice(edge(split), edge(split + 1))));
      const { mean, spread } = meanAndSpread(scores);
      return { inceptionScore: mean, inceptionScoreSpread: spread };
    },
  };
}

function score(rows: readonly Float32Array[]): number {
  const classes = rows[0]!.length;
  const marginal = new Float64Array(classes);
  for (const row of rows) for (let y = 0; y < classes; y++) marginal[y]! += row[y]! / rows.length;
  let divergence = 0;
  for (const row of rows)
    for (let y = 0; y < classes; y++) {
      const p = row[y]!;
      // p log p is 0 at 0.
      if (p > 0) divergence += p * Math.log(p / marginal[y]!);
    }
  return Math.exp(divergence / rows.length);
}
