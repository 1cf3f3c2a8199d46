/**
 * Safetensors in several files: an index names the shard of each tensor (`{"weight_map": {"<tensor>": "<file>"}}`).
 */
import { open, readdir, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { FileError, WeightsError } from './errors.js';
import { readTextFile, withFileErrors } from './files.js';
import { printable } from './pickle/text.js';
import { duplicateKey, notAHeader, readSafetensors } from './safetensors.js';
import type { TensorEntry, TensorFile } from './tensor-file.js';

const INDEX_ENDING = '.safetensors.index.json';

/** As a header: 50,000 tensors take 5 MB. */
const MAX_INDEX_BYTES = 2 ** 24;

const wrong = (path: string, problem: string, help = 'this is no whole safetensors index; download or write the model again') =>
  new FileError('E_FILE_FORMAT', `${path}: ${problem}`, { help });

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Tensor name to shard name, each checked to be a file beside the index. */
function parseIndex(text: string, path: string): { weightMap: Map<string, string>; metadata: Record<string, string> } {
  const expected = notAHeader(Buffer.from(text));
  if (expected !== undefined) throw wrong(path, `expected ${expected}, found more`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${path}: the index is not JSON: ${printable((cause as Error).message)}`, {
      cause,
      help: 'this is no safetensors index, or a damaged one',
    });
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw wrong(path, `tensor or key ${printable(twice)}: expected once, found twice in the index`);
  if (!isObject(json) || !isObject(json['weight_map'])) throw wrong(path, 'expected an object with a weight_map');
  const weightMap = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(json['weight_map'])) {
    if (typeof shard !== 'string' || shard === '')
      throw wrong(path, `tensor ${printable(tensor)}: expected the name of a file, found ${printable(JSON.stringify(shard))}`);
    if (isAbsolute(shard) || /^[A-Za-z]:/.test(shard) || shard.split(/[\\/]/).includes('..') || shard.includes('\0'))
      throw wrong(
        path,
        `tensor ${printable(tensor)}: expected a file beside the index, found ${printable(JSON.stringify(shard))}, which leaves its folder`,
        'do not use this index: the files of a model lie in one folder',
      );
    weightMap.set(tensor, shard);
  }
  if (weightMap.size === 0) throw wrong(path, 'expected a weight_map that names tensors, found an empty one');
  const metadata = isObject(json['metadata']) ? json['metadata'] : {};
  return {
    weightMap,
    metadata: Object.fromEntries(
      Object.entries(metadata).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
    ),
  };
}

/** Links are followed (download caches keep files elsewhere); what they lead to must be a file. */
async function shardPath(index: string, shard: string): Promise<string> {
  const folder = dirname(index);
  const path = join(folder, shard);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile())
    throw new FileError(
      'E_FILE_ABSENT',
      `${index}: expected the shard ${printable(shard)} beside it, ${found ? 'found no file of that name' : 'it is missing'}`,
      {
        help: 'download every file that the index names into the same folder',
      },
    );
  return path;
}

/** Opens the shards that an index names as one file; `tensors` is in the order of the index. */
async function readIndexed(path: string): Promise<TensorFile> {
  const { weightMap, metadata } = parseIndex(await readTextFile(path, MAX_INDEX_BYTES), path);
  const shards = new Map<string, TensorFile>();
  for (const shard of new Set(weightMap.values())) shards.set(shard, await readSafetensors(await shardPath(path, shard)));

  const tensors = new Map<string, TensorEntry>();
  for (const [tensor, shard] of weightMap) {
    const entry = shards.get(shard)!.tensors.get(tensor);
    if (!entry) throw wrong(path, `tensor ${printable(tensor)}: expected in ${printable(shard)}, which does not hold it`);
    tensors.set(tensor, entry);
  }
  for (const [shard, file] of shards)
    for (const tensor of file.tensors.keys())
      if (weightMap.get(tensor) !== shard)
        throw wrong(
          path,
          weightMap.has(tensor)
            ? `tensor ${printable(tensor)}: expected once, found in ${printable(weightMap.get(tensor)!)} and in ${printable(shard)}`
            : `tensor ${printable(tensor)}: found in ${printable(shard)}, but not in the index`,
        );

  const shardOf = (name: string) => {
    const shard = weightMap.get(name);
    if (shard === undefined)
      throw new WeightsError('E_WEIGHTS_MISSING', `${path}: expected a tensor ${name}, found ${weightMap.size} others`, {
        help: `the index begins with ${[...weightMap.keys()].slice(0, 3).map(printable).join(', ')}; does it belong to this network?`,
      });
    return shards.get(shard)!;
  };
  return {
    // What a shard says of itself (such as the configuration) holds for the whole.
    metadata: Object.assign({}, ...[...shards.values()].map((shard) => shard.metadata), metadata) as Record<string, string>,
    tensors,
    read: async (name) => shardOf(name).read(name),
    readAsFloat32: async (name) => shardOf(name).readAsFloat32(name),
  };
}

/** JSON has no zero byte, and the length of a header of at most 100 MB ends with four of them. */
async function isIndex(path: string): Promise<boolean> {
  return withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(8), 0, 8, 0);
      return bytesRead > 0 && /^\s*[{[]/.test(String.fromCharCode(...buffer)) && !buffer.subarray(0, bytesRead).includes(0);
    } finally {
      await handle.close();
    }
  });
}

/** The index of a folder, or its only safetensors file. */
async function fileOfFolder(folder: string): Promise<string> {
  const names = (await withFileErrors(folder, 'read', () => readdir(folder))).sort();
  const indices = names.filter((name) => name.endsWith(INDEX_ENDING));
  const files = names.filter((name) => name.endsWith('.safetensors'));
  const candidates = indices.length > 0 ? indices : files;
  const chosen = candidates.find((name) => name.startsWith('model.safetensors')) ?? candidates[0];
  if (chosen === undefined)
    throw new FileError('E_FILE_NOT_READABLE', `${folder}: expected a safetensors file or index in this folder, found none`, {
      help: 'give the path of the file itself',
    });
  if (candidates.length > 1 && !chosen.startsWith('model.safetensors'))
    throw new FileError(
      'E_FILE_NOT_READABLE',
      `${folder}: expected one safetensors file in this folder, found ${candidates.length}: ${candidates.slice(0, 4).join(', ')}`,
      {
        help: 'give the path of the file itself',
      },
    );
  return join(folder, chosen);
}

/**
 * Opens safetensors in one file, an index (`*.index.json`) with its shards, or a folder that holds either.
 *
 * Tensors lie in exactly the shards that the index says, and the index names all of them. Throws as `readSafetensors`;
 * `E_FILE_ABSENT` for a missing shard, `E_FILE_FORMAT` for an index that is damaged, disagrees with its shards or names files of another folder.
 */
export async function openSafetensors(path: string): Promise<TensorFile> {
  const found = await withFileErrors(path, 'read', () => stat(path));
  const file = found.isDirectory() ? await fileOfFolder(path) : path;
  return (await isIndex(file)) ? readIndexed(file) : readSafetensors(file);
}
