/**
 * A directory of golden vectors: which files belong together, and what they hold.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { ArgumentError, FileError } from '../../core/errors.js';
import { readTextFile, withFileErrors } from '../../core/files.js';
import { parseOptions } from '../../core/options.js';
import { printable } from '../../core/pickle/index.js';
import { readSafetensors } from '../../core/safetensors.js';
import type { TensorFile } from '../../core/tensor-file.js';

/** `NAME.json`, `NAME.weights.safetensors` and `NAME.io.safetensors`, as far as they are there. */
export interface GoldenFiles {
  name: string;
  json?: string;
  weights?: string;
  io?: string;
}

/** The files of a directory by what they hold; all paths are whole. */
export interface GoldenDirectory {
  path: string;
  networks: GoldenFiles[];
  heads: GoldenFiles[];
  projections: GoldenFiles[];
  samplers: string[];
  /** `frechet.json`. */
  frechet: string | undefined;
  /** `frechet-NAME.npz`. */
  frechetSets: string[];
  /** Pickles and PyTorch files. */
  stateDicts: string[];
}

const PIECES = { '.weights.safetensors': 'weights', '.io.safetensors': 'io', '.json': 'json' } as const;

/**
 * Sorts the files of `path` by name and content; files of other kinds are left aside.
 *
 * Throws `FileError` where `path` is no readable directory, `E_FILE_ABSENT` where nothing in it can be checked.
 */
export async function openGoldenDirectory(path: string): Promise<GoldenDirectory> {
  const files = await withFileErrors(path, 'read', async () => {
    const names = await readdir(path);
    // A pipe would never end.
    const regular = await Promise.all(names.map(async (name) => (await stat(join(path, name)).catch(() => undefined))?.isFile() ?? false));
    return names.filter((_, at) => regular[at]);
  });
  const directory: GoldenDirectory = {
    path,
    networks: [],
    heads: [],
    projections: [],
    samplers: [],
    frechet: undefined,
    frechetSets: [],
    stateDicts: [],
  };
  const sets = new Map<string, GoldenFiles>();
  for (const file of files.sort()) {
    const whole = join(path, file);
    const piece = Object.entries(PIECES).find(([ending]) => file.endsWith(ending));
    if (file === 'frechet.json') directory.frechet = whole;
    else if (/^frechet-.*\.npz$/.test(file)) directory.frechetSets.push(whole);
    else if (/\.(pkl|pth|pt)$/.test(file)) directory.stateDicts.push(whole);
    else if (piece) {
      const name = file.slice(0, -piece[0].length);
      const set = sets.get(name) ?? { name };
      sets.set(name, { ...set, [piece[1]]: whole });
    } else if (file.endsWith('.safetensors')) {
      const names = await namesOf(whole);
      if (file.startsWith('sampler') || ['latent', 'sample', 'sigmas'].every((name) => names?.includes(name)))
        directory.samplers.push(whole);
      else if (names === undefined || names.some((name) => /enc\.\d+x\d+_conv\.weight$/.test(name))) directory.stateDicts.push(whole);
    }
  }
  for (const set of sets.values()) {
    // A network may come as a snapshot instead of bare weights.
    const snapshot = directory.stateDicts.find((file) => basename(file).replace(/\.(pkl|pth|pt)$/, '') === set.name);
    if (set.weights === undefined && snapshot !== undefined && (set.json !== undefined || set.io !== undefined)) {
      directory.stateDicts.splice(directory.stateDicts.indexOf(snapshot), 1);
      set.weights = snapshot;
    }
    const kind = await kindOf(set);
    if (kind) directory[kind].push(set);
  }
  const found = [
    directory.networks,
    directory.heads,
    directory.projections,
    directory.samplers,
    directory.frechetSets,
    directory.stateDicts,
  ];
  if (directory.frechet === undefined && found.every((list) => list.length === 0))
    throw new FileError('E_FILE_ABSENT', `${path}: expected golden vectors, found none among ${files.length} files`, {
      help: 'give a directory with NAME.json, NAME.weights.safetensors and NAME.io.safetensors; docs/guides/parity.md lists what else it may hold',
    });
  return directory;
}

