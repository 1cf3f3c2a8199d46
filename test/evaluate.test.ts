/** Evaluation from end to end on networks that take seconds. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createBackbone,
  dataStatistics,
  distill,
  encodePng,
  evaluate,
  frechetDistance,
  frechetEvaluator,
  ImageClassifier,
  imageGrid,
  metricsEvaluator,
  PhiloxRandom,
  readBest,
  readReference,
  shapes,
  FeatureCollector,
  frechet,
  inceptionV3,
  Student,
  writeReference,
  type DataSource,
  type EvaluateOptions,
  type Evaluation,
  type Metric,
  type RunEvent,
} from '../src/index.js';
import { blockMeans } from './support/block-means.js';
import { useEngine } from './support/engines.js';
import { tinyBackbone, tinyRun } from './support/tiny.js';

let directory: string;
let student: Student;
let reference: string;
const real = () => shapes({ resolution: 8, size: 300, split: 'evaluation' });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'onestep-evaluate-'));
  await useEngine('wasm');
  student = new Student('tiny', createBackbone(tinyBackbone).initialize(new PhiloxRandom(7)));
  reference = join(directory, 'reference.npz');
  const source = real();
  await source.open();
  await writeReference(reference, await dataStatistics(blockMeans(), source, 300));
});
afterAll(async () => {
  student.dispose();
  await rm(directory, { recursive: true, force: true });
});

const options = (more: Partial<EvaluateOptions> = {}): EvaluateOptions => ({
  student,
  against: reference,
  extractors: blockMeans(),
  images: 40,
  featureCache: false,
  ...more,
});

/** What decides nothing but says when and how long. */
const timeless = ({ started: _, finished: __, seconds: ___, ...rest }: Evaluation) => rest;

/** Images in memory. */
function memorySource(images: Uint8Array, size: number, name = 'memory'): DataSource {
  const stride = size * size * 3;
  const count = images.length / stride;
  return {
    open: () => Promise.resolve({ name, resolution: size, channels: 3, classes: 0, size: count }),
    read: (indices) => {
      const out = new Uint8Array(indices.length * stride);
      indices.forEach((index, i) => out.set(images.subarray(index * stride, (index + 1) * stride), i * stride));
      return Promise.resolve({ images: out, shape: [indices.length, size, size, 3] });
    },
    close: () => Promise.resolve(),
  };
}

const pixels = async (source: DataSource, count: number): Promise<Uint8Array> => {
  await source.open();
  return (await source.read(Uint32Array.from({ length: count }, (_, i) => i))).images.slice();
};

