/**
 * What a preset makes of names: its teacher, and the parts that are not there yet.
 */
import { isDeepStrictEqual } from 'node:util';
import { basename } from 'node:path';
import type { Part } from '../core/container.js';
import type { DataSource } from '../core/contracts/data.js';
import type { Discriminator } from '../core/contracts/training.js';
import { ConfigError, OnestepError } from '../core/errors.js';
import type { BackboneConfig } from '../models/backbones/backbone.js';
import { publishedBackbones, resolveBackboneConfig } from '../models/backbones/config.js';
import { classifierEmbeddings, randomEmbeddings } from '../models/discriminators/class-embeddings.js';
import { projected } from '../models/discriminators/projected-discriminator.js';
import { deit, efficientnetLite0, vgg16bn } from '../models/features/feature-loaders.js';
import type { FeatureNetworkLoader } from '../models/features/feature-network.js';
import { teacher } from '../models/teachers/any-teacher.js';
import { publishedTeachers, type PublishedTeacherName } from '../models/teachers/published-teachers.js';
import type { TeacherLoader } from '../models/teachers/teacher.js';
import type { PresetFeatures, PresetRow } from './preset-table.js';

/** A part that cannot be built: it says what to give in its place. */
function missingPart<T>(part: string, options: unknown, missing: string): Part<T> {
  return {
    description: { part, options },
    missing: [missing],
    build: () => {
      throw new ConfigError('preset', [missing]);
    },
  };
}

/** Where the weights of a feature network are, by its name; undefined: where they are published. */
export interface PresetFeatureWeights {
  /** torchvision's `vgg16_bn`. */
  vgg16bn?: string | undefined;
  /** timm's `tf_efficientnet_lite0`. */
  efficientnetLite0?: string | undefined;
  /** timm's `deit_base_distilled_patch16_224`. */
  deit?: string | undefined;
}

/** Loaders by the names of the table. */
const FEATURES: Readonly<Record<PresetFeatures, (weights: PresetFeatureWeights) => FeatureNetworkLoader>> = {
  'VGG16-BN': (weights) => vgg16bn(weights.vgg16bn),
  'EfficientNet-lite0': (weights) => efficientnetLite0(weights.efficientnetLite0),
  'DeiT-base-distilled': (weights) => deit('base', weights.deit),
};

/** The paper's discriminator; of a class-conditional recipe with conditional heads, whose embeddings start from `embeddings`. */
export function presetDiscriminator(
  { features, classes }: PresetRow,
  weights: PresetFeatureWeights,
  embeddings: readonly number[] | 'random' | undefined,
): Part<Discriminator> {
  const networks = features.map((name) => FEATURES[name](weights));
  if (classes === 0) return projected(networks);
  // The thousand classes of ImageNet are the classifier's own; which of them stand for others', only the caller knows.
  const rows = embeddings ?? (classes === IMAGENET_CLASSES ? 'all' : 'random');
  const start =
    rows === 'random' ? randomEmbeddings() : classifierEmbeddings(weights.efficientnetLite0, rows === 'all' ? {} : { classes: [...rows] });
  return projected(networks, { conditional: { classes, embeddings: start } });
}

const IMAGENET_CLASSES = 1000;

/** The images that a path names. The place where readers of EDM's zips and folders come in. */
export function presetData(path: string | undefined, { title }: PresetRow): Part<DataSource> {
  return missingPart(
    'data',
    path === undefined ? {} : { path },
    path === undefined
      ? `data: no images of ${title} were given; pass a DataSource as \`data\``
      : `data: '${path}' is a path, and this version reads no files of images; pass a DataSource as \`data\``,
  );
}

/** A teacher whose architecture is known before its file is there. */
export interface PresetTeacher extends TeacherLoader {
  /** That of the file where it is on this machine, else the published one. Throws `E_CONFIG` where the file is another network. */
  architecture(): Promise<{ config: BackboneConfig; from: 'file' | 'published' }>;
}

/** Codes of what is simply not on this machine. */
const ABSENT = new Set(['E_FILE_ABSENT', 'E_DOWNLOAD_OFFLINE']);
const isAbsent = (error: unknown) => error instanceof OnestepError && ABSENT.has(error.code);

/** What weights do not show, or a distillation does not use. */
const IGNORED = new Set(['dropout', 'augment_dim']);
/** What the images and classes of a data set fix. */
const OF_THE_DATA = ['img_resolution', 'img_channels', 'label_dim'];

/** In what of `keys` a network is not as expected. */
function differences(found: BackboneConfig, expected: BackboneConfig, keys: readonly string[]): string[] {
  const [theirs, ours] = [found, expected] as unknown as [Record<string, unknown>, Record<string, unknown>];
  return keys
    .filter((key) => !isDeepStrictEqual(theirs[key], ours[key]))
    .map((key) => `${key}: expected ${JSON.stringify(ours[key])}, found ${JSON.stringify(theirs[key])}`);
}

/** The published teacher that a name or the name of a file stands for. */
function publishedName(reference: string): PublishedTeacherName | undefined {
  const stem = basename(reference).replace(/\.[a-z]+$/i, '');
  return Object.hasOwn(publishedTeachers, stem) ? (stem as PublishedTeacherName) : undefined;
}

/** A loader of the network that `reference` names, checked against what the preset trains. */
export function presetTeacher(where: string, reference: string | TeacherLoader, row: PresetRow): PresetTeacher {
  const loader = typeof reference === 'string' ? teacher(reference) : reference;
  // Offline: what is not on this machine is not fetched to look at it.
  const local = typeof reference === 'string' ? teacher(reference, { offline: true }) : reference;
  const ofTheRow = resolveBackboneConfig({ ...publishedBackbones[row.network] });
  const named = typeof reference === 'string' ? publishedName(reference) : undefined;
  const published = named === undefined ? ofTheRow : resolveBackboneConfig({ ...publishedBackbones[publishedTeachers[named].network] });
  const check = (config: BackboneConfig): BackboneConfig => {
    const problems = new Set(differences(config, ofTheRow, OF_THE_DATA));
    if (named !== undefined)
      for (const problem of differences(
        config,
        published,
        Object.keys(published).filter((key) => !IGNORED.has(key)),
      ))
        problems.add(problem);
    if (problems.size === 0) return config;
    throw new ConfigError(
      where,
      [...problems].map((problem) => `teacher: ${loader.name}: ${problem}`),
      { help: 'take another teacher or another preset; a file under a published name must be that network, or have another name' },
    );
  };
  const architecture: PresetTeacher['architecture'] = async () => {
    try {
      return { config: check(await local.describe()), from: 'file' };
    } catch (error) {
      if (!isAbsent(error)) throw error;
      return { config: check(published), from: 'published' };
    }
  };
  return {
    name: loader.name,
    ...(loader.description && { description: loader.description }),
    architecture,
    describe: async () => (await architecture()).config,
    load: async () => {
      const loaded = await loader.load();
      try {
        check(loaded.backbone.config);
      } catch (error) {
        loaded.backbone.dispose();
        throw error;
      }
      return loaded;
    },
  };
}
