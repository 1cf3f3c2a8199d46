/**
 * What a distillation would do and need, before it starts: nothing is read, nothing is allocated.
 *
 * Memory is not estimated by a formula: one iteration of the run itself (networks, objective, gradients, optimizers,
 * averages) is carried out on the engine that computes shapes alone, and its tensors are counted.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  DISCRIMINATOR,
  DISCRIMINATOR_OPTIMIZER,
  GENERATOR_OPTIMIZER,
  missingOf,
  OBJECTIVE,
  RANDOM,
  type DependencyContainer,
} from '../core/container.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { RandomSource } from '../core/contracts/random.js';
import type { GeneratorBatch, Objective, RealImages, Stage } from '../core/contracts/training.js';
import { Ema } from '../core/ema.js';
import { ArgumentError } from '../core/errors.js';
import type { NamedTensor } from '../core/parameter.js';
import { MemoryMeter, withShapeEngine } from '../core/shape-engine/index.js';
import type { BackboneConfig } from '../models/backbones/backbone.js';
import { createBackbone } from '../models/backbones/config.js';
import type { FreezeSummary } from '../models/freeze/summary.js';
import { distillationParts, makeGenerator, type DistillationParts, type DistillOptions } from './distillation.js';
import { generatorStage } from './generator-stage.js';

/** Bytes of tensors. What the engine takes for itself, the program and the data in flight come on top. */
export interface PlannedMemory {
  /** Of all networks: teacher, generator (frozen weights are the teacher's), discriminator with its feature networks. */
  weights: number;
  /** The optimizers' running means. */
  optimizer: number;
  /** The moving average of what trains in the generator. */
  averages: number;
  /** Of the network that the largest stage trains. */
  gradients: number;
  /** What the largest stage holds at its peak besides its gradients, of one micro-batch: features kept for the backward pass, temporaries. */
  activations: number;
  /** The peak: the sum of the above. */
  total: number;
  /** Each stage's own peak above what always lives; the largest is `gradients + activations`. */
  stages: readonly { stage: string; bytes: number }[];
}

/** What a distillation would do and need. */
export interface DistillationPlan {
  name: string;
  /** Where the architecture comes from. */
  teacher: { name: string; architecture: 'file' | 'published' };
  /** The teacher's architecture. */
  network: BackboneConfig;
  /** Numbers of values of the generator, which has no augmentation mapping; by role in `roles`. */
  freeze: FreezeSummary;
  /** Values that train in the discriminator; undefined where none is given. */
  discriminator: { name: string; trained: number } | undefined;
  images: number;
  batchSize: number;
  microBatch: number;
  /** Iterations of the whole run. */
  iterations: number;
  /** Updates by stage. */
  updates: readonly { stage: string; every: number; updates: number }[];
  memory: PlannedMemory;
  /** What is still to be given before the run can start. */
  missing: readonly string[];
  /** What parts chose by themselves where nobody did; what could not be counted, and why. */
  notes: readonly string[];
  /** What config.json would hold. */
  options: Readonly<Record<string, unknown>>;
}

/** Numbers that cost nothing: no value is computed. */
const noRandom = (seed: number): RandomSource => ({
  seed,
  stream: () => ({
    normal: (length) => new Float32Array(length),
    uniform: (length) => new Float32Array(length),
    integers: (length) => new Uint32Array(length),
  }),
  state: () => ({ seed, counters: {} }),
  restore: () => undefined,
});

const bytesOf = (tensors: readonly { size: number }[]) => tensors.reduce((sum, { size }) => sum + 4 * size, 0);
const sizeOf = (tensors: readonly { size: number }[]) => tensors.reduce((sum, { size }) => sum + size, 0);

/** Gives every tensor a value without values. */
function fill(network: { tensors(): NamedTensor[] }): void {
  for (const tensor of network.tensors()) tensor.assign(tf.fill(tensor.engineShape, 0));
}

/** A micro-batch of nothing. */
function emptyImages(batch: number, { img_resolution: size, img_channels: channels, label_dim: classes }: BackboneConfig): RealImages {
  return {
    batch,
    images: () => tf.fill<tf.Rank.R4>([batch, size, size, channels], 0),
    classLabels: () => (classes > 0 ? tf.fill<tf.Rank.R2>([batch, classes], 0) : undefined),
  };
}

