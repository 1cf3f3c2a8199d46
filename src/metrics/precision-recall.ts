/**
 * Precision and recall of manifolds (Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019).
 */
import { z } from 'zod';
import type { Metric } from '../core/contracts/metric.js';
import { parseOptions } from '../core/options.js';
import { manifoldMetric, share } from './manifolds.js';

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
  return manifoldMetric({
    name: 'precision-recall',
    neighbours,
    both: true,
    count: ({ real, generated }) => {
      const [recalled, precise] = [new Uint8Array(real.length), new Uint8Array(generated.length)];
      return {
        meet: (i, j, distance) => {
          if (distance <= real[i]!) precise[j] = 1;
          if (distance <= generated[j]!) recalled[i] = 1;
        },
        values: () => ({ precision: share(precise), recall: share(recalled) }),
      };
    },
  });
}
