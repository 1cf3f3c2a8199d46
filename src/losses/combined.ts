/**
 * Several objectives side by side: the generator's losses are added with weights, each objective trains what is its own.
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { describeProvided, missingOf, OBJECTIVE, provide, toldBy, type Part, type Provided } from '../core/container.js';
import type { Checkpointable, GeneratorBatch, Objective, Stage } from '../core/contracts/training.js';
import { ConfigError } from '../core/errors.js';
import type { NamedTensor } from '../core/parameter.js';

/** One objective of several. */
export interface WeightedObjective {
  /** Stands before its stages, losses and checkpoint parts; unique, of letters, digits and hyphens. */
  name: string;
  objective: Provided<Objective>;
  /** Factor of its part of the generator's loss. Default 1. */
  weight?: number;
}

const schema = z.array(
  z.strictObject({
    name: z.string().regex(/^[A-Za-z0-9-]+$/, 'expected letters, digits and hyphens'),
    objective: z.custom<Provided<Objective>>(
      (value) => typeof value === 'object' && value !== null,
      'expected an objective, such as distributional(…)',
    ),
    weight: z.number().min(0).default(1),
  }),
);

/**
 * The weighted sum of objectives, as a part: several discriminators, each with its own optimizer, augmentation and
 * regularizers, or a GAN loss beside one of another kind.
 *
 * The parts of an objective are registered in a container of its own: replacing the token `DISCRIMINATOR` of the run reaches none
 * of them. Throws `E_CONFIG` with every problem.
 *
 * ```ts
 * const loss = combined([
 *   { name: 'projected', objective: distributional({ discriminator: projected([vgg16bn(), efficientnetLite0()]) }) },
 *   { name: 'encoder', objective: distributional({ discriminator: encoderDiscriminator() }), weight: 0.5 },
 * ]);
 * ```
 */
export function combined(objectives: readonly WeightedObjective[]): Part<Objective> {
  const parsed = schema.safeParse(objectives);
  const problems = parsed.error?.issues.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`) ?? [];
  const names = parsed.data?.map(({ name }) => name) ?? [];
  if (objectives.length === 0) problems.push('expected at least one objective');
  if (new Set(names).size < names.length) problems.push(`names: expected each once, got ${names.join(', ')}`);
  if (!parsed.success || problems.length > 0) throw new ConfigError('combined', problems);
  return {
    description: { part: 'combined', options: parsed.data.map((one) => ({ ...one, objective: describeProvided(one.objective) })) },
    ...toldBy(parsed.data.map(({ objective }) => objective)),
    missing: parsed.data.flatMap(({ name, objective }) => missingOf(objective).map((line) => `${name}: ${line}`)),
    build: (container) =>
      new CombinedObjective(
        parsed.data.map(({ name, objective, weight }) => {
          const own = container.createChildContainer();
          provide(own, OBJECTIVE, objective);
          return { name, weight, objective: own.resolve(OBJECTIVE) };
        }),
      ),
  };
}

/** Weighs only the generator's loss: what an objective trains of its own, it trains by its own loss. */
export class CombinedObjective implements Objective {
  readonly name: string;
  readonly stages: readonly Stage[];
  readonly checkpoint: Readonly<Record<string, Checkpointable>>;
  readonly #objectives: readonly { name: string; weight: number; objective: Objective }[];

  constructor(objectives: readonly { name: string; weight: number; objective: Objective }[]) {
    this.#objectives = objectives;
    this.name = objectives.map(({ weight, objective }) => `${weight} x (${objective.name})`).join(' + ');
    const prefixed = <T>(name: string, values: Readonly<Record<string, T>>) =>
      Object.fromEntries(Object.entries(values).map(([key, value]) => [`${name}-${key}`, value]));
    this.stages = objectives.flatMap(({ name, objective }) =>
      objective.stages.map((stage) => ({
        name: `${name}-${stage.name}`,
        every: stage.every,
        run: (step: Parameters<Stage['run']>[0]) => prefixed(name, stage.run(step)),
      })),
    );
    this.checkpoint = Object.assign({}, ...objectives.map(({ name, objective }) => prefixed(name, objective.checkpoint))) as Record<
      string,
      Checkpointable
    >;
  }

  get parameterCount(): number {
    return this.#objectives.reduce((sum, { objective }) => sum + objective.parameterCount, 0);
  }

  async prepare(): Promise<void> {
    for (const { objective } of this.#objectives) await objective.prepare?.();
  }

  frozen(): NamedTensor[] {
    return this.#objectives.flatMap(({ objective }) => objective.frozen?.() ?? []);
  }

  generatorLoss(batch: GeneratorBatch): tf.Scalar {
    return tf.tidy(() =>
      tf.addN(this.#objectives.map(({ weight, objective }) => tf.mul<tf.Scalar>(objective.generatorLoss(batch), weight))),
    );
  }

  dispose(): void {
    for (const { objective } of this.#objectives) objective.dispose();
  }
}
