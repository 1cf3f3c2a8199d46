/**
 * Features on disk, keyed by what decides them: the extractor's identity and the images' content.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { cacheDirectory, whyNotWritable, withLock } from '../core/cache.js';
import type { FeatureExtractor, FeatureSet, ImageShape, Metric } from '../core/contracts/metric.js';
import { OnestepError } from '../core/errors.js';
import { parseOptions } from '../core/options.js';
import { FeatureCollector } from './feature-collector.js';

/** SHA-256 of images, one after the other, whatever batches they come in. */
export class ImageDigest {
  readonly #hash = createHash('sha256');

  /** Adds images `[B, H, W, C]`. */
  add(images: Uint8Array, [count, height, width, channels]: ImageShape): void {
    const length = height * width * channels;
    for (let i = 0; i < count; i++)
      this.#hash.update(`${height}x${width}x${channels};`).update(images.subarray(i * length, (i + 1) * length));
  }

  /** Of the images so far; more may follow. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}

/** Options of `featureCache`. */
export interface FeatureCacheOptions {
  /** Made if need be. Default: `features` in the cache directory of this package. */
  directory?: string;
  /** Takes one line where something is unusual: a damaged file, another process at work, a disk that cannot be written. Default: standard error. */
  say?: (line: string) => void;
}

/** What `FeatureCache.collect` is asked for. */
export interface FeaturesToCollect {
  extractor: FeatureExtractor;
  /** Decide what is kept. */
  metrics: readonly Pick<Metric, 'name' | 'needs'>[];
  /** The images' content: an {@link ImageDigest}, or a digest of the file they come from together with which of them are used. */
  images: string;
  /** Adds every image to the collector; called only where the features are not in the cache. */
  fill: (collector: FeatureCollector) => Promise<void>;
  signal?: AbortSignal;
}

/** Gives features from disk, or collects and keeps them. */
export interface FeatureCache {
  readonly directory: string;
  /** Rejects as `fill` and {@link FeatureCollector} do; never because of the cache's own files. */
  collect(wanted: FeaturesToCollect): Promise<FeatureSet>;
}

const schema = z.strictObject({
  directory: z.string().min(1).optional(),
  say: z.custom<(line: string) => void>((value) => typeof value === 'function').optional(),
});

/**
 * A cache of features. Files are written whole or not at all, carry a digest and are computed again where they are damaged;
 * of several processes that want the same features one computes them, the others wait.
 *
 * An extractor without `identity` is not cached, since nothing tells its features from others; one line says so.
 */
export function featureCache(options: FeatureCacheOptions = {}): FeatureCache {
  const { directory = join(cacheDirectory(), 'features'), say = (line: string) => void process.stderr.write(`${line}\n`) } = parseOptions(
    schema,
    options,
    'featureCache',
  );

  return {
    directory,
    async collect({ extractor, metrics, images, fill, signal }) {
      const collector = new FeatureCollector(extractor, metrics);
      await collector.prepare();
      const identity = extractor.identity?.();
      const problem = whyNotWritable(directory);
      const obstacle =
        identity === undefined ? `${extractor.name} has no identity` : problem === undefined ? undefined : `${directory}: ${problem}`;
      if (obstacle !== undefined) {
        say(`features are not kept: ${obstacle}`);
        await fill(collector);
        return collector.result();
      }

      const decisive = JSON.stringify([extractor.name, identity, extractor.dimensions, images]);
      const key = createHash('sha256').update(decisive).digest('hex').slice(0, 40);
      const path = (kinds: readonly string[]) => join(directory, `${key}-${kinds.join('-')}.safetensors`);
      const own = path(collector.keeps);
      // A file that keeps more serves as well.
      const candidates = new Set([
        own,
        path([...new Set([...collector.keeps, 'features'])].sort(byKind)),
        path([...new Set([...collector.keeps, 'probabilities'])].sort(byKind)),
        path(['statistics', 'features', 'probabilities']),
      ]);
      const found = async (tell: typeof say) => {
        for (const file of candidates) if (await loaded(collector, file, tell)) return true;
        return false;
      };
      if (await found(say)) return collector.result();
      const onWait = ({ pid, host }: { pid: number; host: string }) =>
        say(`waiting for process ${pid} on ${host}, which computes these features`);
      return withLock(`${own}.lock`, { onWait, signal }, async () => {
        // Another process may have been at it until now.
        if (await found(() => {})) return collector.result();
        await fill(collector);
        try {
          await collector.save(own);
        } catch (error) {
          if (!(error instanceof OnestepError)) throw error;
          say(`features are not kept: ${firstLine(error)}`);
        }
        return collector.result();
      });
    },
  };
}

const KINDS = ['statistics', 'features', 'probabilities'];
const byKind = (a: string, b: string) => KINDS.indexOf(a) - KINDS.indexOf(b);

const firstLine = (error: Error) => error.message.split('\n')[0]!;

/** Whether the collector now holds what the file does; says why where there is a file that cannot be used. */
async function loaded(collector: FeatureCollector, path: string, say: (line: string) => void): Promise<boolean> {
  try {
    await collector.load(path);
    return true;
  } catch (error) {
    if (!(error instanceof OnestepError)) throw error;
    if (error.code !== 'E_FILE_ABSENT') say(`cached features cannot be used, computing them again: ${firstLine(error)}`);
    return false;
  }
}
