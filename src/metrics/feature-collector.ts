/**
 * One pass over images that leaves what every metric needs.
 */
import { createHash } from 'node:crypto';
import type { FeatureExtractor, FeatureNeed, FeatureSet, ImageShape, Metric } from '../core/contracts/metric.js';
import { ArgumentError, FileError } from '../core/errors.js';
import { readSafetensors, writeSafetensors, type TensorToWrite } from '../core/safetensors.js';
import type { TensorData, TensorFile } from '../core/tensor-file.js';
import { FeatureStatistics } from './feature-statistics.js';
import { RowGatherer } from './feature-rows.js';

const FORMAT = 'onestep-features';

/** What a set can hold beyond statistics, in the order of files. */
const KEPT = ['features', 'probabilities'] as const;
type Kept = (typeof KEPT)[number];

/**
 * Extracts features batch by batch and keeps as much of them as `metrics` need: statistics always, rows where a metric asks for them.
 *
 * What is kept depends on the rows and their order alone, not on how they were cut into batches.
 *
 * @example
 * const collector = new FeatureCollector(extractor, [frechet(), precisionRecall()]);
 * for (const { images, shape } of batches) await collector.add(images, shape);
 * const generated = collector.result();
 */
export class FeatureCollector {
  readonly #kept: readonly Kept[];
  #statistics: FeatureStatistics;
  #rows: Map<Kept, RowGatherer>;
  #ready: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  /** Throws `E_VALUE` where a metric needs probabilities and the extractor gives none. */
  constructor(
    readonly extractor: FeatureExtractor,
    metrics: readonly Pick<Metric, 'name' | 'needs'>[],
  ) {
    const wanting = metrics.find(({ needs }) => needs.includes('probabilities'));
    if (wanting && !(extractor.extractWithProbabilities && extractor.classes))
      throw new ArgumentError('E_VALUE', `${wanting.name}: expected an extractor that gives class probabilities, got ${extractor.name}`, {
        help: 'leave that metric out, or take an extractor that classifies, such as inceptionV3()',
      });
    this.#kept = KEPT.filter((kind) => metrics.some(({ needs }) => needs.includes(kind)));
    this.#statistics = new FeatureStatistics(extractor.dimensions);
    this.#rows = this.#gatherers();
  }

  /** Images added so far. */
  get count(): number {
    return this.#statistics.count;
  }