const namesOf = async (path: string | undefined): Promise<string[] | undefined> => {
  if (path === undefined) return undefined;
  try {
    return [...(await readSafetensors(path)).tensors.keys()];
  } catch {
    return undefined; // The check of this file says what is wrong with it.
  }
};

/** By the weights' names, else by those of inputs and outputs, else by the description, else by the file's name. */
async function kindOf({ name, json, weights, io }: GoldenFiles): Promise<'networks' | 'heads' | 'projections' | undefined> {
  const names = await namesOf(weights);
  if (names?.some((tensor) => /(^|\.)layer\d+_ccm\./.test(tensor))) return 'projections';
  if (names?.some((tensor) => tensor.endsWith('.weight_orig'))) return 'heads';
  if (names) return 'networks';
  const arrays = await namesOf(io);
  if (arrays?.includes('feature0')) return 'projections';
  if (arrays?.includes('features')) return 'heads';
  if (arrays) return 'networks';
  if (/^projection/.test(name)) return 'projections';
  if (/^disc/.test(name)) return 'heads';
  if (weights !== undefined || io !== undefined) return 'networks';
  try {
    return Object.hasOwn((await readJson(json!)) as object, 'config') ? 'networks' : undefined;
  } catch {
    return 'networks';
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Contents

/** Descriptions hold one number a parameter and a few lists of names. */
const MAX_JSON_BYTES = 64e6;

/** Parsed JSON. Throws `FileError`: missing, unreadable, too large, or `E_FILE_FORMAT`. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readTextFile(path, MAX_JSON_BYTES);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${path}: expected JSON: ${printable((cause as Error).message)}`, {
      cause,
      help: 'the file is damaged, or not what its name says; write it again',
    });
  }
}

const description = z.looseObject({
  config: z.record(z.string(), z.unknown()).optional(),
  parameters: z.int().min(0).optional(),
  gradient_norms: z.record(z.string(), z.number()).optional(),
  freeze: z.record(z.string(), z.looseObject({ frozen: z.array(z.string()), frozen_parameters: z.int().min(0).optional() })).optional(),
});

/** What `NAME.json` says of a network. */
export type NetworkDescription = z.output<typeof description>;

/** `NAME.json` of a network. Throws as `readJson`, and `E_CONFIG` with every problem. */
export async function readDescription(path: string): Promise<NetworkDescription> {
  return parseOptions(description, (await readJson(path)) as z.input<typeof description>, basename(path));
}

/** One array as it is stored: images are NCHW. */
export interface GoldenArray {
  name: string;
  shape: readonly number[];
  data: Float32Array;
}

/** The named array of a golden file, undefined where it has none. */
export async function goldenArray(file: TensorFile, name: string): Promise<GoldenArray | undefined> {
  const entry = file.tensors.get(name);
  return entry && { name, shape: entry.shape, data: await file.readAsFloat32(name) };
}

/** Throws `E_SHAPE` unless the shape is `expected`; undefined stands for any number. */
export function expectShape({ name, shape }: GoldenArray, expected: readonly (number | undefined)[]): void {
  if (shape.length === expected.length && expected.every((size, axis) => size === undefined || size === shape[axis])) return;
  const text = expected.map((size) => size ?? '*').join(', ');
  throw new ArgumentError('E_SHAPE', `${name}: expected shape [${text}], found [${shape.join(', ')}]`, {
    help: 'the inputs belong to another network',
  });
}

/** NCHW values as a tensor `[B, H, W, C]`. Throws `E_SHAPE` for other ranks. */
export function imageTensor(array: GoldenArray): tf.Tensor4D {
  expectShape(array, [undefined, undefined, undefined, undefined]);
  return tf.tidy(() => tf.transpose(tf.tensor4d(array.data, array.shape as [number, number, number, number]), [0, 2, 3, 1]));
}

/** `[B, H, W, C]` to NCHW values. */
export const publishedImage = (images: tf.Tensor4D): Float32Array =>
  tf.tidy(() => tf.transpose(images, [0, 3, 1, 2])).dataSync<'float32'>();
