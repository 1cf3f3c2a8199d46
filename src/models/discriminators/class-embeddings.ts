/**
 * What the class embeddings of conditional heads start from.
 */
import { z } from 'zod';
import type { FileCheck } from '../../core/container.js';
import { lookAtFile } from '../../core/download/index.js';
import { ConfigError, WeightsError } from '../../core/errors.js';
import { readNpz } from '../../core/npz.js';
import { parseOptions } from '../../core/options.js';
import { openWeightsFile } from '../features/feature-weights.js';
import { resolveFile } from '../teachers/published-teachers.js';

/** Length of EfficientNet-lite0's ImageNet class embeddings. */
const IMAGENET_DIMENSIONS = 1280;

/** First values of class embeddings, one row a class. */
export interface ClassEmbeddings {
  /** For config.json. */
  readonly description: { readonly part: string; readonly options: unknown };
  /** Length of a row; undefined: not known before `check` has looked at the file. */
  readonly dimensions: number | undefined;
  /** Number of rows; undefined: not known before `check`, or as many as there are classes. */
  readonly classes?: number | undefined;
  /** Looks at the file's shapes. Throws as `load`. Default: nothing. */
  check?(options: FileCheck): Promise<void>;
  /** `[classes, dimensions]`, row-major; undefined: random, standard normal. */
  load(classes: number): Promise<Float32Array | undefined>;
}

const randomSchema = z.strictObject({
  /** Length of a row. */
  dimensions: z.number().int().positive().default(IMAGENET_DIMENSIONS),
});

/** Standard normal embeddings, from the run's random numbers. Throws `E_CONFIG`. */
export function randomEmbeddings(options: z.input<typeof randomSchema> = {}): ClassEmbeddings {
  const parsed = parseOptions(randomSchema, options, 'randomEmbeddings');
  return { description: { part: 'randomEmbeddings', options: parsed }, ...parsed, load: () => Promise.resolve(undefined) };
}

const references = z.strictObject({
  /** Rows of the file, one for each class in order; undefined: all rows, which must be as many as there are classes. */
  classes: z.array(z.number().int().min(0)).min(1).optional(),
  /** Where downloads are kept; undefined: `cacheDirectory()`. */
  cacheDir: z.string().min(1).optional(),
  /** True: nothing is downloaded; undefined: as ONESTEP_OFFLINE and HF_HUB_OFFLINE say. */
  offline: z.boolean().optional(),
});

const fileSchema = references.extend({
  /** Name of the tensor; undefined: the only one of the file. */
  tensor: z.string().min(1).optional(),
  /** Length of a row; undefined: the file's. */
  dimensions: z.number().int().positive().optional(),
});

/** Options of `embeddingsFrom`. @interface */
export type EmbeddingsFromOptions = z.input<typeof fileSchema>;

/**
 * Embeddings from a file with a tensor `[classes, dimensions]`: safetensors, `.npz` or a PyTorch state dict.
 *
 * `reference`: a path, `https://…` or `hf:owner/name/file`. A run looks at the file before anything else and finds the length of a row; where
 * parts are replaced by `configure`, which leaves that out, and in a plan without the file, `dimensions` must be given. Throws `E_CONFIG`; loading throws `E_WEIGHTS_MISMATCH` for another
 * shape, `E_CONFIG` where the classes are not the file's, and as the readers of files.
 */
export function embeddingsFrom(reference: string, options: EmbeddingsFromOptions = {}): ClassEmbeddings {
  const parsed = parseOptions(fileSchema, options, 'embeddingsFrom');
  return fromFile('embeddingsFrom', reference, parsed);
}

/** Options of `classifierEmbeddings`. @interface */
export type ClassifierEmbeddingsOptions = z.input<typeof references>;

/**
 * The rows of EfficientNet-lite0's classifier (`classifier.weight`, `[1000, 1280]`), one an ImageNet class.
 *
 * `weights`: the feature network's own file, as for `efficientnetLite0`. `classes` chooses ImageNet's classes, one for each
 * of the data set's; undefined: the thousand in order, for ImageNet itself. Throws as {@link embeddingsFrom}.
 */
