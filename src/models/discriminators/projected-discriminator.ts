/**
 * The paper's discriminator: trained heads over randomly projected features of frozen networks (Projected GAN, arXiv 2111.01007).
 */
import { z } from 'zod';
import { inject, injectable, part, PART_OPTIONS, RANDOM, type Part } from '../../core/container.js';
import type { RandomSource } from '../../core/contracts/random.js';
import type { Discriminator } from '../../core/contracts/training.js';
import { ConfigError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import type { NamedTensor } from '../../core/parameter.js';
import { describeNetwork, ProjectedFeatures, type FeatureNetworkSource } from '../features/projected-features.js';
import { TEACHER, type Teacher } from '../teachers/teacher.js';
import { randomEmbeddings, type ClassEmbeddings } from './class-embeddings.js';
import type { ClassCondition } from './class-projection.js';
import { FeatureDiscriminator } from './feature-discriminator.js';
import { headWidths } from './head.js';

const positive = z.number().int().positive();

const conditional = z.strictObject({
  /** Number of classes; undefined: the teacher's. */
  classes: positive.optional(),
  /** What the class embeddings start from; undefined: `randomEmbeddings()`. */
  embeddings: z
    .custom<ClassEmbeddings>(
      (value) => typeof (value as ClassEmbeddings | undefined)?.load === 'function',
      'expected class embeddings, such as classifierEmbeddings()',
    )
    .optional(),
  /** Outputs of a head, and length of the projected embedding. */
  width: positive.default(64),
  /** Embeddings train as the heads do. */
  trained: z.boolean().default(true),
});

const schema = z.strictObject({
  /** Size that the heads take the finest map to have; each coarser one has half of it. A head halves it down to 8. */
  nominalSize: positive.refine((size) => Number.isInteger(Math.log2(size)), 'expected a power of two').default(128),
  /** Channels of the projections after cross-channel mixing, finest stage first; undefined: 64, 128, 256, 512. */
  widths: z.array(positive).min(1).optional(),
  /** Class-conditional heads; undefined: heads that know no classes. */
  conditional: conditional.optional(),
});

/** Options of `projected`. @interface */
export type ProjectedOptions = z.input<typeof schema>;

type ParsedOptions = z.output<typeof schema> & { readonly features: readonly FeatureNetworkSource[] };

/** Size at which the heads' last convolution stands, nominally. */
const END = 8;
/** Kernel of that convolution, which has no padding. */
const LAST_KERNEL = 4;

/**
 * The projected discriminator over `features`, as a part: for each network its frozen stages, a random frozen projection,
 * and a trained head a stage.
 *
 * Weights are read when a run starts. Throws `E_CONFIG` for wrong options, and where a network's maps are too small for
 * the heads; a run fails before its teacher is loaded where a file of weights is absent or another network's.
 *
 * ```ts
 * const discriminator = projected([vgg16bn(), efficientnetLite0()]);
 * ```
 */
export function projected(features: readonly FeatureNetworkSource[], options: ProjectedOptions = {}): Part<Discriminator> {
  const parsed = { ...parseOptions(schema, options, 'projected'), features };
  checkMaps(parsed);
  const { embeddings, ...rest } = parsed.conditional ?? {};
  const description = {
    ...parsed,
    features: features.map((source) => ('description' in source ? source.description : source.name)),
    ...(parsed.conditional && { conditional: { ...rest, embeddings: (embeddings ?? randomEmbeddings()).description } }),
  };
  return {
    ...part('projected', ProjectedDiscriminator, parsed),
    description: { part: 'projected', options: description },
    smallestBatch: Math.max(...features.map((source) => describeNetwork(source).groups ?? 1)),
    check: async (look) => {
      for (const source of features) if ('check' in source) await source.check?.(look);
      await embeddings?.check?.(look);
    },
  };
}

/** Heads halve maps as often as their nominal sizes say, whatever the maps' own sizes: what is left must hold the last convolution. */
function checkMaps({ features, nominalSize, widths }: ParsedOptions): void {
  const problems = features.length === 0 ? ['features: expected at least one feature network'] : [];
  for (const source of features) {
    const { name, stages } = describeNetwork(source);
    if (widths && widths.length !== stages.length)
      problems.push(`widths: expected one a stage of ${name}, ${stages.length}, got ${widths.length}`);
    stages.forEach(({ resolution }, stage) => {
      const nominal = nominalSize / 2 ** stage;
      const left = Math.floor((2 * resolution * END) / Math.max(nominal, END));
      if (nominal < END) problems.push(`nominalSize: stage ${stage} of ${name} has nominal size ${nominal}, less than ${END}`);
      else if (left < LAST_KERNEL)
        problems.push(`${name}: stage ${stage} gives maps of ${2 * resolution} px, of which a head for ${nominal} px leaves ${left}`);
    });
  }
  if (problems.length > 0)
    throw new ConfigError('projected', problems, {
      help: `a head needs ${LAST_KERNEL} px after its halvings: take a smaller nominalSize, or larger images for the feature network`,
    });
}

/** Heads as for maps of 128, 64, 32 and 16 px, whatever the maps' own sizes, with the published widths. */
@injectable()
export class ProjectedDiscriminator extends FeatureDiscriminator {
  readonly #random: RandomSource;
  readonly #features: readonly ProjectedFeatures[];
  readonly #embeddings: ClassEmbeddings | undefined;

  constructor(@inject(TEACHER) teacher: Teacher, @inject(RANDOM) random: RandomSource, @inject(PART_OPTIONS) options: ParsedOptions) {
    const { features, nominalSize, widths, conditional: classes } = options;
    const embeddings = classes && (classes.embeddings ?? randomEmbeddings());
    const projections = features.map((source, n) => new ProjectedFeatures(source, { prefix: `networks.${n}.`, widths }));
    super(projections, {
      start: (stage) => nominalSize / 2 ** stage,
      end: END,
      width: (size) => headWidths[size] ?? headWidths[64]!,
      condition: classes && conditionOf(classes, embeddings!, teacher),
    });
    this.#random = random;
    this.#features = projections;
    this.#embeddings = embeddings;
    for (const projection of projections) this.addChild(projection);
    this.initialize(random);
  }

  /** Reads weights and class embeddings, one network after the other. Throws as their loaders. */
  async prepare(): Promise<void> {
    for (const features of this.#features) await features.prepare(this.#random);
    const [first] = this.classProjections;
    const values = first && (await this.#embeddings!.load(first.embedding.shape[0]!));
    if (values) for (const { embedding } of this.classProjections) embedding.load(values);
  }

  frozen(): NamedTensor[] {
    return this.#features.flatMap((features) => features.frozen());
  }

  override dispose(): void {
    super.dispose();
    for (const features of this.#features) features.dispose();
  }
}

/** Throws `E_CONFIG` where the number of classes is unknown, or not the teacher's or the embeddings'. */
function conditionOf(
  { classes: given, width, trained }: z.output<typeof conditional>,
  { dimensions, classes: rows }: ClassEmbeddings,
  { name, backbone }: Teacher,
): ClassCondition {
  const known = backbone.config.label_dim;
  const classes = given ?? known;
  const problems: string[] = [];
  if (known === 0) problems.push(`conditional: ${name} is unconditional, so that images have no class labels`);
  else if (classes !== known) problems.push(`conditional.classes: expected the ${known} classes of ${name}, got ${classes}`);
  if (known > 0 && rows !== undefined && rows !== classes)
    problems.push(`conditional.embeddings: expected one for each of ${classes} classes, got ${rows}`);
  if (dimensions === undefined)
    problems.push('conditional.embeddings: the length of a row is not known before their file is opened; give it: { dimensions: … }');
  if (problems.length > 0 || dimensions === undefined)
    throw new ConfigError('projected', problems, {
      help: 'heads, teacher and data must know the same classes; leave `conditional` out for none',
    });
  return { classes, dimensions, width, trained };
}
