/**
 * A distillation before it starts: its parts in a container, and the networks that are made of a teacher.
 *
 * `distill` runs it; `planDistillation` only looks at it.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import {
  createContainer,
  DATA_SOURCE,
  describeProvided,
  FREEZE_POLICY,
  GENERATE,
  GENERATOR_OPTIMIZER,
  missingOf,
  OBJECTIVE,
  provide,
  RANDOM,
  SINKS,
  toldBy,
  type DependencyContainer,
  type FileCheck,
  type Provided,
} from '../core/container.js';
import type { DataSource } from '../core/contracts/data.js';
import type { Sink } from '../core/contracts/events.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { FreezePolicy } from '../core/contracts/parameter.js';
import type { RandomSource } from '../core/contracts/random.js';
import type { Objective } from '../core/contracts/training.js';
import { ConfigError } from '../core/errors.js';
import { Adam } from '../core/optimizer.js';
import { PhiloxRandom } from '../core/random.js';
import { distributional } from '../losses/distributional.js';
import type { Backbone, BackboneConfig } from '../models/backbones/backbone.js';
import { createBackbone } from '../models/backbones/config.js';
import { encoderDiscriminator } from '../models/discriminators/encoder-discriminator.js';
import { freezeConvolutions } from '../models/freeze/policies.js';
import { applyFreezePolicy, summarizeFreeze, type FreezeSummary } from '../models/freeze/summary.js';
import { generateOneStep } from '../models/preconditioning.js';
import { TEACHER, TEACHER_LOADER, type Teacher, type TeacherLoader } from '../models/teachers/teacher.js';
import { EVALUATOR, type Evaluator } from './evaluator.js';
import { drawLatents } from './generator-stage.js';
import { checkRunOptions, type runSchema, type scheduleSchema } from './run-options.js';

/** Options of `distill`. */
export interface DistillOptions extends z.input<typeof runSchema> {
  /** Brings the pretrained network; also the generator's first weights. */
  teacher: TeacherLoader;
  /** Real images at the teacher's resolution. */
  data: Provided<DataSource>;
  /** Default: `freezeConvolutions()`, GDD-I. */
  freeze?: Provided<FreezePolicy>;
  /** Default: non-saturating GAN loss over the teacher's encoder with R1. */
  loss?: Provided<Objective>;
  /** Trains the generator. Default: Adam with learning rate 1e-4 and the paper's betas. */
  optimizer?: Provided<Optimizer>;
  evaluate?: Provided<Evaluator>;
  /** What listens to the run. Default: none. */
  sinks?: readonly Sink[];
  /** Ends the run with a checkpoint. */
  signal?: AbortSignal;
}

const partsSchema = z.looseObject({
  teacher: z.custom<TeacherLoader>(
    (value) => typeof (value as TeacherLoader | undefined)?.load === 'function',
    'expected a teacher loader, such as safetensorsTeacher(path)',
  ),
  data: z.custom((value) => typeof value === 'object' && value !== null, 'expected a data source, such as shapes({ resolution: 16 })'),
});

/** A distillation's parts, registered and not yet built. */
export interface DistillationParts {
  container: DependencyContainer;
  settings: z.output<typeof runSchema>;
  /** For config.json. */
  config: Record<string, unknown>;
  teacher: TeacherLoader;
  /** What some part cannot be built without. */
  missing: readonly string[];
  /** Finished objects that judge or train: a plan must not touch them. */
  finished: readonly unknown[];
  /** What parts chose by themselves. */
  notes: readonly string[];
  /** Looks at the files that parts will read. Nothing where `configure` may have replaced the parts. */
  check(options: FileCheck): Promise<void>;
  signal: AbortSignal | undefined;
}

/** Checks the options and registers every part. Throws `E_CONFIG` with every problem. */
export function distillationParts(options: DistillOptions, configure?: (container: DependencyContainer) => void): DistillationParts {
  const {
    teacher: loader,
    data,
    freeze = freezeConvolutions(),
    loss = distributional({ discriminator: encoderDiscriminator() }),
    ...rest
  } = options;
  const { optimizer = new Adam({ learningRate: 1e-4 }), evaluate, sinks = [], signal, ...own } = rest;
  const settings = checkRunOptions('distill', own, partsSchema, { teacher: loader, data });

  const container = createContainer();
  container.registerInstance<RandomSource>(RANDOM, new PhiloxRandom(settings.seed));
  container.registerInstance(TEACHER_LOADER, loader);
  provide(container, GENERATOR_OPTIMIZER, optimizer);
  if (evaluate) provide(container, EVALUATOR, evaluate);
  container.registerInstance(SINKS, sinks);
  provide(container, FREEZE_POLICY, freeze);
  provide(container, DATA_SOURCE, data);
  provide(container, OBJECTIVE, loss);
  configure?.(container);

  const config = {
    recipe: 'distill',
    ...settings,
    teacher: describeProvided(loader),
    data: describeProvided(data),
    freeze: describeProvided(freeze),
    loss: describeProvided(loss),
    optimizer: describeProvided(optimizer),
    replaced: configure !== undefined,
  };
  const missing = [data, freeze, loss, optimizer].flatMap(missingOf);
  const { smallestBatch, finished, notes, check } = toldBy([loss]);
  // What `configure` registered may stand in for the parts that speak here.
  if (!configure) checkBatch(settings.schedule, smallestBatch);
  return {
    container,
    settings,
    config,
    teacher: loader,
    missing,
    finished,
    notes,
    check: configure ? () => Promise.resolve() : check,
    signal,
  };
}

/** Throws `E_CONFIG` where some part cannot judge so few images. */
function checkBatch({ batchSize, microBatch }: z.output<typeof scheduleSchema>, smallest: number): void {
  if ((microBatch ?? batchSize) >= smallest) return;
  const [name, value] = microBatch === undefined ? ['batchSize', batchSize] : ['microBatch', microBatch];
  throw new ConfigError(
    'distill',
    [`schedule.${name}: expected at least ${smallest} images, one a noise level of the discriminator, got ${value}`],
    {
      help: "nothing was started; take larger batches, fewer noise levels (sigmas), or encoderDiscriminator({ levels: 'all' })",
    },
  );
}

/** The generator's architecture: the teacher's without the augmentation mapping, which nothing feeds in a distillation. */
export const generatorConfig = (teacher: BackboneConfig): BackboneConfig => ({ ...teacher, augment_dim: 0 });

/** The generator with the teacher's weights and the run's freeze policy, registered with the teacher for the parts that need them. */
export function makeGenerator(
  container: DependencyContainer,
  teacher: Teacher,
  random: RandomSource,
): { generator: Backbone; summary: FreezeSummary } {
  container.registerInstance(TEACHER, teacher);
  const generator = createBackbone(generatorConfig(teacher.backbone.config)).copyFrom(teacher.backbone);
  const policy = container.resolve(FREEZE_POLICY);
  applyFreezePolicy(generator.parameters(), policy);
  container.registerInstance(GENERATE, (classLabels, batch) =>
    tf.tidy(() => generateOneStep(generator, drawLatents(generator, random, batch), { classLabels })),
  );
  return { generator, summary: summarizeFreeze(generator.parameters(), policy) };
}
