/**
 * A discriminator over the teacher's own frozen encoder at chosen noise levels: needs no weights but the teacher's.
 */
import { z } from 'zod';
import { inject, injectable, part, PART_OPTIONS, RANDOM, type Part } from '../../core/container.js';
import type { Discriminator } from '../../core/contracts/training.js';
import type { RandomSource } from '../../core/contracts/random.js';
import { parseOptions } from '../../core/options.js';
import { TeacherEncoder } from '../features/teacher-encoder.js';
import { TEACHER, type Teacher } from '../teachers/teacher.js';
import { FeatureDiscriminator } from './feature-discriminator.js';

const schema = z.strictObject({
  /** Noise levels at which the teacher looks at the images; each has heads of its own. */
  sigmas: z.array(z.number().positive()).min(1).default([0.1, 0.5, 2]),
  /**
   * `split`: each level judges its part of the batch, in one pass of the teacher; `all`: every level judges every
   * image, in as many passes.
   */
  levels: z.enum(['split', 'all']).default('split'),
  /** Encoder stages by name; undefined: the last block of each resolution. */
  stages: z.array(z.string()).min(1).optional(),
  /** Size at which the heads' last convolution stands. */
  end: z.number().int().min(1).default(4),
  /** Channels of the heads after each halving; undefined: those of the stage. */
  width: z.number().int().positive().optional(),
});

/**
 * Options of `encoderDiscriminator`.
 *
 * @interface
 */
export type EncoderDiscriminatorOptions = z.input<typeof schema>;

/** The embedded default discriminator, as a part: with `split` levels it needs an image a level in every micro-batch. Throws `E_CONFIG` for wrong options. */
export function encoderDiscriminator(options: EncoderDiscriminatorOptions = {}): Part<Discriminator> {
  const parsed = parseOptions(schema, options, 'encoderDiscriminator');
  return {
    ...part('encoderDiscriminator', EncoderDiscriminator, parsed),
    smallestBatch: parsed.levels === 'split' ? parsed.sigmas.length : 1,
  };
}

@injectable()
export class EncoderDiscriminator extends FeatureDiscriminator {
  constructor(
    @inject(TEACHER) teacher: Teacher,
    @inject(RANDOM) random: RandomSource,
    @inject(PART_OPTIONS) { sigmas, levels, stages, ...heads }: z.output<typeof schema>,
  ) {
    const passes = levels === 'split' ? [sigmas] : sigmas.map((sigma) => [sigma]);
    super(
      passes.map((group) => new TeacherEncoder(teacher.backbone, { sigmas: group, stages })),
      heads,
    );
    this.initialize(random);
  }
}
