/**
 * Dependency injection: tokens, and parts that a container builds.
 *
 * A part is a class, the token it stands behind and its validated options. Every run registers its parts in a child
 * container of its own; there is no global one.
 */
import 'reflect-metadata';
import { container as root, type DependencyContainer, type InjectionToken } from 'tsyringe';
import type * as tf from '@tensorflow/tfjs-core';
import type { Augmentation } from './contracts/augmentation.js';
import type { Optimizer } from './contracts/optimizer.js';
import type { DataSource } from './contracts/data.js';
import type { Sink } from './contracts/events.js';
import type { FreezePolicy } from './contracts/parameter.js';
import type { RandomSource } from './contracts/random.js';
import type { AdversarialLoss, Discriminator, Objective, Regularizer } from './contracts/training.js';

// tsyringe needs reflect-metadata to be loaded first; taking its decorators from here sees to that.
export { inject, injectable, type DependencyContainer } from 'tsyringe';

const token = <T>(name: string): InjectionToken<T> => Symbol.for(`onestep/${name}`);

/** Decides which parameters of the generator train. */
export const FREEZE_POLICY = token<FreezePolicy>('freeze-policy');
/** Where real images come from. */
export const DATA_SOURCE = token<DataSource>('data-source');
/** How the generator is trained. */
export const OBJECTIVE = token<Objective>('objective');
/** Judges images; of the distributional objective. */
export const DISCRIMINATOR = token<Discriminator>('discriminator');
/** Logits to losses; of the distributional objective. */
export const ADVERSARIAL_LOSS = token<AdversarialLoss>('adversarial-loss');
/** Changes images before they are judged; of the distributional objective. */
export const AUGMENTATION = token<Augmentation>('augmentation');
/** Penalties on the discriminator, an array; of the distributional objective. */
export const REGULARIZERS = token<readonly Regularizer[]>('regularizers');
/** Trains the generator. */
export const GENERATOR_OPTIMIZER = token<Optimizer>('generator-optimizer');
/** Trains the discriminator; of the distributional objective. */
export const DISCRIMINATOR_OPTIMIZER = token<Optimizer>('discriminator-optimizer');
/** Makes a batch of generated images `[B, H, W, C]` without gradients; of the distributional objective. */
export const GENERATE = token<(classLabels: tf.Tensor2D | undefined, batch: number) => tf.Tensor4D>('generate');
/** The run's random numbers. */
export const RANDOM = token<RandomSource>('random');
/** What listens to the run's events, an array. */
export const SINKS = token<readonly Sink[]>('sinks');
/** The options of the part that is being built. */
export const PART_OPTIONS = token<unknown>('part-options');

/** A class that a container can build; its constructor parameters carry `@inject(TOKEN)`. */
export type Injectable<T> = new (...args: never[]) => T;

/** How files are looked at before they are read. */
export interface FileCheck {
  /** True: what is not on this machine is neither fetched nor missed. */
  readonly localOnly: boolean;
}

/** A class with its options, to be built inside a run. */
export interface Part<T> {
  /** For config.json. */
  readonly description: { readonly part: string; readonly options: unknown };
  /** What it cannot be built without and does not have, one line each, said before a run starts. Default: nothing. */
  readonly missing?: readonly string[];
  /** Fewest images of a micro-batch that it can work with. Default: 1. */
  readonly smallestBatch?: number;
  /** Finished objects among the parts that it is made of, which a plan must not touch. Default: none. */
  readonly finished?: readonly unknown[];
  /** What it chose by itself, one line each, for a plan to show. Default: nothing. */
  readonly notes?: readonly string[];
  /**
   * Looks whether the files that it will read are there and fit, of which it reads no more than that takes; awaited before anything
   * large is loaded. With `localOnly` what is not on this machine is neither fetched nor missed. Default: nothing.
   */
  check?(options: FileCheck): Promise<void>;
  /** Registers the parts that this one is made of, each replaceable behind its own token. */
  register?(container: DependencyContainer): void;
  build(container: DependencyContainer): T;
}

/** An empty container, to be disposed by the caller. */
export const createContainer = (): DependencyContainer => root.createChildContainer();

/** Makes a part; `options` reach the class as `@inject(PART_OPTIONS)`. */
export function part<T>(
  name: string,
  useClass: Injectable<T>,
  options: unknown,
  register?: (container: DependencyContainer) => void,
): Part<T> {
  return {
    description: { part: name, options },
    register,
    build: (container) => {
      const child = container.createChildContainer();
      child.registerInstance(PART_OPTIONS, options);
      return child.resolve(useClass as new (...args: unknown[]) => T);
    },
  };
}

/** Either a finished object or a part to be built. */
export type Provided<T> = T | Part<T>;

/** True for a part that is still to be built. */
export const isPart = <T>(provided: Provided<T>): provided is Part<T> =>
  typeof provided === 'object' && provided !== null && 'build' in provided && 'description' in provided;

/** What a part lacks; of a finished object nothing. */
export const missingOf = (provided: Provided<unknown>): readonly string[] => (isPart(provided) && provided.missing) || [];

/** What parts tell of themselves before they are built, together: for a part that is made of them. */
export function toldBy(provided: readonly Provided<unknown>[]): Required<Pick<Part<unknown>, ToldOfParts>> {
  const parts = provided.filter((one) => isPart(one));
  return {
    missing: parts.flatMap(({ missing = [] }) => missing),
    smallestBatch: Math.max(1, ...parts.map(({ smallestBatch = 1 }) => smallestBatch)),
    finished: provided.flatMap((one) => (isPart(one) ? (one.finished ?? []) : [one])),
    notes: parts.flatMap(({ notes = [] }) => notes),
    check: async (options) => {
      for (const one of parts) await one.check?.(options);
    },
  };
}

type ToldOfParts = 'missing' | 'smallestBatch' | 'finished' | 'notes' | 'check';

/** Registers an object or a part behind its token, built once on first use. */
export function provide<T>(container: DependencyContainer, key: InjectionToken<T>, provided: Provided<T>): void {
  if (!isPart(provided)) {
    container.registerInstance(key, provided);
    return;
  }
  provided.register?.(container);
  let built: { value: T } | undefined;
  container.register(key, { useFactory: (inner) => (built ??= { value: provided.build(inner) }).value });
}

/** An object that can say what it was made with, for config.json. */
export interface Described {
  readonly description: { readonly part: string; readonly options: unknown };
}

/** What config.json says of an object or a part: its description where it has one, else its name. */
export function describeProvided(provided: unknown): unknown {
  const { description, name } = (provided ?? {}) as Partial<Described> & { name?: unknown };
  if (description !== undefined) return description;
  return typeof name === 'string' ? name : (provided as object | undefined)?.constructor.name;
}
