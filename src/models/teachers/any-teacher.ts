/**
 * One door for teachers: by name or path, whatever the format.
 */
import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { openTorchFile } from '../../core/torch-file/index.js';
import type { BackboneOptions } from '../backbones/config.js';
import type { DiffusersTeacherOptions } from './diffusers-config.js';
import { diffusersTeacher } from './diffusers-teacher.js';
import { readEdmSnapshot, snapshotModules } from './edm-snapshot.js';
import type { Container, Probe } from './probe.js';
import { resolveFile } from './published-teachers.js';
import { safetensorsTeacher } from './safetensors-teacher.js';
import { readStateDict } from './state-dict-teacher.js';
import { fileTeacher, type FileTeacherLoader, type TeacherFile } from './teacher-file.js';

const teacherOptions = z.strictObject({
  /** Which network of a file that holds several; undefined: `ema` of a snapshot, the only one of a state dict or of safetensors; a diffusers folder takes none. */
  key: z.string().min(1).optional(),
  /** What stands before every name of the network; undefined: found out. */
  prefix: z.string().optional(),
  /** The architecture; undefined: from the file. */
  config: z.custom<BackboneOptions>((value) => typeof value === 'object' && value !== null, 'expected an object').optional(),
  /** What a diffusers folder does not say. */
  diffusers: z.custom<DiffusersTeacherOptions>((value) => typeof value === 'object' && value !== null, 'expected an object').optional(),
  /** Where downloads are kept; undefined: `cacheDirectory()`. */
  cacheDir: z.string().min(1).optional(),
  /** True: nothing is downloaded; undefined: as ONESTEP_OFFLINE and HF_HUB_OFFLINE say. */
  offline: z.boolean().optional(),
});

/** Options of `teacher`. @interface */
export type TeacherOptions = z.input<typeof teacherOptions>;

type ParsedOptions = z.output<typeof teacherOptions>;

/** A format: what it is recognised by, and how it is read. */
interface TeacherFormat {
  readonly containers: readonly Container[];
  /** Undefined: the container is enough. */
  readonly recognizes?: (found: Probe) => boolean;
  readonly open: (found: Probe, options: ParsedOptions) => Promise<TeacherFile>;
}

const defined = <T extends object>(options: T) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };

/** The first that fits is taken. A new format is a row here. */
const FORMATS: readonly TeacherFormat[] = [
  {
    containers: ['folder'],
    recognizes: ({ names }) => names.includes('model_index.json') || names.includes('config.json') || names.includes('unet'),
    open: ({ path }, { key, diffusers }) => {
      if (key !== undefined)
        throw new ConfigError('teacher', [`key: ${path} is a diffusers folder, which holds one network; got the key ${key}`], {
          help: 'leave the key out',
        });
      return diffusersTeacher(path, diffusers).open();
    },
  },
  {
    containers: ['safetensors', 'safetensors index', 'folder'],
    open: ({ path }, { key, config, prefix }) => safetensorsTeacher(path, defined({ key, config, prefix })).open(),
  },
  {
    containers: ['pickle', 'zip'],
    open: async ({ path }, { key, config, prefix }) => {
      const file = await openTorchFile(path);
      if (snapshotModules(file.root).size > 0) return readEdmSnapshot(file, defined({ key }));
      return readStateDict(file, defined({ key, config, prefix }));
    },
  },
];

/**
 * Loads a teacher from a reference: a path, the name of a published teacher, an address or `hf:owner/name[/file][@revision]`.
 *
 * What a path holds is found out by its content: safetensors (a file, an index or a folder), EDM snapshots, PyTorch state dicts in both containers,
 * diffusers folders. What is no path is downloaded into the cache when the file is first needed. Throws as the loaders of the formats, and
 * `E_CONFIG` for unknown options.
 */
export function teacher(reference: string, options: TeacherOptions = {}): FileTeacherLoader {
  const parsed = parseOptions(teacherOptions, options, 'teacher');
  const { cacheDir, offline } = parsed;
  const path = () => resolveFile(reference, defined({ cacheDir, offline }));
  return fileTeacher('teacher', path, { name: reference, options: { reference, ...options } }, (found) => {
    // Every container has a row without conditions.
    const format = FORMATS.find(({ containers, recognizes }) => containers.includes(found.container) && (recognizes?.(found) ?? true))!;
    return format.open(found, parsed);
  });
}
