/**
 * The best snapshot of a run, by one metric of its evaluations: `best.safetensors`, which carries its value, and `best` in report.json.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ArgumentError, FileError } from '../core/errors.js';
import { writeFileAtomic } from '../core/files.js';
import { readSafetensors } from '../core/safetensors.js';
import type { BestKeeper } from '../core/training-run.js';

/** Which metric decides. */
export interface BestMetric {
  /** A name that the evaluator reports, such as `fid`. */
  metric: string;
  /** Which way is better. Default: lower, as of distances. */
  better?: 'lower' | 'higher';
}

/** What is known of the best snapshot so far. */
export interface BestSnapshot {
  metric: string;
  value: number;
  /** Real images seen by then. */
  images: number;
}

/** The file's name in the run's directory. */
export const BEST_FILE = 'best.safetensors';

const REPORT_FILE = 'report.json';

const stored = z.object({ metric: z.string(), value: z.number(), images: z.number() });

/** What the metadata of a best snapshot say; undefined where there is no such file. Throws `FileError` for a damaged one. */
export async function readBest(directory: string): Promise<BestSnapshot | undefined> {
  const path = join(directory, BEST_FILE);
  try {
    const { metadata } = await readSafetensors(path);
    const parsed = stored.safeParse(JSON.parse(metadata['best'] ?? 'null'));
    if (parsed.success) return parsed.data;
  } catch (error) {
    if (error instanceof FileError && error.code === 'E_FILE_ABSENT') return undefined;
    throw error;
  }
  throw new FileError('E_FILE_FORMAT', `${path}: expected a snapshot with its metric in the metadata, found none`, {
    help: 'move it away: the next evaluation writes a new one',
  });
}

/**
 * Keeps the best snapshot in `directory`. `save` writes the averaged weights with the given metadata.
 *
 * Weights and value are one file, so that no interruption parts them; report.json is written after it, and again after a resume.
 */
export function bestKeeper(
  directory: string,
  { metric, better = 'lower' }: BestMetric,
  save: (path: string, metadata: Record<string, string>) => Promise<void>,
): BestKeeper {
  let best: BestSnapshot | undefined;
  const report = async (): Promise<void> => {
    const path = join(directory, REPORT_FILE);
    const former: unknown = await readFile(path, 'utf8')
      .then(JSON.parse)
      .catch(() => undefined);
    const whole = { ...(typeof former === 'object' ? former : {}), best: { ...best, better, file: BEST_FILE } };
    await writeFileAtomic(path, `${JSON.stringify(whole, null, 2)}\n`);
  };
  return {
    restore: async () => {
      const found = await readBest(directory);
      // Values of another metric say nothing.
      if (found?.metric !== metric) return;
      best = found;
      await report();
    },
    offer: async (metrics, images) => {
      const value = metrics[metric];
      if (value === undefined)
        throw new ArgumentError(
          'E_VALUE',
          `evaluation: expected the metric ${metric} to choose the best snapshot by, found ${Object.keys(metrics).join(', ') || 'none'}`,
          {
            help: 'name a metric that the evaluator reports',
          },
        );
      if (!Number.isFinite(value)) return undefined;
      if (best !== undefined && (better === 'lower' ? value >= best.value : value <= best.value)) return undefined;
      const path = join(directory, BEST_FILE);
      const next = { metric, value, images };
      await save(path, { best: JSON.stringify(next) });
      best = next;
      await report();
      return path;
    },
  };
}
