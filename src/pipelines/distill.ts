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
  GENERATOR_OPTIMIZER,
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
import type { RandomSource } from '../core/contracts/random.js';
import type { FreezePolicy } from '../core/contracts/parameter.js';
import type { Objective } from '../core/contracts/training.js';
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
import { TEACHER, TEACHER_LOADER, type TeacherLoader } from '../models/teachers/teacher.js';
import { checkFit } from './check-fit.js';
import { EVALUATOR, type Evaluator } from './evaluator.js';
import { drawLatents, generatorStage } from './generator-stage.js';
import { networkSetup } from './network-setup.js';
import { checkRunOptions, type runSchema, trainingRunOptions } from './run-options.js';
import { openRunStore } from './run-store.js';
import { Student } from './student.js';

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

  const build = async (store: RunStore | undefined): Promise<TrainingSetup<PositionedBatch, Distilled>> => {
    const random = container.resolve(RANDOM);
    const trainer = container.resolve(GENERATOR_OPTIMIZER);
    const evaluator = container.isRegistered(EVALUATOR) ? container.resolve(EVALUATOR) : undefined;
    const source = container.resolve(DATA_SOURCE);
    const description = await source.open();
    const teacher = await container.resolve(TEACHER_LOADER).load();
    try {
      checkFit('distill', teacher.name, teacher.backbone.config, description);
    } catch (error) {
      teacher.backbone.dispose();
      throw error;
    }
    container.registerInstance(TEACHER, teacher);

    const generator = createBackbone(teacher.backbone.config).copyFrom(teacher.backbone);
    const policy = container.resolve(FREEZE_POLICY);
    applyFreezePolicy(generator.parameters(), policy);
    const summary = summarizeFreeze(generator.parameters(), policy);
    container.registerInstance(GENERATE, (classLabels, batch) =>
      tf.tidy(() => generateOneStep(generator, drawLatents(generator, random, batch), { classLabels })),
    );
    const objective = container.resolve(OBJECTIVE);
    return networkSetup({
      network: generator,
      settings,
      store,
      source,
      description,
      random,
      optimizer: trainer,
      stages: [generatorStage(generator, objective, trainer), ...objective.stages],
      checkpoint: objective.checkpoint,
      parameters: { generator: summary.total, frozen: summary.frozen, discriminator: objective.parameterCount },
      metadata: { onestep: 'student' },
      sample: (count) => new Student('student', generator).generate({ count, seed: settings.seed }),
      evaluate: evaluator && (() => evaluator.evaluate(new Student('student', generator))),
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