/** Judges nothing: of an iteration it leaves the generator's own part. */
const noObjective: Objective = {
  name: 'none',
  generatorLoss: ({ fake }: GeneratorBatch) => tf.mean(fake),
  stages: [],
  checkpoint: {},
  parameterCount: 0,
  dispose: () => undefined,
};

/** True for something that was built, with values on the engine that computes, or that does not tell: the plan must not touch it. */
function hasValues(built: unknown): boolean {
  const thing = built as { tensors?(): NamedTensor[] } & Partial<Objective>;
  if (thing.generatorLoss) return true;
  const { tensorInfo } = (tf.engine() as unknown as { state: { tensorInfo: { get(id: object): { backend: unknown } | undefined } } }).state;
  return (thing.tensors?.() ?? []).some((tensor) => tensor.allocated && tensorInfo.get(tensor.value.dataId)?.backend !== tf.backend());
}

function refuseInUse(optimizer: Optimizer): void {
  if (optimizer.parameters.length === 0) return;
  throw new ArgumentError(
    'E_VALUE',
    `planDistillation: expected an optimizer of its own, got ${optimizer.name}, which trains another network`,
    {
      help: 'make the options anew for the plan: parts given as objects serve one run',
    },
  );
}

const resolveIf = <T>(container: DependencyContainer, token: Parameters<DependencyContainer['resolve']>[0]): T | undefined =>
  container.isRegistered(token) ? (container.resolve(token) as T) : undefined;

interface Counted {
  freeze: FreezeSummary;
  discriminator: DistillationPlan['discriminator'];
  stages: readonly Pick<Stage, 'name' | 'every'>[];
  memory: PlannedMemory;
  notes: readonly string[];
}

/** One iteration on the shape engine, counted. */
function count({ container, settings, teacher: loader, finished }: DistillationParts, config: BackboneConfig, judged: boolean): Counted {
  const meter = new MemoryMeter();
  const notes: string[] = [];
  const random = noRandom(settings.seed);
  container.registerInstance<RandomSource>(RANDOM, random);
  const { batchSize, microBatch = batchSize } = settings.schedule;
  const disposables: { dispose(): void }[] = [];
  const unbind: Optimizer[] = [];
  try {
    const backbone = createBackbone(config);
    disposables.push(backbone);
    const teacherBytes = meter.growthBy(() => fill(backbone));
    const { generator, summary } = makeGenerator(container, { name: loader.name, backbone }, random);
    disposables.push(generator);

    // The objective, where it can be made.
    let discriminatorBytes = 0;
    let objective = noObjective;
    let discriminator: Counted['discriminator'];
    if (!judged) notes.push(`without the discriminator, which is not given: ${GENERATOR_ONLY}`);
    else {
      const judge = resolveIf<{ name: string; tensors?(): NamedTensor[]; parameters?(): { size: number }[] }>(container, DISCRIMINATOR);
      if (judge?.parameters) discriminator = { name: judge.name, trained: sizeOf(judge.parameters()) };
      if ([...finished, ...(judge ? [judge] : [])].some(hasValues))
        notes.push(
          `without what judges, for a discriminator or an objective is given as an object with values of its own, not as a part: ${GENERATOR_ONLY}`,
        );
      else {
        const trainer = resolveIf<Optimizer>(container, DISCRIMINATOR_OPTIMIZER);
        if (trainer) {
          refuseInUse(trainer);
          unbind.push(trainer);
        }
        discriminatorBytes = meter.bytes - teacherBytes;
        objective = container.resolve(OBJECTIVE);
        disposables.push(objective);
        // Of files nothing is read: what they would bring has its size all the same.
        discriminatorBytes += meter.growthBy(() => fill({ tensors: () => objective.frozen?.() ?? [] }));
      }
    }
    const judgeMoments = meter.bytes - teacherBytes - discriminatorBytes;

    const trainer = container.resolve(GENERATOR_OPTIMIZER);
    refuseInUse(trainer);
    unbind.push(trainer);
    const moments = meter.growthBy(() => trainer.bind(generator.parameters()));
    const ema = new Ema({ halfLife: settings.emaHalfLife });
    ema.bind(generator.parameters());
    disposables.push(ema);

    // From two micro-batches on sums of gradients are held as well; more change nothing.
    const microBatches = Array.from({ length: Math.min(2, batchSize / microBatch) }, () => emptyImages(microBatch, config));
    const step = { step: 0, imagesSeen: batchSize, batchSize, learningRateScale: 1, microBatches, random };
    const stages = [generatorStage(generator, objective, trainer), ...objective.stages];
    const average = { name: 'average', every: 1, run: () => ema.update(batchSize, batchSize) };
    const all = [...stages.map(({ name, every, run }) => ({ name, every, run: () => void run(step) })), average];
    // The first iteration still shares values between weights, averages and the teacher.
    for (const { run } of all) run();
    const living = meter.bytes;
    const peaks = all.map(({ name, run }) => ({ stage: name, bytes: meter.peakOf(run) }));

    const trainedBytes = bytesOf(generator.parameters().filter(({ trainable }) => trainable));
    const largest = peaks.reduce((a, b) => (b.bytes > a.bytes ? b : a));
    const ofStage = largest.stage === 'generator' ? trainedBytes : 4 * (discriminator?.trained ?? objective.parameterCount);
    const gradients = largest.stage === 'average' ? 0 : Math.min(largest.bytes, ofStage);
    const optimizer = moments + judgeMoments;
    return {
      freeze: summary,
      discriminator: discriminator ?? (objective === noObjective ? undefined : { name: objective.name, trained: objective.parameterCount }),
      stages,
      notes,
      memory: {
        weights: living - optimizer - trainedBytes,
        optimizer,
        averages: trainedBytes,
        gradients,
        activations: largest.bytes - gradients,
        total: living + largest.bytes,
        stages: peaks,
      },
    };
  } finally {
    for (const optimizer of unbind) {
      optimizer.dispose();
      optimizer.bind([]);
    }
    for (const thing of disposables.reverse()) thing.dispose();
    meter.stop();
  }
}

