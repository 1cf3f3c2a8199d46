/**
 * Distillation: a pretrained diffusion teacher to a one-step generator (GDD and GDD-I, arXiv 2405.20750).
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import {
  createContainer,
  DATA_SOURCE,
  describeProvided,
  FREEZE_POLICY,
  GENERATE,
  OBJECTIVE,
  provide,
  RANDOM,
  SINKS,
  type DependencyContainer,
  type Provided,
} from '../core/container.js';
import type { DataSource } from '../core/contracts/data.js';
import type { Sink } from '../core/contracts/events.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { FreezePolicy } from '../core/contracts/parameter.js';
import type { Objective } from '../core/contracts/training.js';
import { ConfigError } from '../core/errors.js';
import { Adam } from '../core/optimizer.js';
import { PhiloxRandom } from '../core/random.js';
import { startTrainingRun, type RunStore, type TrainingRun, type TrainingSetup } from '../core/training-run.js';
import type { PositionedBatch } from '../data/batch-stream.js';
import { distributional } from '../losses/distributional.js';
import { createBackbone } from '../models/backbones/config.js';
import { encoderDiscriminator } from '../models/discriminators/encoder-discriminator.js';
import { freezeConvolutions } from '../models/freeze/policies.js';
import { applyFreezePolicy, summarizeFreeze, type FreezeSummary } from '../models/freeze/summary.js';
import { generateOneStep } from '../models/preconditioning.js';
import { TEACHER, type Teacher, type TeacherLoader } from '../models/teachers/teacher.js';
import { drawLatents, generatorStage } from './generator-stage.js';
import { networkSetup } from './network-setup.js';
import { checkRunOptions, type runSchema, trainingRunOptions } from './run-options.js';
import { openRunStore } from './run-store.js';
import { Student } from './student.js';

/** Scores a student during and after training. */
export interface Evaluator {
  readonly name: string;
  /** Metrics by name, such as `{ frechet: 12.3 }`. */
  evaluate(student: Student): Promise<Record<string, number>>;
}

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
  optimizer?: Optimizer;
  evaluate?: Evaluator;
  /** What listens to the run. Default: none. */
  sinks?: readonly Sink[];
  /** Ends the run with a checkpoint. */
  signal?: AbortSignal;
}

/** What a distillation ends with. */
export interface Distilled {
  reason: 'completed' | 'stopped';
  /** The generator with its averaged weights; the caller disposes it. */
  student: Student;
  freeze: FreezeSummary;
}

const partsSchema = z.looseObject({
  teacher: z.custom<TeacherLoader>(
    (value) => typeof (value as TeacherLoader | undefined)?.load === 'function',
    'expected a teacher loader, such as safetensorsTeacher(path)',
  ),
  data: z.custom((value) => typeof value === 'object' && value !== null, 'expected a data source, such as shapes({ resolution: 16 })'),
});

/**
 * Starts a distillation.
 *
 * `configure` may replace any part: `distill(options, (c) => c.register(FREEZE_POLICY, { useClass: MyPolicy }))`.
 * Throws `E_CONFIG` with every problem before anything starts; later errors reject `completed`.
 */
export function distill(options: DistillOptions, configure?: (container: DependencyContainer) => void): TrainingRun<Distilled> {
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
  const random = new PhiloxRandom(settings.seed);
  container.registerInstance(RANDOM, random);
  container.registerInstance(SINKS, sinks);
  provide(container, FREEZE_POLICY, freeze);
  provide(container, DATA_SOURCE, data);
  provide(container, OBJECTIVE, loss);
  configure?.(container);

  const config = {
    recipe: 'distill',
    ...settings,
    teacher: loader.name,
    data: describeProvided(data),
    freeze: describeProvided(freeze),
    loss: describeProvided(loss),
    optimizer: optimizer.name,
    replaced: configure !== undefined,
  };

  const build = async (store: RunStore | undefined): Promise<TrainingSetup<PositionedBatch, Distilled>> => {
    const source = container.resolve(DATA_SOURCE);
    const description = await source.open();
    const teacher = await loader.load();
    checkFit(teacher, description);
    container.registerInstance(TEACHER, teacher);

    const generator = createBackbone(teacher.backbone.config).copyFrom(teacher.backbone);
    const policy = container.resolve(FREEZE_POLICY);
    applyFreezePolicy(generator.parameters(), policy);
    const summary = summarizeFreeze(generator.parameters(), policy);
    container.registerInstance(GENERATE, (classLabels, batch) =>
      tf.tidy(() => generateOneStep(generator, drawLatents(generator, random, batch), { classLabels })),
    );
    const objective = container.resolve(OBJECTIVE);
    optimizer.bind(generator.parameters());
    return networkSetup({
      network: generator,
      settings,
      store,
      source,
      description,
      random,
      optimizer,
      stages: [generatorStage(generator, objective, optimizer), ...objective.stages],
      checkpoint: objective.checkpoint,
      parameters: { generator: summary.total, frozen: summary.frozen, discriminator: objective.parameterCount },
      metadata: { onestep: 'student' },
      sample: (count) => new Student('student', generator).generate({ count, seed: settings.seed }),
      evaluate: evaluate && (() => evaluate.evaluate(new Student('student', generator))),
      finish: (reason, averaged) => ({ reason, student: new Student('student', averaged), freeze: summary }),
      dispose: async () => {
        objective.dispose();
        teacher.backbone.dispose();
        await container.dispose();
      },
    });
  };

  return startTrainingRun(trainingRunOptions(settings, container.resolve(SINKS), signal), () => openRunStore(settings, config), build);
}

/** The teacher and the data must speak of the same images. */
function checkFit({ backbone, name }: Teacher, data: { name: string; resolution: number; channels: number; classes: number }): void {
  const { img_resolution, img_channels, label_dim } = backbone.config;
  const problems: string[] = [];
  if (data.resolution !== img_resolution)
    problems.push(`resolution: ${name} makes ${img_resolution} px, ${data.name} has ${data.resolution} px`);
  if (data.channels !== img_channels) problems.push(`channels: ${name} makes ${img_channels}, ${data.name} has ${data.channels}`);
  if (label_dim > 0 && data.classes !== label_dim) problems.push(`classes: ${name} knows ${label_dim}, ${data.name} has ${data.classes}`);
  if (problems.length === 0) return;
  backbone.dispose();
  throw new ConfigError('distill', problems, { help: 'teacher and data must agree; resize the data or take another teacher' });
}
