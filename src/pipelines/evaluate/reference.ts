/**
 * What generated images are compared with: statistics in EDM's format, kept features, or a set of images.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { DataSource } from '../../core/contracts/data.js';
import type { ReferenceSummary } from '../../core/contracts/evaluation.js';
import type { FeatureExtractor, FeatureSet, GaussianStatistics, Metric } from '../../core/contracts/metric.js';
import { ArgumentError, FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import { readNpz } from '../../core/npz.js';
import { ImageDigest } from '../../metrics/feature-cache.js';
import { FeatureCollector, readFeaturesHeader, type FeaturesHeader } from '../../metrics/feature-collector.js';
import { readReference, type ReferenceArrays } from '../../metrics/reference.js';

/** A path of an `.npz` with `mu` and `sigma`, of EDM2's `.pkl`, of a features file, or of a data set; statistics; a data set. */
export type Reference = string | GaussianStatistics | DataSource;

/** Statistics or features that are there without a pass over images. */
export interface ReadyReference {
  ready: true;
  summary: ReferenceSummary;
  set: FeatureSet;
}

/** A features file. It is read when the extractor's weights are known, since it is of one network's. */
export interface FeaturesFile extends FeaturesHeader {
  ready: false;
  path: string;
}

const sha256 = (...parts: (Uint8Array | string)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return `sha256:${hash.digest('hex')}`;
};

const bytesOf = (values: Float64Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Statistics as a reference. Throws `E_SHAPE` where they are not of the extractor's width. */
export function statisticsReference(
  { features, probabilities, ...statistics }: ReferenceArrays,
  extractor: FeatureExtractor,
  name = 'statistics',
): ReadyReference {
  const { mean, covariance } = statistics;
  const { dimensions } = extractor;
  if (mean.length !== dimensions || covariance.length !== dimensions ** 2)
    throw new ArgumentError(
      'E_SHAPE',
      `${name}: expected mean and covariance of ${dimensions} dimensions for ${extractor.name}, found ${mean.length}`,
      {
        help: 'take the extractor that the reference was made with, or make a reference with this one: onestep reference',
      },
    );
  return {
    ready: true,
    summary: { kind: 'statistics', name, identity: sha256(bytesOf(mean), bytesOf(covariance)) },
    set: {
      extractor: extractor.name,
      count: features?.count ?? 0,
      statistics,
      ...(features && { features }),
      ...(probabilities && { probabilities }),
    },
  };
}

/** Whether a file is there, rather than a folder. Throws `E_FILE_ABSENT` where nothing is. */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return withFileErrors(path, 'read', () => Promise.reject(error));
    throw new FileError('E_FILE_ABSENT', `${path}: no such file or folder`, {
      help: 'check the path; a relative one starts at the current directory',
    });
  }
}

/** What a file begins with. */
async function head(path: string, length: number): Promise<Buffer> {
  return withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  });
}

/** Statistics or kept features at a path; undefined where it holds something else, which is then taken for a data set. Needs no weights. */
export async function referenceAt(path: string, extractor: FeatureExtractor): Promise<ReadyReference | FeaturesFile | undefined> {
  if (!(await isFile(path))) return undefined;
  const start = await head(path, 9);
  if (start.length < 9) return undefined;
  const name = basename(path);
  // The header of safetensors: eight bytes of length, then JSON.
  if (start[8] === 0x7b && start.readUInt32LE(4) === 0) return { ready: false, path, ...(await readFeaturesHeader(path, extractor)) };
  // EDM2's references hold the statistics of several extractors.
  const statistics = extractor.name.startsWith('dinov2') ? 'fd_dinov2' : 'fid';
  if (path.endsWith('.pkl')) return statisticsReference(await readReference(path, { statistics }), extractor, name);
  if (!path.endsWith('.npz') || start.readUInt32LE(0) !== 0x04034b50) return undefined;
  // An archive of images is a data set.
  const arrays = await readNpz(path, ['mu', 'sigma']).catch((error: unknown) => {
    if (error instanceof FileError && error.code === 'E_FILE_FORMAT') return undefined;
    throw error;
  });
  if (arrays !== undefined && !arrays.has('mu') && !arrays.has('sigma')) return undefined;
  return statisticsReference(await readReference(path), extractor, name);
}

/** Reads a features file for metrics that compare. Throws as `FeatureCollector.load`. */
export async function readFeaturesFile(
  { path }: FeaturesFile,
  extractor: FeatureExtractor,
  metrics: readonly Metric[],
): Promise<ReadyReference> {
  const collector = new FeatureCollector(
    extractor,
    metrics.filter(({ comparesWithReference }) => comparesWithReference),
  );
  await collector.load(path);
  const set = collector.result();
  const identity = sha256(bytesOf(set.statistics.mean), bytesOf(set.statistics.covariance));
  return { ready: true, summary: { kind: 'features', name: basename(path), images: set.count, identity }, set };
}

/** Metrics that a reference without features cannot serve, as problems. */
export function unservedMetrics(reference: ReadyReference | FeaturesFile, metrics: readonly Metric[]): string[] {
  const [name, served] = reference.ready
    ? [reference.summary.name, reference.set.features !== undefined]
    : [basename(reference.path), reference.holds.includes('features')];
  return metrics
    .filter(({ comparesWithReference, needs }) => comparesWithReference && needs.includes('features') && !served)
    .map(
      (metric) =>
        `${metric.name}: ${name} holds mean and covariance only, and this metric compares features: give a data set or a features file`,
    );
}

/** Digest of the images `indices` of a set, the key under which their features are kept: of the file where there is one, else of every image. */
export async function contentDigest(
  source: DataSource,
  path: string | undefined,
  indices: Uint32Array,
  batchSize: number,
  signal?: AbortSignal,
): Promise<string> {
  if (path !== undefined && (await stat(path)).isFile()) {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20, signal })) hash.update(chunk as Buffer);
    return sha256(hash.digest(), new Uint8Array(indices.buffer, indices.byteOffset, indices.byteLength));
  }
  const digest = new ImageDigest();
  for (let at = 0; at < indices.length; at += batchSize) {
    const { images, shape } = await source.read(indices.subarray(at, at + batchSize), signal);
    digest.add(images, shape);
  }
  return digest.digest();
}
