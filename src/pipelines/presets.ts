/**
 * The paper's recipes as options of `distill`; the numbers are in `preset-table.ts`.
 */
import { z } from 'zod';
import type { DataSource } from '../core/contracts/data.js';
import type { Sink } from '../core/contracts/events.js';
import type { Discriminator } from '../core/contracts/training.js';
import type { Provided } from '../core/container.js';
import { ConfigError } from '../core/errors.js';
import { Adam, lazyRegularization } from '../core/optimizer.js';
import { describeIssues } from '../core/options.js';
import { distributional, reductions } from '../losses/distributional.js';
import { nonSaturating } from '../losses/adversarial.js';
import { r1 } from '../losses/regularizers.js';
import { freezeConvolutions, freezeNothing } from '../models/freeze/policies.js';
import type { TeacherLoader } from '../models/teachers/teacher.js';
import type { DistillOptions } from './distillation.js';
import type { Evaluator } from './evaluator.js';
import { planDistillation, type DistillationPlan } from './plan.js';
import { presetData } from './preset-data.js';
import { presetDiscriminator, presetTeacher, type PresetFeatureWeights } from './preset-parts.js';
import { presetTable, type PresetName, type PresetRow } from './preset-table.js';
import { runSchema, type RunSettings, type scheduleSchema } from './run-options.js';

const positive = z.number().positive();
const reference = z.string().min(1).optional();

/** What a preset takes besides the settings of a run and its parts. */
const recipe = z.strictObject({
  /** `GDD-I` freezes most convolutions (level 1), `GDD` nothing. */
  method: z.enum(['GDD', 'GDD-I']).default('GDD-I'),
  /** Adam's; undefined: the table's. */
  learningRates: z.strictObject({ generator: positive.optional(), discriminator: positive.optional() }).default({}),
  /** Undefined: the table's. */
  r1: z.strictObject({ gamma: z.number().min(0).optional(), every: z.number().int().positive().optional() }).default({}),
  /** How logits become a loss: `mean`, or `sum` as the paper's reference code does. */
  reduction: z.enum(reductions).default('mean'),
  /** Where the feature networks' weights are; undefined: where they are published. */
  features: z.strictObject({ vgg16bn: reference, efficientnetLite0: reference, deit: reference }).default({}),
  /** What class embeddings start from: ImageNet's classes, one for each of the set's, or `random`. */
  classEmbeddings: z.union([z.literal('random'), z.array(z.number().int().min(0).max(999))]).optional(),
});

const isObject = (value: unknown) => typeof value === 'object' && value !== null;
const isText = (value: unknown) => typeof value === 'string' && value !== '';

/** Parts are classes of others: only that there is something is checked here. */
const parts = z.object({
  teacher: z
    .custom<string | TeacherLoader>(
      (value) => isText(value) || (isObject(value) && 'load' in (value as object)),
      'expected a path, a published name, hf:owner/name or a teacher loader',
    )
    .optional(),
  data: z.custom<string | Provided<DataSource>>((value) => isText(value) || isObject(value), 'expected a path or a data source').optional(),
  discriminator: z.custom<Provided<Discriminator>>(isObject, 'expected a discriminator, such as encoderDiscriminator()').optional(),
});

/** Options of a preset: everything that `distill` takes of a run, where undefined the paper's. */
export interface PresetOptions
  extends Partial<Omit<RunSettings, 'schedule'>>, Omit<z.input<typeof recipe>, 'features' | 'classEmbeddings'> {
  /** A path, a published name, `hf:owner/name[/file][@revision]` or a loader. Default: the row's published teacher. */
  teacher?: string | TeacherLoader | undefined;
  /** Real images, a source or the path of a data set. */
  data?: string | Provided<DataSource> | undefined;
  /** Default: the paper's projected discriminator, over the weights that `features` names. */
  discriminator?: Provided<Discriminator> | undefined;
  /** The feature networks' weights: paths, `https://…` or `hf:owner/name/file`. Default: as they are published, fetched when the run starts. */
  features?: PresetFeatureWeights;
  /**
   * Class-conditional recipes: what the heads' class embeddings start from, `random` or the ImageNet class of each class in
   * order (rows of EfficientNet-lite0's classifier). Default: ImageNet's own for ImageNet, else random.
   */
  classEmbeddings?: readonly number[] | 'random';
  /** Default: the row's `images` and `batchSize`, in one micro-batch. */
  schedule?: Partial<z.input<typeof scheduleSchema>>;
  evaluate?: Provided<Evaluator>;
  sinks?: readonly Sink[];
  signal?: AbortSignal;
}

