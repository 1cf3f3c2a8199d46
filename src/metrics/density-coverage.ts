/**
 * Density and coverage (Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020, section 3).
 */
import { z } from 'zod';
import type { Metric } from '../core/contracts/metric.js';
import { parseOptions } from '../core/options.js';
import { manifoldMetric, share } from './manifolds.js';

const schema = z.strictObject({ neighbours: z.int().min(1).default(5) });

/** Options of `densityCoverage`. */
export interface DensityCoverageOptions {
  /** The ball of a real image reaches to this neighbour of it, which does not count itself. Default 5. */
  neighbours?: number;
}

/**
 * Values `density`, the mean number of real images' balls that a generated image lies in, over `neighbours` (about 1 for sets of one distribution,
 * may exceed 1), and `coverage`, the share of real images whose ball holds a generated image (in [0, 1]). Higher is better.
 *
 * A ball is without its surface, as in the authors' code: the density of a set for itself is 1. Real images that occur more than `neighbours`
 * times have empty balls. `compute` throws `E_VALUE` for a reference of `neighbours` images or fewer.
 */
export function densityCoverage(options: DensityCoverageOptions = {}): Metric {
  const { neighbours } = parseOptions(schema, options, 'densityCoverage');
  return manifoldMetric({
    name: 'density-coverage',
    neighbours,
    both: false,
    count: ({ real, generatedCount }) => {
      const covered = new Uint8Array(real.length);
      let inside = 0;
      return {
        meet: (i, _, distance) => {
          if (distance >= real[i]!) return;
          inside++;
          covered[i] = 1;
        },
        values: () => ({ density: inside / (neighbours * generatedCount), coverage: share(covered) }),
      };
    },
  });
}