describe('evaluate', () => {
  it('gives the same figures, bit for bit, whatever the batch size', async () => {
    const at = async (batchSize: number) => (await evaluate(options({ batchSize, metrics: ['fid', 'is'], images: 37 }))).metrics;
    const expected = await at(64);
    expect(expected['frechet']!.mean).toBeGreaterThan(0);
    expect(await at(1)).toEqual(expected);
    expect(await at(7)).toEqual(expected);
  });

  it('computes what the parts compute by hand, over several seeds with mean, spread and lowest', async () => {
    const { metrics } = await evaluate(options({ seeds: [0, 3], metrics: ['fid'] }));
    const { frechet } = metrics;
    const byHand = async (seed: number) => {
      const made = student.generate({ count: 40, seed });
      return frechetDistance(await dataStatistics(blockMeans(), memorySource(made.images, 8), 40), await readReference(reference));
    };
    const [a, b] = [await byHand(0), await byHand(3)];
    expect(frechet!.values).toBeAllclose([a, b], { rtol: 1e-9 });
    expect(frechet!.mean).toBeCloseTo((a + b) / 2, 9);
    expect(frechet!.spread).toBeCloseTo(Math.abs(a - b) / 2, 9);
    expect(frechet!.min).toBe(Math.min(...frechet!.values));
    expect(frechet!.better).toBe('lower');
  });

  it('scores a set of images: 0 against itself, and a random part of it by seed', async () => {
    const whole = await evaluate({
      data: real(),
      against: real(),
      extractors: blockMeans(),
      metrics: ['fid', 'precision'],
      featureCache: false,
    });
    expect(whole.images).toBe(300);
    expect(whole.metrics['frechet']!.mean).toBeCloseTo(0, 9);
    expect(whole.metrics['precision']!.mean).toBe(1);
    const parts = await evaluate({
      data: real(),
      images: 100,
      seeds: [0, 1],
      against: reference,
      extractors: blockMeans(),
      metrics: ['fid'],
    });
    const [first, second] = parts.metrics['frechet']!.values;
    expect(first).toBeGreaterThan(0);
    expect(first).not.toBe(second);
  });

  it('runs a teacher by its sampler', async () => {
    const teacher = { name: 'tiny', backbone: student.backbone };
    const { student: _, ...rest } = options({ teacher, images: 10, metrics: ['fid'] });
    const of = async (steps: number) => evaluate({ ...rest, steps });
    const [one, three] = [await of(1), await of(3)];
    expect(three.subject).toMatchObject({ kind: 'teacher', evaluations: 5 });
    expect(one.metrics['frechet']!.mean).not.toBe(three.metrics['frechet']!.mean);
  });

  it('lets every image through several extractors, each with its reference', async () => {
    const extractors = [blockMeans(), blockMeans('clip-like')];
    const against = { 'block-means': real(), 'clip-like': real() };
    const { metrics, extractors: said } = await evaluate(options({ extractors, against, metrics: ['fid', 'recall'] }));
    expect(Object.keys(metrics).sort()).toEqual(['clip_fid', 'clip_precision', 'clip_recall', 'frechet', 'precision', 'recall']);
    expect(metrics['clip_fid']!.mean).toBe(metrics['frechet']!.mean);
    expect(said.map(({ name }) => name)).toEqual(['block-means', 'clip-like']);
  });

  it('keeps the features of a set in a cache, keyed by its content', async () => {
    const featureCache = join(directory, 'features');
    const looks = async (source: DataSource) => {
      const extractor = blockMeans();
      const { metrics } = await evaluate(options({ extractors: extractor, against: source, metrics: ['fid', 'precision'], featureCache }));
      return { looked: extractor.looked, metrics };
    };
    const first = await looks(real());
    expect(first.looked).toBe(340);
    expect(await looks(real())).toEqual({ looked: 40, metrics: first.metrics });
    const changed = await pixels(real(), 300);
    changed[12_345]! ^= 1;
    expect((await looks(memorySource(changed, 8))).looked).toBe(340);
  });

  it('of a larger reference keeps features of a part, and mean and covariance of all', async () => {
    const rows: Metric = {
      name: 'rows',
      needs: ['features'],
      comparesWithReference: true,
      compute: (_, set) => Promise.resolve({ rows: set!.features!.count, images: set!.count }),
    };
    const all = await evaluate(options({ against: real(), metrics: ['fid', rows] }));
    const part = await evaluate(options({ against: real(), metrics: ['fid', rows], references: 50 }));
    expect(part.extractors[0]!.reference).toMatchObject({ images: 300, kept: 50 });
    expect([all, part].map(({ metrics }) => [metrics['rows']!.mean, metrics['images']!.mean])).toEqual([
      [300, 300],
      [50, 300],
    ]);
    expect(part.metrics['frechet']!.mean).toBeCloseTo(all.metrics['frechet']!.mean, 9);
  });
});

