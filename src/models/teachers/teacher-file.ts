/**
 * Files of teachers, opened: which format, which architecture, and the weights under the architecture's own names.
 */
import { basename } from 'node:path';
import { ConfigError } from '../../core/errors.js';
import type { TensorFile } from '../../core/tensor-file.js';
import type { BackboneConfig } from '../backbones/backbone.js';
import { createBackbone } from '../backbones/config.js';
import { weightsOf } from '../nn/weights.js';
import { probe, type Probe } from './probe.js';
import type { TeacherLoader } from './teacher.js';

/** A teacher's file, opened; nothing but its header was read. */
export interface TeacherFile {
  readonly path: string;
  /** Such as `EDM snapshot, EDMPrecond of SongUNet (pickle)`. */
  readonly format: string;
  readonly config: BackboneConfig;
  /** Under the names that `createBackbone(config)` has. */
  readonly weights: TensorFile;
  /** What was found besides, such as a prefix that was removed or tensors that are left out; one line each. */
  readonly notes: readonly string[];
}

/** A loader that reads a file or a folder. */
export interface FileTeacherLoader extends TeacherLoader {
  /** Opens the file and finds out what it holds; `load` then reads the values. */
  open(): Promise<TeacherFile>;
}

/**
 * A loader of the format that `open` reads. `part` and `options` go to config.json.
 *
 * The values are read one tensor at a time. A load that fails frees what it has read.
 */
export function fileTeacher(
  part: string,
  path: string | (() => Promise<string>),
  { name, options }: { name: string; options: object },
  open: (found: Probe) => Promise<TeacherFile>,
): FileTeacherLoader {
  const openNow = async () => {
    const found = await probe(typeof path === 'string' ? path : await path());
    try {
      return await open(found);
    } catch (error) {
      // Schemas know neither the file nor what to do.
      if (!(error instanceof ConfigError) || error.help !== undefined) throw error;
      throw new ConfigError(`${found.path}: architecture`, error.problems, {
        cause: error,
        help: 'the file is damaged, or of another network; if it is the published one, give its architecture by the option config',
      });
    }
  };
  const shown = basename(name.replace(/[/\\]+$/, '')) || name;
  return {
    name: shown,
    description: { part, options },
    open: openNow,
    describe: async () => (await openNow()).config,
    load: async () => {
      const file = await openNow();
      const backbone = createBackbone(file.config);
      try {
        await backbone.load(weightsOf(file.weights, file.path));
      } catch (error) {
        backbone.dispose();
        throw error;
      }
      return { name: shown, backbone };
    },
  };
}
