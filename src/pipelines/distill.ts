/**
 * Distillation: a pretrained diffusion teacher to a one-step generator (GDD and GDD-I, arXiv 2405.20750).
 */
import { DATA_SOURCE, GENERATOR_OPTIMIZER, OBJECTIVE, RANDOM, SINKS, type DependencyContainer } from '../core/container.js';
import { ConfigError } from '../core/errors.js';
import { startTrainingRun, type RunStore, type TrainingRun, type TrainingSetup } from '../core/training-run.js';
import type { PositionedBatch } from '../data/batch-stream.js';
import type { FreezeSummary } from '../models/freeze/summary.js';
import { TEACHER_LOADER } from '../models/teachers/teacher.js';
import { checkFit } from './check-fit.js';
import { distillationParts, makeGenerator, type DistillOptions } from './distillation.js';
import { EVALUATOR } from './evaluator.js';
import { generatorStage } from './generator-stage.js';
import { networkSetup } from './network-setup.js';
import { trainingRunOptions } from './run-options.js';
import { openRunStore } from './run-store.js';
import { Student } from './student.js';

/** What a distillation ends with. */
export interface Distilled {
  reason: 'completed' | 'stopped';
  /** The generator with its averaged weights; the caller disposes it. */
  student: Student;
  freeze: FreezeSummary;
}

/**
 * Starts a distillation.
 *
 * `configure` may replace any part: `distill(options, (c) => c.register(FREEZE_POLICY, { useClass: MyPolicy }))`.
 * Throws `E_CONFIG` with every problem before anything starts; later errors reject `completed`.
 */
export function distill(options: DistillOptions, configure?: (container: DependencyContainer) => void): TrainingRun<Distilled> {
  const { container, settings, config, missing, check, signal } = distillationParts(options, configure);
  // What `configure` registered may stand in for a missing part; if not, its build says so.
  if (missing.length > 0 && !configure)
    throw new ConfigError('distill', missing, { help: 'nothing was started; give the parts that are missing and start again' });

  const build = async (store: RunStore | undefined): Promise<TrainingSetup<PositionedBatch, Distilled>> => {
    // What is made, in order; of a build that fails all of it is freed.
    const made: { dispose(): void }[] = [];
    const keep = <T extends { dispose(): void }>(thing: T): T => {
      made.push(thing);
      return thing;
    };
    const random = container.resolve(RANDOM);
    const trainer = container.resolve(GENERATOR_OPTIMIZER);
    const evaluator = container.isRegistered(EVALUATOR) ? container.resolve(EVALUATOR) : undefined;
    const source = container.resolve(DATA_SOURCE);
    try {
      // Cheap first: a file that is absent or another network's is said before anything large is read.
      await check({ localOnly: false });
      const description = await source.open();
      const teacher = await container.resolve(TEACHER_LOADER).load();
      keep(teacher.backbone);
      checkFit('distill', teacher.name, teacher.backbone.config, description);
      const { generator, summary } = makeGenerator(container, teacher, random);
      keep(generator);
      const objective = keep(container.resolve(OBJECTIVE));
      await objective.prepare?.();
      await evaluator?.prepare?.(generator.config);
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
        evaluate: evaluator && ((signal) => evaluator.evaluate(new Student('student', generator), signal)),
        best: evaluator?.best,
        finish: (reason, averaged) => ({ reason, student: new Student('student', averaged), freeze: summary }),
        dispose: async () => {
          objective.dispose();
          teacher.backbone.dispose();
          await container.dispose();
        },
      });
    } catch (error) {
      for (const thing of made.reverse()) thing.dispose();
      await source.close();
      await container.dispose();
      throw error;
    }
  };

  return startTrainingRun(trainingRunOptions(settings, container.resolve(SINKS), signal), () => openRunStore(settings, config), build);
}