const GENERATOR_ONLY = 'its weights, optimizer and stages are not counted';

/** Something that knows an architecture without the file that it comes from. */
interface ArchitectureSource {
  architecture(): Promise<{ config: BackboneConfig; from: 'file' | 'published' }>;
}

/**
 * Looks at the distillation that `distill(options)` would be: its parameters, updates and memory.
 *
 * Of the teacher only the architecture is read (`describe()`), of the data nothing, of feature networks' files that are on this machine
 * the names and shapes. Memory holds for the engine
 * `tensorflow` with fused operations. Make the options anew for `distill`: parts given as objects serve one run.
 * Throws `E_CONFIG` with every problem of the options, and what the run itself would throw where shapes do not fit.
 *
 * ```ts
 * const plan = await planDistillation(presets.cifar10({ schedule: { microBatch: 32 } }));
 * console.log(formatPlan(plan));
 * ```
 */
export async function planDistillation(options: DistillOptions, name = 'distill'): Promise<DistillationPlan> {
  const parts = distillationParts(options);
  const { settings, teacher, missing } = parts;
  const source = teacher as Partial<ArchitectureSource>;
  const { config, from } = source.architecture ? await source.architecture() : { config: await teacher.describe(), from: 'file' as const };
  try {
    await parts.check({ localOnly: true });
    const counted = withShapeEngine(() => count(parts, config, missingOf(options.loss).length === 0));
    const { images, batchSize, microBatch = batchSize } = settings.schedule;
    const iterations = Math.ceil(images / batchSize);
    return {
      name,
      teacher: { name: teacher.name, architecture: from },
      network: config,
      freeze: counted.freeze,
      discriminator: counted.discriminator,
      images,
      batchSize,
      microBatch,
      iterations,
      updates: counted.stages.map(({ name: stage, every }) => ({ stage, every, updates: Math.ceil(iterations / every) })),
      memory: counted.memory,
      missing,
      notes: [...parts.notes, ...counted.notes],
      options: parts.config,
    };
  } finally {
    await parts.container.dispose();
  }
}