  /** What is kept, statistics first. */
  get keeps(): readonly FeatureNeed[] {
    return ['statistics', ...this.#kept];
  }

  /** Reads the extractor's weights, once; `add`, `save` and `load` do so themselves. */
  prepare(): Promise<void> {
    return (this.#ready ??= Promise.resolve(this.extractor.prepare?.()));
  }

  /**
   * Adds images `[B, H, W, C]` uint8; calls keep their order.
   *
   * Rejects with `E_SHAPE` where images or the extractor's rows have another length than they should, and with `E_VALUE` for features that are not finite;
   * nothing of that batch is added then.
   */
  add(images: Uint8Array, shape: ImageShape): Promise<void> {
    const added = this.#last.then(() => this.#add(images, shape));
    this.#last = added.catch(() => {});
    return added;
  }

  /** What was kept. Throws `E_VALUE` for fewer than two images. More may be added afterwards; the result does not change. */
  result(): FeatureSet {
    const set: FeatureSet = { extractor: this.extractor.name, count: this.count, statistics: this.#statistics.result() };
    for (const [kind, gatherer] of this.#rows) set[kind] = gatherer.rows();
    return set;
  }

  /** Writes everything that was added so far, whole or not at all, after the `add` calls that are under way; throws as `writeFileAtomic`. */
  async save(path: string): Promise<void> {
    await this.prepare();
    await this.#last;
    const { count, ...arrays } = this.#statistics.state();
    const tensors: (TensorToWrite & { data: TensorData })[] = Object.entries(arrays).map(([name, data]) => ({
      name,
      shape: [data.length],
      data,
      dtype: 'F64',
    }));
    for (const [kind, gatherer] of this.#rows) {
      const { chunks, dimensions } = gatherer.rows();
      chunks.forEach((data, i) => tensors.push({ name: chunkName(kind, i), shape: [data.length / dimensions, dimensions], data }));
    }
    const hash = createHash('sha256');
    for (const { name, data } of tensors) update(hash, name, data);
    await writeSafetensors(path, tensors, { ...this.#description(), count: String(count), digest: hash.digest('hex') });
  }

  /**
   * Goes on from a file of `save`, in place of what was added: later rows give the same bits as in a collector that was never interrupted.
   * A file that keeps more than this collector does will do.
   *
   * Throws {@link FileError}: `E_FILE_ABSENT`, `E_FILE_FORMAT` and others of `readSafetensors`, and `E_FILE_OTHER_FEATURES` for one of another extractor
   * or of fewer kinds of rows. Nothing is changed then.
   */
  async load(path: string): Promise<void> {
    await this.prepare();
    await this.#last;
    const file = await readSafetensors(path);
    this.#check(path, file);
    const hash = createHash('sha256');
    const arrays = new Map<string, TensorData>();
    // In the order that `save` hashed them in; what this collector does not keep is hashed and dropped.
    const chunks = KEPT.flatMap((kind) => Array.from({ length: chunkCount(file, kind) }, (_, i) => ({ name: chunkName(kind, i), kind })));
    const rows = this.#gatherers();
    for (const name of ['mean', 'scatter', 'pending']) {
      const data = await file.read(name);
      update(hash, name, data);
      arrays.set(name, data);
    }
    for (const { name, kind } of chunks) {
      const data = await file.read(name);
      update(hash, name, data);
      const gatherer = rows.get(kind);
      if (gatherer && !(data instanceof Float32Array && data.length % gatherer.dimensions === 0)) throw damaged(path);
      gatherer?.add(data as Float32Array);
    }
    if (hash.digest('hex') !== file.metadata['digest']) throw damaged(path);
    const [mean, scatter, pending] = ['mean', 'scatter', 'pending'].map((name) => arrays.get(name) as Float64Array);
    this.#statistics = FeatureStatistics.from(this.extractor.dimensions, {
      count: Number(file.metadata['count']),
      mean: mean!,
      scatter: scatter!,
      pending: pending!,
    });
    this.#rows = rows;
  }

  #gatherers(): Map<Kept, RowGatherer> {
    const { dimensions, classes } = this.extractor;
    return new Map(this.#kept.map((kind) => [kind, new RowGatherer(kind === 'features' ? dimensions : classes!)]));
  }

  async #add(images: Uint8Array, shape: ImageShape): Promise<void> {
    const expected = shape.reduce((a, b) => a * b, 1);
    if (images.length !== expected)
      throw new ArgumentError('E_SHAPE', `FeatureCollector: expected ${expected} bytes for [${shape.join(', ')}], got ${images.length}`, {
        help: 'give the shape of the images',
      });
    if (expected === 0) return;
    await this.prepare();
    const { extractor } = this;
    const values = this.#rows.has('probabilities')
      ? await extractor.extractWithProbabilities!(images, shape)
      : { features: await extractor.extract(images, shape), probabilities: undefined };
    for (const [kind, width] of [
      ['features', extractor.dimensions],
      ['probabilities', extractor.classes],
    ] as const)
      // prettier-ignore
      if (values[kind] && values[kind].length !== shape[0] * width!)
        throw new ArgumentError(
          'E_SHAPE',
          `${extractor.name}: expected ${shape[0]} rows of ${width} ${kind}, got ${values[kind].length} values`,
          { help: 'correct `dimensions` or `classes` of the extractor' },
        );
    const wrong = values.probabilities?.findIndex((value) => !Number.isFinite(value)) ?? -1;
    if (wrong >= 0)
      throw new ArgumentError(
        'E_VALUE',
        `${extractor.name}: image ${this.count + Math.floor(wrong / extractor.classes!)}: expected finite probabilities, got ${values.probabilities![wrong]}`,
        { help: 'check that image and the extractor' },
      );
    this.#statistics.add(values.features);
    for (const [kind, gatherer] of this.#rows) gatherer.add(values[kind]!);
  }

  #description(): Record<string, string> {
    const { name, dimensions, classes = 0 } = this.extractor;
    const identity = this.extractor.identity?.() ?? '';
    return { format: FORMAT, version: '1', extractor: name, identity, dimensions: String(dimensions), classes: String(classes) };
  }

  /** Whether the file is of this extractor and has what is kept. */
  #check(path: string, file: TensorFile): void {
    checkDescription(path, file, this.#description());
    const { count, holds } = headerOf(file);
    const wanting = this.#kept.find((kind) => !holds.includes(kind));
    if (wanting !== undefined && count > 0)
      throw new FileError('E_FILE_OTHER_FEATURES', `${path}: expected ${wanting} beside the statistics, found none`, {
        help: 'the file was made for other metrics; remove it to compute its features again',
      });
  }
}

/** What a features file says of itself. */
export interface FeaturesHeader {
  /** Images. */
  count: number;
  /** What it holds of them, statistics first. */
  holds: readonly FeatureNeed[];
}

/**
 * Reads what a file of {@link FeatureCollector.save} holds, without the extractor's weights.
 *
 * Throws as `readSafetensors`, and `E_FILE_OTHER_FEATURES` where it is no features file, or of an extractor with another name or other dimensions.
 */
export async function readFeaturesHeader(path: string, { name, dimensions }: FeatureExtractor): Promise<FeaturesHeader> {
  const file = await readSafetensors(path);
  checkDescription(path, file, { format: FORMAT, version: '1', extractor: name, dimensions: String(dimensions) });
  return headerOf(file);
}

const headerOf = (file: TensorFile): FeaturesHeader => ({
  count: Number(file.metadata['count']),
  holds: ['statistics', ...KEPT.filter((kind) => chunkCount(file, kind) > 0)],
});

function checkDescription(path: string, file: TensorFile, expected: Record<string, string>): void {
  for (const [key, value] of Object.entries(expected))
    if (file.metadata[key] !== value)
      throw new FileError('E_FILE_OTHER_FEATURES', `${path}: expected ${key} '${value}', found '${file.metadata[key] ?? ''}'`, {
        help: 'these features are of another extractor, or of other weights; remove the file to compute them again',
      });
}

const damaged = (path: string) =>
  new FileError('E_FILE_FORMAT', `${path}: expected the content that was written, its digest differs`, {
    help: 'the file is damaged; remove it, and the features are computed again',
  });

const chunkName = (kind: Kept, index: number) => `${kind}/${index}`;

const chunkCount = (file: TensorFile, kind: Kept) => [...file.tensors.keys()].filter((name) => name.startsWith(`${kind}/`)).length;

function update(hash: ReturnType<typeof createHash>, name: string, data: TensorData): void {
  hash.update(`${name} ${data.length};`);
  hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}
