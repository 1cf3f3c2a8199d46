/**
 * Does freezing help? GDD-I (most convolutions frozen) against GDD (nothing frozen): same budget, several seeds each.
 *
 *     npx tsx examples/ablation.ts [--images 3840] [--seeds 3] [--evaluated 1000] [--run-dir runs/ablation] [--policies GDD-I,GDD]
 *
 * Prints the table, writes ablation.svg and ablation.json. Finished runs are kept, so an interrupted ablation goes on; with
 * --policies two processes may share the work, and a third call draws the chart of both.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  distill,
  frechetEvaluator,
  freezeConvolutions,
  freezeNothing,
  lineChart,
  loadImageClassifier,
  openBackend,
  stopOnSignals,
  writeFileAtomic,
  type RunEvent,
} from 'onestep';
import { shapesReference } from './support/compare.js';
import { recipe } from './support/recipe.js';
import { runExample } from './support/run-example.js';
import { asset } from './support/shapes16.js';

const USAGE =
  'npx tsx examples/ablation.ts [--images 3840] [--seeds 3] [--evaluated 1000] [--run-dir runs/ablation] [--policies GDD-I,GDD]';

const options = {
  images: { type: 'string', default: '3840' },
  seeds: { type: 'string', default: '3' },
  evaluated: { type: 'string', default: '1000' },
  'run-dir': { type: 'string', default: 'runs/ablation' },
  policies: { type: 'string', default: 'GDD-I,GDD' },
} as const;

await runExample(USAGE, options, async (values) => {
  const images = Number(values.images);
  const policies = { 'GDD-I': freezeConvolutions, GDD: freezeNothing };

  await openBackend();
  await mkdir(values['run-dir'], { recursive: true });
  const classifier = await loadImageClassifier(asset('shapes16-classifier.safetensors'));
  const reference = await shapesReference(classifier);
  const evaluate = frechetEvaluator({ extractor: classifier, reference, images: Number(values.evaluated), seed: 1 });

  type Curve = { kimg: number; frechet: number }[];
  const curves: Record<string, Curve[]> = {};
  for (const [name, policy] of Object.entries(policies).filter(([name]) => values.policies.split(',').includes(name)))
    for (let seed = 0; seed < Number(values.seeds); seed++) {
      const path = join(values['run-dir'], `${name}-${images}-${seed}.json`);
      const kept = await readFile(path, 'utf8').catch(() => undefined);
      const curve = kept ? (JSON.parse(kept) as Curve) : await train(name, policy(), seed);
      await writeFileAtomic(path, JSON.stringify(curve));
      (curves[name] ??= []).push(curve);
    }

  async function train(name: string, freeze: ReturnType<typeof freezeNothing>, seed: number): Promise<Curve> {
    const curve: Curve = [];
    const run = distill({
      ...recipe({ images, seed, freeze }),
      evaluate,
      intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: images / 1000 / 3 },
    });
    stopOnSignals(run);
    run.events$.subscribe((event: RunEvent) => {
      if (event.kind !== 'evaluation') return;
      curve.push({ kimg: event.images / 1000, frechet: event.metrics['frechet']! });
      console.log(`${name}, seed ${seed}: ${event.images} images, Fréchet distance ${event.metrics['frechet']!.toFixed(2)}`);
    });
    const { student, reason } = await run.completed;
    student.dispose();
    if (reason === 'stopped') process.exit(130);
    return curve;
  }

  const sorted = (numbers: number[]) => [...numbers].sort((a, b) => a - b);
  const median = (numbers: number[]) => sorted(numbers)[Math.floor(numbers.length / 2)]!;
  const summary = Object.entries(curves).map(([name, runs]) => {
    const last = sorted(runs.map((curve) => curve.at(-1)!.frechet));
    return { name, median: median(last), lowest: last[0]!, highest: last.at(-1)!, spread: last.at(-1)! - last[0]! };
  });
  console.log(`\n${'policy'.padEnd(8)}${'median'.padStart(10)}${'lowest'.padStart(10)}${'highest'.padStart(10)}${'spread'.padStart(10)}`);
  for (const row of summary)
    console.log(
      row.name.padEnd(8) + [row.median, row.lowest, row.highest, row.spread].map((value) => value.toFixed(2).padStart(10)).join(''),
    );

  const series = Object.entries(curves).map(([name, runs]) => ({
    name,
    spread: 'band' as const,
    points: runs[0]!.map(({ kimg }, index) => {
      const at = runs.map((curve) => curve[index]!.frechet);
      return { x: kimg, y: median(at), low: Math.min(...at), high: Math.max(...at) };
    }),
  }));
  const chart = lineChart({
    title: 'Freezing most convolutions: GDD-I against GDD',
    subtitle: `median and range of ${values.seeds} seeds, ${images.toLocaleString('en-US')} images each`,
    xLabel: 'kimg',
    yLabel: 'Fréchet distance',
    series,
  });
  await writeFileAtomic(join(values['run-dir'], 'ablation.svg'), chart);
  await writeFileAtomic(join(values['run-dir'], 'ablation.json'), `${JSON.stringify({ images, summary, curves }, null, 2)}\n`);
  console.log(`see ${join(values['run-dir'], 'ablation.svg')}`);
  classifier.dispose();
});
