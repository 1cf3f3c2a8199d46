/**
 * Precision and recall of manifolds (Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019).
 */
import { z } from 'zod';
import type { Metric } from '../core/contracts/metric.js';
import { parseOptions } from '../core/options.js';
import { requireReference, requireRows } from './feature-sets.js';
import { forEachPair, share, squaredRadii } from './manifolds.js';

const schema = z.strictObject({ neighbours: z.int().min(1).default(3) });

/** Options of `precisionRecall`. */
export interface PrecisionRecallOptions {
  /** A ball reaches to this neighbour of its centre, which does not count itself. Default 3. */
  neighbours?: number;
}

/**
 * Values `precision`, the share of generated images inside the manifold of the real ones, and `recall`, that of real images inside the manifold
 * of the generated ones; both in [0, 1], higher is better. A ball holds its surface (equation 1), so a set lies inside its own manifold.
 *
 * Both depend on the numbers of images; compare like with like. `compute` throws `E_VALUE` for a set of `neighbours` images or fewer.
 */
export function precisionRecall(options: PrecisionRecallOptions = {}): Metric {
  const { neighbours } = parseOptions(schema, options, 'precisionRecall');
  const name = 'precision-recall';
  return {
    name,
    needs: ['features'],
    comparesWithReference: true,
    compute: async (generated, given) => {
      const reference = requireReference(name, generated, given);
      const why = ` for ${neighbours} neighbours`;
      const fake = requireRows(name, 'generated', generated, 'features', neighbours + 1, why);
      const real = requireRows(name, 'reference', reference, 'features', neighbours + 1, why);
      const radiiOfReal = await squaredRadii(real, neighbours);
      const radiiOfFake = await squaredRadii(fake, neighbours);
      const [precise, recalled] = [new Uint8Array(fake.length), new Uint8Array(real.length)];
      await forEachPair(real, fake, (i, j, distance) => {
        if (distance <= radiiOfReal[i]!) precise[j] = 1;
        if (distance <= radiiOfFake[j]!) recalled[i] = 1;
      });
      return { precision: share(precise), recall: share(recalled) };
    },
  };
}
