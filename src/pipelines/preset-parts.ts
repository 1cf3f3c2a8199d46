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
import { teacher } from '../models/teachers/any-teacher.js';
import { publishedTeachers, type PublishedTeacherName } from '../models/teachers/published-teachers.js';
import type { TeacherLoader } from '../models/teachers/teacher.js';
import type { PresetRow } from './preset-table.js';

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

/** The paper's discriminator. The place where the projected discriminator over `features` comes in. */
export function presetDiscriminator({ features, classes }: PresetRow): Part<Discriminator> {
  const heads = classes > 0 ? `class-conditional heads (${classes} classes)` : 'unconditional heads';
  return missingPart(
    'projected',
    { features, classes },
    `discriminator: the paper's looks through ${features.join(' and ')}, with ${heads}; this version has no such part: pass another as \`discriminator\`, such as encoderDiscriminator(), which looks through the teacher's encoder`,
  );
}

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
