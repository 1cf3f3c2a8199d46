/**
 * What distillation and teacher training share: one network that is averaged, sampled, scored, saved and resumed.
 */
import { join } from 'node:path';
import type { z } from 'zod';
import type { DataDescription, DataSource } from '../core/contracts/data.js';
import type { Optimizer } from '../core/contracts/optimizer.js';
import type { RandomSource } from '../core/contracts/random.js';
import type { Checkpointable, Stage } from '../core/contracts/training.js';
import { Ema } from '../core/ema.js';
import { kimgInFileName } from '../core/kimg.js';
import { networkState } from '../core/network-state.js';
import type { RunStore, TrainingSetup } from '../core/training-run.js';
import { batchStream, type PositionedBatch } from '../data/batch-stream.js';
import type { Backbone } from '../models/backbones/backbone.js';
import { createBackbone } from '../models/backbones/config.js';
import { saveBackbone } from '../models/teachers/safetensors-teacher.js';
import { bestKeeper, type BestMetric } from './best-snapshot.js';
import { realImages } from './real-images.js';
import type { runSchema } from './run-options.js';
import type { GeneratedImages } from './numbered-images.js';

export interface NetworkSetupOptions<Result> {
  network: Backbone;
  settings: z.output<typeof runSchema>;
  store: RunStore | undefined;
  source: DataSource;
  description: DataDescription;
  random: RandomSource;
  /** Trains `network`; bound here to its trainable parameters. */
  optimizer: Optimizer;
  stages: readonly Stage[];
  /** Parts besides the network, its optimizer and its averages. */
  checkpoint: Readonly<Record<string, Checkpointable>>;
  parameters: TrainingSetup<PositionedBatch, Result>['parameters'];
  /** Of the snapshots. */
  metadata: Record<string, string>;
  /** Images of `network` for the sample grids; called while it holds its averages. */
  sample(count: number): GeneratedImages;
  /** Called while `network` holds its averages. */
  evaluate?: ((signal: AbortSignal) => Promise<Record<string, number>>) | undefined;
  /** By which metric of `evaluate` the best snapshot is kept; undefined: none is. */
  best?: BestMetric | undefined;
  /** `averaged`: a copy of the network with its averages, owned by the result. */
  finish(reason: 'completed' | 'stopped', averaged: Backbone): Result;
  dispose(): Promise<void>;
}

/** Images that `onInvalid: 'skip'` has left out are never left out silently. */
function skippedWarning({ name, size, skipped = 0 }: DataDescription): { code: string; message: string }[] {
  if (skipped === 0) return [];
  const left = `${skipped} of ${size + skipped} images ${skipped === 1 ? 'is' : 'are'} invalid and left out`;
  return [{ code: 'W_DATA_SKIPPED', message: `${name}: ${left}; onestep dataset describe --all tells which` }];
}

/** The setup of a run that trains `network`. */
export function networkSetup<Result>(options: NetworkSetupOptions<Result>): TrainingSetup<PositionedBatch, Result> {
  const { network, settings, store, source, description, random, optimizer } = options;
  const { schedule } = settings;
  const parameters = network.parameters();
  const trainable = new Set(parameters.filter((parameter) => parameter.trainable).map(({ name }) => name));
  optimizer.bind(parameters);
  const ema = new Ema({ halfLife: settings.emaHalfLife });
  ema.bind(parameters);

  const { evaluate } = options;
  const saveAverages = (path: string, metadata: Record<string, string> = {}) => {
    const read = (name: string) => (trainable.has(name) ? ema.read(name) : undefined);
    return saveBackbone(path, network, { metadata: { ...options.metadata, ...metadata }, read });
  };
  return {
    stages: options.stages,
    random,
    parameters: options.parameters,
    warnings: skippedWarning(description),
    batches: (demand$, cursor) =>
      batchStream(source, { batchSize: schedule.batchSize, seed: settings.seed, cursor, flip: settings.flip, demand$, description }),
    microBatches: (batch) => realImages(batch, schedule.microBatch ?? schedule.batchSize, network.config.label_dim),
    afterIteration: (imagesSeen, batchSize) => ema.update(imagesSeen - batchSize, batchSize),
    checkpoint: {
      network: networkState(network, ({ name }) => trainable.has(name)),
      'network-optimizer': optimizer,
      ema,
      ...options.checkpoint,
    },
    snapshot: async (images) => {
      const path = join(store!.path, `snapshot-${kimgInFileName(images)}.safetensors`);
      await saveAverages(path);
      return path;
    },
    samples: () =>
      ema.withAverages(() => {
        const { images, shape } = options.sample(settings.sampleCount);
        return Promise.resolve({ batch: images, shape });
      }),
    evaluate: evaluate && ((signal) => ema.withAverages(() => evaluate(signal))),
    best: store && options.best && bestKeeper(store.path, options.best, saveAverages),
    finish: async (reason) => {
      const averaged = createBackbone(network.config);
      await ema.withAverages(() => void averaged.copyFrom(network));
      return options.finish(reason, averaged);
    },
    dispose: async () => {
      optimizer.dispose();
      ema.dispose();
      network.dispose();
      await source.close();
      await options.dispose();
    },
  };
}