describe('what an evaluation leaves', () => {
  it('is the JSON and one page with random images, nearest images and interpolations', async () => {
    const outDir = join(directory, 'left');
    const evaluation = await evaluate(options({ against: real(), outDir, title: 'Tiny <1>', command: 'onestep evaluate' }));
    expect((await readdir(outDir)).sort()).toEqual([
      'evaluation.html',
      'evaluation.json',
      'interpolations.png',
      'nearest.png',
      'random.png',
    ]);
    expect(JSON.parse(await readFile(join(outDir, 'evaluation.json'), 'utf8'))).toEqual(evaluation);
    const page = await readFile(join(outDir, 'evaluation.html'), 'utf8');
    for (const name of ['random', 'nearest', 'interpolations']) {
      const png = await readFile(join(outDir, `${name}.png`));
      expect(page, name).toContain(png.toString('base64'));
    }
    expect(page).toContain('Tiny &lt;1&gt;');
    expect(page).not.toMatch(/<script|https?:\/\//);
    // Every image of the first ones, in order.
    const made = student.generate({ count: 40, seed: 0 });
    expect(await readFile(join(outDir, 'random.png'))).toEqual(Buffer.from(encodePng(imageGrid(made.images, made.shape))));
  });

  it('finds a training image that was copied', async () => {
    const training = await pixels(shapes({ resolution: 8, size: 200 }), 200);
    const generated = await pixels(real(), 60);
    generated.set(training.subarray(123 * 192, 124 * 192), 17 * 192);
    const evaluation = await evaluate({
      data: memorySource(generated, 8),
      against: memorySource(training, 8),
      extractors: blockMeans(),
      metrics: ['fid'],
      featureCache: false,
      outDir: join(directory, 'planted'),
    });
    const { rows, median, medianOfReferences, references, checked } = evaluation.nearest!;
    expect(rows[0]!.image).toBe(17);
    expect(rows[0]!.matches[0]).toEqual({ reference: 123, distance: 0 });
    expect(rows[0]!.matches).toHaveLength(5);
    expect(rows[1]!.matches[0]!.distance).toBeGreaterThan(0);
    expect([references, checked]).toEqual([200, 60]);
    expect(median).toBeGreaterThan(0);
    // No image is its own neighbour.
    expect(medianOfReferences).toBeGreaterThan(0);
  });
});

describe('an interrupted evaluation', () => {
  const settings = (outDir: string | undefined, more: Partial<EvaluateOptions> = {}) =>
    options({ against: real(), seeds: [0, 1], metrics: ['fid', 'precision', 'is'], batchSize: 8, ...(outDir && { outDir }), ...more });

  it.each([
    ['in the reference', 'reference', 150],
    ['in the first seed', 'images', 17],
    ['in the second seed', 'images', 60],
  ])('%s goes on to what an uninterrupted one gives', async (_, phase, at) => {
    const outDir = join(directory, `stopped-${phase}-${at}`);
    const controller = new AbortController();
    let seen = 0;
    const onProgress: EvaluateOptions['onProgress'] = (progress) => {
      if (progress.phase === phase && progress.done > 0 && (seen += 8) >= at) controller.abort();
    };
    await expect(evaluate(settings(outDir, { signal: controller.signal, onProgress }))).rejects.toMatchObject({ code: 'E_RUN_STOPPED' });
    expect(existsSync(join(outDir, 'evaluation.json'))).toBe(false);

    const extractor = blockMeans();
    const resumed = await evaluate(settings(outDir, { extractors: extractor }));
    const whole = await evaluate(settings(join(directory, `whole-${phase}-${at}`)));
    expect(timeless(resumed)).toEqual(timeless(whole));
    // 300 of the reference, 80 of the seeds, 40 for the nearest images; what was done is not done again.
    expect(extractor.looked).toBeLessThanOrEqual(420 - at);
    expect(existsSync(join(outDir, 'evaluation-progress'))).toBe(false);
  });

  it('in a metric goes on to it, and looks at no image again', async () => {
    const controller = new AbortController();
    const onProgress: EvaluateOptions['onProgress'] = ({ phase, done, count }) =>
      void (phase === 'metrics' && done > 0 && done < count && controller.abort());
    const more: Partial<EvaluateOptions> = { seeds: [0], metrics: ['precision', 'coverage'] };
    const outDir = join(directory, 'stopped-metric');
    const stopped = evaluate(settings(outDir, { ...more, signal: controller.signal, onProgress }));
    await expect(stopped).rejects.toMatchObject({ code: 'E_RUN_STOPPED' });
    const extractor = blockMeans();
    const resumed = await evaluate(settings(outDir, { ...more, extractors: extractor }));
    // Those of the page, to find the nearest images.
    expect(extractor.looked).toBe(40);
    const whole = await evaluate(settings(join(directory, 'whole-metric'), more));
    expect(timeless(resumed)).toEqual(timeless(whole));
  });

  it('is not mixed with another one', async () => {
    const outDir = join(directory, 'mixed');
    const controller = new AbortController();
    const onProgress: EvaluateOptions['onProgress'] = ({ phase, done }) => void (phase === 'images' && done > 8 && controller.abort());
    await expect(evaluate(settings(outDir, { signal: controller.signal, onProgress }))).rejects.toThrow('stopped');
    await expect(evaluate(settings(outDir, { images: 50 }))).rejects.toThrow(/images: was 40, is 50/);
    const other = new Student('other', createBackbone(tinyBackbone).initialize(new PhiloxRandom(8)));
    await expect(evaluate(settings(outDir, { student: other }))).rejects.toMatchObject({ code: 'E_RUN_CONFIG' });
    other.dispose();
  });

  it('that is stopped while a reference is being read says so, too', async () => {
    const controller = new AbortController();
    const source = real();
    const stopping: DataSource = {
      open: () => source.open(),
      read: (indices, signal) => {
        if (signal) controller.abort();
        return signal?.aborted ? Promise.reject(signal.reason as Error) : source.read(indices);
      },
      close: () => source.close(),
    };
    const featureCache = join(directory, 'stopped-cache');
    await expect(evaluate(settings(undefined, { against: stopping, featureCache, signal: controller.signal }))).rejects.toMatchObject({
      code: 'E_RUN_STOPPED',
    });
  });

  it('that is stopped before it begins leaves nothing done', async () => {
    await expect(evaluate(settings(undefined, { signal: AbortSignal.abort() }))).rejects.toMatchObject({ code: 'E_RUN_STOPPED' });
  });
});

describe('before anything long begins', () => {
  const refused = async (more: Partial<EvaluateOptions>) => {
    let prepared = 0;
    const extractor = { ...blockMeans(), prepare: () => Promise.resolve(void prepared++) };
    const error = await evaluate(options({ extractors: extractor, ...more })).then(
      () => new Error('was not refused'),
      (reason: unknown) => reason as Error & { code?: string },
    );
    expect(extractor.looked, 'images were looked at').toBe(0);
    expect(prepared, 'weights were read').toBe(0);
    return error;
  };

  it.each<[string, Partial<EvaluateOptions>, RegExp]>([
    ['a path where nothing is', { against: '/nowhere/ref.npz' }, /nowhere/],
    ['no subject', { student: undefined }, /expected one of student, teacher and data/],
    ['two subjects', { data: real() }, /got 2 of them/],
    ['metrics that statistics cannot serve', { metrics: ['kid', 'precision'] }, /kernel-distance: .*mean and covariance only/],
    ['too few images', { against: real(), metrics: ['kid'] }, /images: kid needs 1000 or more, got 40/],
    [
      'too small a reference',
      { against: real(), metrics: ['kid'], images: 2000 },
      /against: kid needs 1000 images or more, the reference has 300/,
    ],
    ['no reference', { against: undefined, metrics: ['fid'] }, /needs a reference/],
    [
      'channels that differ',
      {
        against: {
          ...memorySource(new Uint8Array(64 * 5), 8),
          open: () => Promise.resolve({ name: 'grey', resolution: 8, channels: 1, classes: 0, size: 5 }),
        },
      },
      /grey has 1 channels/,
    ],
    ['metrics of another extractor', { metrics: ['clip_fid'] }, /clip_fid is of another extractor/],
    ['an unknown option', { imagess: 3 } as Partial<EvaluateOptions>, /imagess/],
    ['an unknown metric', { metrics: ['fidd' as 'fid'] }, /metrics\.0: expected one of fid, .*coverage, or a metric, got 'fidd'/],
    ['no number of images', { images: 'abc' as unknown as number }, /images: expected a whole number of 2 or more, got 'abc'/],
    ['no seed', { seeds: [0, 'x' as unknown as number] }, /seeds\.1: expected a whole number of 0 or more, got 'x'/],
    ['no student', { student: 3 as unknown as string }, /student: expected a path or a Student, got 3/],
    ['no reference', { against: 7 as unknown as string }, /against: expected a path, a data source, or statistics, .* got 7/],
  ])('refuses %s', async (_, more, message) => {
    expect((await refused(more)).message).toMatch(message);
  });

  it('says everything that is wrong at once', async () => {
    const error = await refused({
      student: 'absent.safetensors',
      against: '/nowhere/ref.npz',
      extractors: inceptionV3({ weights: '/nowhere/inception.pth' }),
      metrics: ['clip_fid', 'kid'],
    });
    expect(error).toMatchObject({ code: 'E_CONFIG' });
    for (const problem of [
      /absent\.safetensors: no such file/,
      /ref\.npz/,
      /inception\.pth: no such file/,
      /clip_fid is of another extractor than inception-v3/,
      /images: kid needs 1000 or more, got 40/,
    ])
      expect(error.message).toMatch(problem);
  });

  it('says a single problem as it is', async () => {
    expect(await refused({ against: '/nowhere/ref.npz' })).toMatchObject({ code: 'E_FILE_ABSENT' });
    const garbage = join(directory, 'garbage.safetensors');
    await writeFile(garbage, 'x'.repeat(500));
    expect(await refused({ student: garbage })).toMatchObject({ code: expect.stringMatching(/^E_(FILE|WEIGHTS)/) as string });
    const empty = join(directory, 'empty');
    await mkdir(empty);
    expect(await refused({ student: undefined, data: empty })).toMatchObject({ code: 'E_DATA_FORMAT' });
    const short = join(directory, 'short.npz');
    await writeFile(short, 'PK');
    expect((await refused({ against: short })).message).toMatch(/short\.npz/);
  });

  it('refuses features of another extractor, or without rows, by what the file says of itself', async () => {
    const collector = new FeatureCollector(blockMeans(), [frechet()]);
    await collector.add(await pixels(real(), 300), [300, 8, 8, 3]);
    const path = join(directory, 'features.safetensors');
    await collector.save(path);
    expect((await refused({ against: path, metrics: ['fid', 'precision'] })).message).toMatch(
      /precision-recall: features\.safetensors holds mean/,
    );
    const other = { ...blockMeans('other'), prepare: () => Promise.reject(new Error('weights were read')) };
    expect(await refused({ against: path, extractors: other })).toMatchObject({ code: 'E_FILE_OTHER_FEATURES' });
    const { metrics } = await evaluate(options({ against: path, metrics: ['fid'] }));
    expect(metrics['frechet']!.mean).toBeCloseTo((await evaluate(options({ metrics: ['fid'] }))).metrics['frechet']!.mean, 6);
  });

  it('refuses statistics of other dimensions than the extractor', async () => {
    const path = join(directory, 'narrow.npz');
    await writeReference(path, { mean: new Float64Array(3), covariance: new Float64Array(9) });
    const error = await refused({ against: path });
    expect(error).toMatchObject({ code: 'E_SHAPE' });
    expect(error.message).toMatch(/expected mean and covariance of 12 dimensions for block-means, found 3/);
  });

  it('refuses more images than a set has, and seeds that would not differ', async () => {
    expect((await refused({ student: undefined, data: real(), images: 301 })).message).toMatch(/has 300, got 301/);
    expect((await refused({ student: undefined, data: real(), images: undefined, seeds: [0, 1] })).message).toMatch(
      /every seed gives the same/,
    );
  });
});

describe('in training', () => {
  it('scores the averaged student and keeps the best snapshot', async () => {
    const runDir = join(directory, 'run');
    const extractor = blockMeans();
    const evaluator = metricsEvaluator({
      extractors: extractor,
      against: real(),
      metrics: ['fid', 'precision'],
      images: 20,
      best: 'precision',
      featureCache: false,
    });
    const events: RunEvent[] = [];
    const intervals = { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0.016 };
    const run = distill(tinyRun({ images: 32, runDir, intervals, evaluate: evaluator }));
    run.events$.subscribe((event) => events.push(event));
    const distilled = await run.completed;
    const scores = events.flatMap((event) => (event.kind === 'evaluation' ? [event.metrics] : []));
    expect(scores).toHaveLength(2);
    expect(Object.keys(scores[0]!)).toEqual(['frechet', 'precision', 'recall']);
    expect((await readBest(runDir))!.value).toBe(Math.max(...scores.map(({ precision }) => precision!)));
    // The reference once, the student twice.
    expect(extractor.looked).toBe(340);
    const last = await evaluate(options({ student: distilled.student, against: real(), metrics: ['fid'], images: 20 }));
    expect(scores[1]!['frechet']).toBeCloseTo(last.metrics['frechet']!.mean, 9);
    const { frechet } = await frechetEvaluator({ extractor, reference: await readReference(reference), images: 20 }).evaluate(
      distilled.student,
    );
    expect(frechet).toBeCloseTo(last.metrics['frechet']!.mean, 6);
    distilled.student.dispose();
  });

  it('refuses a reference that does not fit before training begins', async () => {
    const evaluator = metricsEvaluator({ extractors: blockMeans(), against: reference, metrics: ['kid'], images: 20 });
    const run = distill(tinyRun({ evaluate: evaluator }));
    const kinds: string[] = [];
    run.events$.subscribe(({ kind }) => kinds.push(kind));
    await expect(run.completed).rejects.toThrow(/mean and covariance only/);
    expect(kinds).toEqual(['ended']);
  });
});

describe('onestep evaluate and onestep reference', () => {
  // The commands run in a directory of their own, from which the package is not found by name.
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url));
  const start = (...args: string[]) => {
    const env = { ...process.env, ONESTEP_ENGINE: 'wasm', ONESTEP_CACHE: join(directory, 'cache') };
    const child = spawn(process.execPath, ['--import', tsx, cli, ...args], { env, cwd: directory });
    const text = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    return { child, text, ended };
  };

  it('make a reference, stop by Ctrl-C, go on, and end with what evaluate gives', { timeout: 600_000 }, async () => {
    const folder = join(directory, 'images');
    await mkdir(folder);
    const data = await pixels(real(), 30);
    for (let i = 0; i < 30; i++)
      await writeFile(
        join(folder, `img${String(i).padStart(8, '0')}.png`),
        encodePng({ data: data.subarray(i * 192, (i + 1) * 192), width: 8, height: 8, channels: 3 }),
      );
    const classifier = new ImageClassifier({ channels: 3, classes: 3, widths: [4], features: 6 }, 'tiny-classifier').initialize(
      new PhiloxRandom(1),
    );
    await classifier.save(join(directory, 'classifier.safetensors'));
    await student.save(join(directory, 'tiny.safetensors'));
    const extractor = ['--extractor', 'classifier.safetensors'];

    const made = start('reference', 'images', 'images.npz', ...extractor);
    expect(await made.ended, made.text.err).toBe(0);
    const statistics = await readReference(join(directory, 'images.npz'));
    expect(statistics.mean).toHaveLength(6);
    const byHand = await dataStatistics(classifier, memorySource(data, 8), 30);
    expect(statistics.covariance).toBeAllclose(byHand.covariance, { rtol: 1e-6, atol: 1e-12 });

    const args = ['evaluate', 'tiny.safetensors', '--against', 'images.npz', ...extractor, '--images', '2000', '--batch', '20', '--json'];
    const first = start(...args, '--out', 'by-cli');
    await new Promise<void>((resolve) => first.child.stderr.on('data', () => first.text.err.includes('images: ') && resolve()));
    first.child.kill('SIGINT');
    expect(await first.ended, first.text.err).toBe(130);
    expect(first.text.err).toContain('the same command goes on from here');
    expect(existsSync(join(directory, 'by-cli', 'evaluation.json'))).toBe(false);

    const second = start(...args, '--out', 'by-cli');
    expect(await second.ended, second.text.err).toBe(0);
    const printed = JSON.parse(second.text.out) as Evaluation;
    expect(JSON.parse(await readFile(join(directory, 'by-cli', 'evaluation.json'), 'utf8'))).toEqual(printed);
    expect(printed.command).toContain('--images 2000');
    const whole = await evaluate({ student, against: join(directory, 'images.npz'), extractors: classifier, images: 2000, batchSize: 20 });
    expect(printed.metrics['frechet']!.mean).toBe(whole.metrics['frechet']!.mean);
    classifier.dispose();
  });

  it('say everything that is wrong with exit code 1', async () => {
    await student.save(join(directory, 'tiny.safetensors'));
    const files = ['--against', 'absent.npz', '--extractor', 'inception', '--weights', 'absent.pth'];
    const run = start('evaluate', 'tiny.safetensors', ...files);
    expect(await run.ended).toBe(1);
    expect(run.text.err).toMatch(/onestep: E_CONFIG: .*absent\.pth.*absent\.npz/s);

    const wrong = start(
      'evaluate',
      'tiny.safetensors',
      '--extractor',
      'foo',
      '--against',
      'absent.npz',
      '--images',
      'abc',
      '--metrics',
      'fod',
    );
    expect(await wrong.ended).toBe(1);
    for (const problem of [
      /--extractor: expected inception, clip, dinov2, .* got 'foo'/,
      /absent\.npz/,
      /images: .* got 'abc'/,
      /metrics\.0: .*'fod'/,
    ])
      expect(wrong.text.err).toMatch(problem);
    expect(existsSync(join(directory, 'evaluation-tiny'))).toBe(false);
  });
});
