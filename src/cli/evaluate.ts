import { basename } from 'node:path';
import { openBackend } from '../core/backend/index.js';
import { ENGINE_NAMES, type EngineName } from '../core/backend/options.js';
import type { Evaluation } from '../core/contracts/evaluation.js';
import { RunError } from '../core/errors.js';
import { formatDuration, formatNumber } from '../core/format.js';
import { describeIssues } from '../core/options.js';
import { evaluate } from '../pipelines/evaluate/evaluate.js';
import { METRIC_NAMES } from '../pipelines/evaluate/metric-names.js';
import { evaluateSchema, type EvaluateOptions } from '../pipelines/evaluate/options.js';
import { Problems } from '../pipelines/evaluate/problems.js';
import { isFile } from '../pipelines/evaluate/reference.js';
import { holdsNetwork } from '../pipelines/evaluate/subject-kind.js';
import type { Command } from './command.js';
import { evaluationProgress } from './evaluation-progress.js';
import { EXTRACTOR_HELP, EXTRACTOR_OPTIONS, extractorsOf } from './extractors.js';
import { count, list } from './flags.js';
import { withInterruption } from './interruption.js';

function report({ subject, images, seeds, metrics, notes, seconds }: Evaluation, outDir: string): string {
  const several = seeds.length > 1;
  const width = Math.max(...Object.keys(metrics).map((name) => name.length));
  const rows = Object.entries(metrics).map(([name, { mean, spread, min }]) => {
    const value = formatNumber(mean, 5).padStart(12);
    return `  ${name.padEnd(width)}${value}${several ? ` ± ${formatNumber(spread, 3)}, lowest ${formatNumber(min, 5)}` : ''}`;
  });
  const what = `${subject.kind} ${subject.name}, ${formatNumber(images, 1)} images${several ? ` of each of ${seeds.length} seeds` : ''}`;
  return [what, ...rows, ...notes.map((note) => `note: ${note}`), `${formatDuration(seconds)}; see ${outDir}/evaluation.html`].join('\n');
}

/** The options that the command line gives, but for extractors and their references; wrong values are left for the schema to name. */
async function plainOptions(values: Record<string, unknown>, subject: string) {
  const given = (key: string, parse: (value: unknown) => unknown = count) => (values[key] === undefined ? undefined : parse(values[key]));
  const optional = Object.entries({
    images: given('images'),
    seeds: given('seeds', (value) => list(value).map(count)),
    batchSize: given('batch'),
    references: given('references'),
    metrics: given('metrics', list),
    title: given('title', String),
    steps: given('steps'),
  }).filter(([, value]) => value !== undefined);
  return {
    ...(values['steps'] !== undefined ? { teacher: subject } : (await holdsNetwork(subject)) ? { student: subject } : { data: subject }),
    ...(Object.fromEntries(optional) as Partial<EvaluateOptions>),
    outDir: (values['out'] as string | undefined) ?? `evaluation-${basename(subject).replace(/\.[^.]+$/, '')}`,
  };
}

/** What `evaluate` is called with. Throws, where extractors cannot be made, everything else that is wrong, too. */
export async function evaluateOptions(values: Record<string, unknown>, subject: string): Promise<EvaluateOptions & { outDir: string }> {
  const problems = new Problems('evaluate');
  const against = (values['against'] as string[] | undefined) ?? [];
  const options = await plainOptions(values, subject);
  const extractors = await problems.attempt(() => extractorsOf(values));
  if (extractors === undefined) {
    const stub = { extract: () => Promise.reject(new Error('no extractor')) };
    const parsed = evaluateSchema.safeParse({ ...options, extractors: stub });
    if (!parsed.success) problems.add(...describeIssues(parsed.error));
    for (const path of against) await problems.attempt(() => isFile(path));
  } else if (against.length > extractors.length)
    problems.add(`--against: expected one for each extractor, got ${against.length} for ${extractors.map(({ name }) => name).join(', ')}`);
  problems.throwIfAny();
  return {
    ...options,
    ...(against.length > 0 && {
      against: against.length === 1 ? against[0]! : Object.fromEntries(against.map((one, i) => [extractors![i]!.name, one])),
    }),
    extractors: extractors!,
  };
}

export const evaluateCommand: Command = {
  help: `usage: onestep evaluate SUBJECT --against REF [--extractor NAME] [--weights FILE] [--metrics NAMES] [--images N]
                        [--seeds 0,1,2] [--batch N] [--steps N] [--out DIR] [--json]

Scores SUBJECT, and writes evaluation.json, evaluation.html and its pictures into DIR. SUBJECT is a student in any format that holds a
network, or a set of images: a folder, a zip and what else holds images. Images are made, looked at and forgotten; image i of a seed is
the same whatever the batch size. Progress goes to standard error. After Ctrl-C, or a crash, the same command goes on where it was.

  --against REF      an .npz with mu and sigma as EDM's references, a set of images, or a file of features; several: one for each extractor
${EXTRACTOR_HELP}
  --metrics NAMES    of ${METRIC_NAMES.join(', ')};
                     default: fid, and kid and is where reference, extractor and number of images allow
  --images N         of each seed; default 50000, of a set of images all
  --seeds LIST       default 0; of several: mean, spread and lowest
  --batch N          images at once; default 64
  --steps N          SUBJECT is a teacher: EDM's sampler with so many steps
  --references N     images of a larger reference set whose features are kept; default 50000
  --out DIR          default evaluation-NAME
  --title TEXT       of the page
  --engine NAME      ${ENGINE_NAMES.join(', ')}; default: the best that works
  --json             prints the content of evaluation.json

exit code: 0, 1 where it cannot be done, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM`,
  options: {
    against: { type: 'string', multiple: true },
    ...EXTRACTOR_OPTIONS,
    metrics: { type: 'string' },
    images: { type: 'string' },
    seeds: { type: 'string' },
    batch: { type: 'string' },
    steps: { type: 'string' },
    references: { type: 'string' },
    out: { type: 'string' },
    title: { type: 'string' },
    engine: { type: 'string' },
    json: { type: 'boolean' },
  },
  positionals: ['SUBJECT'],
  async run(values, [subject]) {
    await openBackend({ engine: (values['engine'] as EngineName | undefined) ?? 'auto' });
    const options = await evaluateOptions(values, subject!);
    const command = ['onestep', 'evaluate', ...process.argv.slice(3)].join(' ');
    const onSignal = (name: string) =>
      process.stderr.write(`\n${name}: finishing this batch and keeping what is done; once more to quit at once\n`);
    return withInterruption(async ({ signal, exitCode }) => {
      try {
        const evaluation = await evaluate({ ...options, command, signal, onProgress: evaluationProgress() });
        console.log(values['json'] === true ? JSON.stringify(evaluation, null, 2) : report(evaluation, options.outDir));
        return 0;
      } catch (error) {
        if (!(error instanceof RunError) || error.code !== 'E_RUN_STOPPED') throw error;
        console.error('\nstopped; the same command goes on from here');
        return exitCode() ?? 1;
      }
    }, onSignal);
  },
};