/** Options of `distill` for one recipe. Throws `E_CONFIG` with every problem. */
export type Preset = (options?: PresetOptions) => DistillOptions;

function resolvePreset(name: PresetName, options: PresetOptions): DistillOptions {
  const where = `presets.${name}`;
  const row: PresetRow = presetTable[name];
  const {
    teacher,
    data,
    discriminator,
    method,
    learningRates,
    r1: penalty,
    reduction,
    features,
    classEmbeddings,
    evaluate,
    sinks,
    signal,
    schedule,
    ...run
  } = options;

  const settings = {
    emaHalfLife: row.emaHalfLife,
    ...run,
    // What is no object is left for the schema to name.
    schedule: schedule === undefined || isObject(schedule) ? { images: row.images, batchSize: row.batchSize, ...schedule } : schedule,
  };
  const checked = recipe.safeParse({ method, learningRates, r1: penalty, reduction, features, classEmbeddings });
  const results = [checked, parts.safeParse({ teacher, data, discriminator }), runSchema.safeParse(settings)];
  const problems = results.flatMap(({ error }) => (error ? describeIssues(error) : []));
  if (!checked.success || problems.length > 0)
    throw new ConfigError(where, problems, { help: 'correct the options; what is left out is the paper’s' });

  const given = checked.data;
  const every = given.r1.every ?? row.r1.every;
  const rates = { ...row.learningRates, ...defined(given.learningRates) };
  return {
    ...settings,
    teacher: presetTeacher(where, teacher ?? row.teacher, row),
    data: data === undefined || typeof data === 'string' ? presetData(where, data, row) : data,
    freeze: given.method === 'GDD' ? freezeNothing() : freezeConvolutions({ level: 1 }),
    loss: distributional({
      discriminator: discriminator ?? presetDiscriminator(row, given.features, given.classEmbeddings),
      adversarial: nonSaturating(),
      regularizers: [r1({ gamma: given.r1.gamma ?? row.r1.gamma, every })],
      optimizer: new Adam(lazyRegularization({ ...PAPER_ADAM, learningRate: rates.discriminator }, every)),
      reduction: given.reduction,
    }),
    optimizer: new Adam({ ...PAPER_ADAM, learningRate: rates.generator }),
    ...(evaluate && { evaluate }),
    ...(sinks && { sinks }),
    ...(signal && { signal }),
  };
}

/** Of both networks. */
const PAPER_ADAM = { beta1: 0, beta2: 0.99, epsilon: 1e-8, nonFinite: 'paper' } as const;

const defined = <T extends object>(options: T) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };

/**
 * The paper's recipes: each takes what differs and returns options of `distill`.
 *
 * ```ts
 * const run = distill(presets.cifar10({ data: shapes({ resolution: 32 }), discriminator: encoderDiscriminator(), runDir: 'runs/c10' }));
 * ```
 */
export const presets = Object.fromEntries(
  (Object.keys(presetTable) as PresetName[]).map((name) => [name, (options: PresetOptions = {}) => resolvePreset(name, options)]),
) as { readonly [Name in PresetName]: Preset };

/**
 * What a preset would do and need; no file must be there: the teacher's is looked at where it is on this machine,
 * else its published architecture counts. Throws as the preset and as `planDistillation`.
 */
export async function describePreset(name: PresetName, options: PresetOptions = {}): Promise<DistillationPlan> {
  return planDistillation(resolvePreset(name, options), `presets.${name} (${options.method ?? 'GDD-I'})`);
}
