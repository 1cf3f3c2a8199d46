/**
 * What a preset makes of names: its teacher and its discriminator.
 */
import { isDeepStrictEqual } from 'node:util';
import { basename } from 'node:path';
import type { Part } from '../core/container.js';
import type { Discriminator } from '../core/contracts/training.js';
import { isAbsent } from '../core/download/index.js';
import { ConfigError } from '../core/errors.js';
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

/** The paper's discriminator; of a class-conditional recipe with conditional heads, whose embeddings start from `embeddings`, which its notes say. */
export function presetDiscriminator(
  { title, features, classes }: PresetRow,
  weights: PresetFeatureWeights,
  embeddings: readonly number[] | 'random' | undefined,
): Part<Discriminator> {
  const networks = features.map((name) => FEATURES[name](weights));
  if (classes === 0) return projected(networks);
  // The thousand classes of ImageNet are the classifier's own; which of them stand for others', only the caller knows.
  const rows = embeddings ?? (classes === IMAGENET_CLASSES ? 'all' : 'random');
  const start =
    rows === 'random' ? randomEmbeddings() : classifierEmbeddings(weights.efficientnetLite0, rows === 'all' ? {} : { classes: [...rows] });
  const said =
    rows === 'random'
      ? 'random'
      : `EfficientNet-lite0's of ${rows === 'all' ? "ImageNet's classes in order" : `the ImageNet classes ${rows.join(', ')}`}`;
  const why =
    embeddings === undefined && rows === 'random'
      ? `; the paper does not say which ImageNet classes stand for those of ${title}: give classEmbeddings`
      : '';
  return {
    ...projected(networks, { conditional: { classes, embeddings: start } }),
    notes: [`class embeddings start ${said === 'random' ? said : `from ${said}`}${why}`],
  };
}

const IMAGENET_CLASSES = 1000;

/** A teacher whose architecture is known before its file is there. */
export interface PresetTeacher extends TeacherLoader {
  /** That of the file where it is on this machine, else the published one. Throws `E_CONFIG` where the file is another network. */
  architecture(): Promise<{ config: BackboneConfig; from: 'file' | 'published' }>;
}

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
