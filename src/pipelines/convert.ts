/**
 * Any file of weights to safetensors: networks under their published names with their configuration, other content as plain tensors.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { FileError, RunError, WeightsError } from '../core/errors.js';
import { parseOptions } from '../core/options.js';
import { openSafetensors } from '../core/safetensors-index.js';
import { writeSafetensors } from '../core/safetensors.js';
import type { TensorDtype, TensorFile } from '../core/tensor-file.js';
import { openTorchFile } from '../core/torch-file/index.js';
import type { BackboneConfig } from '../models/backbones/backbone.js';
import { createBackbone } from '../models/backbones/config.js';
import { renamed } from '../models/nn/weights.js';
import { teacher } from '../models/teachers/any-teacher.js';
import { probe } from '../models/teachers/probe.js';
import { resolveFile } from '../models/teachers/published-teachers.js';
import { torchTensors } from '../models/teachers/torch-tensors.js';

/** What floats can be written as. */
export const CONVERSION_DTYPES = ['keep', 'F32', 'F16', 'BF16'] as const;

const convertOptions = z.strictObject({
  /** What floats are written as; `keep`: as the file has them. Whole numbers and booleans stay what they are. */
  dtype: z.enum(CONVERSION_DTYPES).default('keep'),
  /** Which network of a file that holds several; undefined: `ema` of a snapshot, the only one of a state dict. */
  key: z.string().min(1).optional(),
  /** Replaces a file that is there. */
  force: z.boolean().default(false),
  /** Stops the conversion between two tensors: nothing is written then. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
});

/** Options of `convert`. @interface */
export type ConvertOptions = z.input<typeof convertOptions>;

/** What `convert` found and wrote. */
export interface Conversion {
  /** The file or folder that was read. */
  input: string;
  output: string;
  /** Container and kind, such as `EDM snapshot, EDMPrecond of SongUNet (pickle, ema)`. */
  format: string;
  /** Undefined: no known network, its tensors were written as they are. */
  config: BackboneConfig | undefined;
  /** Learned values of the network; undefined without one. */
  parameters: number | undefined;
  tensors: number;
  values: number;
  /** Tensors by dtype, as found and as written. */
  found: Readonly<Partial<Record<TensorDtype, number>>>;
  written: Readonly<Partial<Record<TensorDtype, number>>>;
  /** Size of the output. */
  bytes: number;
  /** What was left out, renamed or assumed; one line each. */
  notes: readonly string[];
}

interface Content {
  path: string;
  format: string;
  config?: BackboneConfig;
  weights: TensorFile;
  notes: readonly string[];
}

/** Every tensor of a file that holds no known network. */
async function plainTensors(path: string, key: string | undefined): Promise<Content> {
  const { container } = await probe(path);
  let tensors: TensorFile;
  let format: string;
  if (container === 'pickle' || container === 'zip') {
    const file = await openTorchFile(path);
    tensors = torchTensors(file.root, path);
    format = `PyTorch file (${file.container})`;
  } else {
    tensors = await openSafetensors(path);
    format = container === 'safetensors' ? 'safetensors' : 'safetensors in shards';
  }
  const names = [...tensors.tensors.keys()].filter((name) => key === undefined || name.startsWith(`${key}.`));
  if (names.length === 0)
    throw new WeightsError(
      'E_WEIGHTS_UNKNOWN',
      `${path}: expected tensors${key === undefined ? '' : ` under ${key}`}, found ${tensors.tensors.size === 0 ? 'none' : `names such as ${[...tensors.tensors.keys()].slice(0, 3).join(', ')}`}`,
      {
        help: key === undefined ? 'there is nothing to convert in this file' : 'give another key, or none',
      },
    );
  const short = (name: string) => (key === undefined ? name : name.slice(key.length + 1));
  return {
    path,
    format,
    weights: renamed(tensors, new Map(names.map((name) => [short(name), name]))),
    notes: ['no known network: the tensors are written as they are, without a configuration'],
  };
}

async function openContent(reference: string, key: string | undefined): Promise<Content> {
  const path = await resolveFile(reference);
  try {
    return await teacher(path, key === undefined ? {} : { key }).open();
  } catch (error) {
    if (!(error instanceof WeightsError) || error.code !== 'E_WEIGHTS_UNKNOWN') throw error;
    return plainTensors(path, key);
  }
}

/** Refuses an output that is there, unless `force`; and one that is the input or a part of it. */
async function checkOutput(input: string, output: string, force: boolean): Promise<void> {
  if (output === '')
    throw new FileError('E_FILE_NOT_WRITABLE', 'expected the name of a file to write, found an empty one', { help: 'give a name' });
  const there = await stat(output).catch(() => undefined);
  if (!there) return;
  if (there.isDirectory())
    throw new FileError('E_FILE_NOT_WRITABLE', `${output}: expected the name of a file to write, found a folder`, {
      help: `give a name in it, such as ${join(output, 'model.safetensors')}`,
    });
  // Renaming a file to the name of a device would replace the device.
  if (!there.isFile())
    throw new FileError('E_FILE_NOT_WRITABLE', `${output}: expected the name of a file to write, found a device or a pipe`, {
      help: 'give the name of a file',
    });
  const same = async (path: string) => {
    const { dev, ino } = await stat(path);
    return dev === there.dev && ino === there.ino;
  };
  // An index or a folder is read from the files beside and below it.
  const folders = (await stat(input)).isDirectory() ? [input] : [dirname(input)];
  const partOfInput =
    folders[0] === input || input.endsWith('.json')
      ? (await readdir(folders[0]!, { recursive: true })).map((name) => join(folders[0]!, name))
      : [];
  for (const path of [input, ...partOfInput])
    if (await same(path))
      throw new FileError(
        'E_FILE_EXISTS',
        `${output}: expected another file than the input, found ${path === input ? 'the input itself' : `a part of the input ${input}`}`,
        {
          help: 'write to another name',
        },
      );
  if (!force)
    throw new FileError('E_FILE_EXISTS', `${output}: expected no file of that name, found one`, {
      help: 'give another name, or say --force (force: true) to replace it',
    });
}

const isFloat = (dtype: TensorDtype) => dtype === 'F64' || dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype.startsWith('F8');

function countBy(dtypes: Iterable<TensorDtype>): Partial<Record<TensorDtype, number>> {
  const counts: Partial<Record<TensorDtype, number>> = {};
  for (const dtype of dtypes) counts[dtype] = (counts[dtype] ?? 0) + 1;
  return counts;
}

/**
 * Converts `reference` (a path, or what `teacher` takes besides) to the safetensors file `output`, whole or not at all.
 *
 * One tensor is in memory at a time. Throws as `teacher` and `writeSafetensors`; `E_FILE_EXISTS` where `output` is there or is the input,
 * `E_RUN_STOPPED` after `signal`, `E_CONFIG` for wrong options.
 */
export async function convert(reference: string, output: string, options: ConvertOptions = {}): Promise<Conversion> {
  const { dtype: wanted, key, force, signal } = parseOptions(convertOptions, options, 'convert');
  const stopped = () =>
    new RunError('E_RUN_STOPPED', `${output}: the conversion was stopped, nothing was written`, { help: 'start it again' });
  if (signal?.aborted) throw stopped();
  const { path, format, config, weights, notes } = await openContent(reference, key);
  await checkOutput(path, output, force);

  const dtypeOf = (dtype: TensorDtype) => (wanted !== 'keep' && isFloat(dtype) ? wanted : dtype);
  const entries = [...weights.tensors];
  await writeSafetensors(
    output,
    entries.map(([name, { dtype, shape }]) => ({
      name,
      shape,
      dtype: dtypeOf(dtype),
      data: () => {
        if (signal?.aborted) throw stopped();
        return dtypeOf(dtype) === dtype ? weights.read(name) : weights.readAsFloat32(name);
      },
    })),
    { ...weights.metadata, format: 'pt', source: basename(path), ...(config && { config: JSON.stringify(config) }) },
  );
  return {
    input: path,
    output,
    format,
    config,
    parameters: config && createBackbone(config).parameterCount(),
    tensors: entries.length,
    values: entries.reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0),
    found: countBy(entries.map(([, { dtype }]) => dtype)),
    written: countBy(entries.map(([, { dtype }]) => dtypeOf(dtype))),
    bytes: (await stat(output)).size,
    notes,
  };
}