export function classifierEmbeddings(
  weights = 'hf:timm/tf_efficientnet_lite0.in1k/model.safetensors',
  options: ClassifierEmbeddingsOptions = {},
): ClassEmbeddings {
  const parsed = parseOptions(references, options, 'classifierEmbeddings');
  return fromFile('classifierEmbeddings', weights, { ...parsed, tensor: 'classifier.weight', dimensions: IMAGENET_DIMENSIONS });
}

interface Table {
  shape: readonly number[];
  values: () => ArrayLike<number> | Promise<ArrayLike<number>>;
}

/** Every tensor of a file by name; nothing of safetensors and state dicts is read before `values`. */
async function tablesOf(path: string): Promise<Map<string, Table>> {
  if (path.toLowerCase().endsWith('.npz'))
    return new Map([...(await readNpz(path))].map(([name, { shape, data }]) => [name, { shape, values: () => data }]));
  const file = await openWeightsFile(path);
  return new Map([...file.tensors].map(([name, { shape }]) => [name, { shape, values: () => file.readAsFloat32(name) }]));
}

/** The tensor that is meant: by its name, with or without what stands before it, or the only one. */
function chosen(tables: Map<string, Table>, tensor: string | undefined, path: string): Table {
  const names = [...tables.keys()].filter((name) => tensor === undefined || name === tensor || name.endsWith(`.${tensor}`));
  const table = names.length === 1 ? tables.get(names[0]!) : tensor === undefined ? undefined : tables.get(tensor);
  if (table) return table;
  const shown = [...tables.keys()].slice(0, 5).join(', ') + (tables.size > 5 ? `, … (${tables.size})` : '');
  throw new WeightsError('E_WEIGHTS_MISSING', `${path}: expected ${tensor ?? 'a single tensor'}, found ${shown || 'none'}`, {
    help: 'name the tensor of class embeddings: { tensor: … }',
  });
}

function fromFile(part: string, reference: string, options: z.output<typeof fileSchema>): ClassEmbeddings {
  const { tensor, dimensions: given, classes: rows, cacheDir } = options;
  let known: readonly [count: number, dimensions: number] | undefined;
  const open = async (offline: boolean | undefined) => {
    const path = await resolveFile(reference, { ...(cacheDir !== undefined && { cacheDir }), ...(offline !== undefined && { offline }) });
    const { shape, values } = chosen(await tablesOf(path), tensor, path);
    const [count, dimensions] = shape as [number, number];
    if (shape.length !== 2 || dimensions !== (given ?? dimensions))
      throw new WeightsError(
        'E_WEIGHTS_MISMATCH',
        `${path}: expected class embeddings [classes, ${given ?? 'length'}], found [${shape.join(', ')}]`,
        {
          help: given === undefined ? 'name the tensor of class embeddings: { tensor: … }' : `leave dimensions out, or give the file's`,
        },
      );
    return { count, dimensions, values };
  };
  const chooseRows = (count: number, classes: number | undefined) => {
    const wanted = rows ?? Array.from({ length: count }, (_, row) => row);
    const problems = wanted.filter((row) => row >= count).map((row) => `classes: the file has ${count} rows, there is no row ${row}`);
    if (classes !== undefined && wanted.length !== classes)
      problems.push(`classes: expected a row for each of ${classes} classes, got ${wanted.length}`);
    if (problems.length > 0)
      throw new ConfigError(part, problems, { help: 'name the row of each class in order: { classes: […] }; counting starts at 0' });
    return wanted;
  };
  return {
    description: { part, options: { weights: reference, ...options } },
    get dimensions() {
      return given ?? known?.[1];
    },
    get classes() {
      return rows?.length ?? known?.[0];
    },
    check: ({ localOnly }) =>
      lookAtFile(localOnly, async () => {
        const { count, dimensions } = await open(localOnly || options.offline);
        chooseRows(count, undefined);
        known = [count, dimensions];
      }),
    load: async (classes) => {
      const { count, dimensions, values } = await open(options.offline);
      const wanted = chooseRows(count, classes);
      const all = await values();
      return Float32Array.from(
        { length: classes * dimensions },
        (_, i) => all[wanted[Math.floor(i / dimensions)]! * dimensions + (i % dimensions)]!,
      );
    },
  };
}
