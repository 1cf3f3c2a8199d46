/**
 * Checkpoints: directories `checkpoint-<kimg>` that hold everything a run needs to go on, part by part.
 *
 * A part is `<name>.json` and `<name>.safetensors`; `manifest.json` lists every file with its size and SHA-256.
 * The directory is written under a temporary name and renamed when it is complete.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { CheckpointPart } from './contracts/training.js';
import { ArgumentError, FileError } from './errors.js';
import { withFileErrors, writeDirectoryAtomic, writeFileAtomic } from './files.js';
import { type TensorToWrite, readSafetensors, writeSafetensors } from './safetensors.js';

/** What is saved of a part; tensors may be an iterable and their data functions, called one after the other. */
export interface CheckpointPartToSave {
  /** Plain JSON: no NaN, no infinity. */
  json: unknown;
  tensors: Iterable<TensorToWrite>;
}

/** A checkpoint as read. */
export interface Checkpoint {
  /** Thousands of images seen. */
  kimg: number;
  parts: Record<string, CheckpointPart>;
}

const manifestSchema = z.strictObject({
  format: z.literal('onestep-checkpoint'),
  version: z.literal(1),
  kimg: z.number().min(0),
  parts: z.array(z.string()),
  files: z.record(z.string(), z.strictObject({ bytes: z.number().int().min(0), sha256: z.string().length(64) })),
});

const MANIFEST = 'manifest.json';
const PART_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const CHECKPOINT_NAME = /^checkpoint-(\d+(?:\.\d+)?)$/;
const OLDER = 'go on from an older checkpoint; damaged ones are passed over';

async function digest(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

function toJson(part: string, value: unknown): string {
  return JSON.stringify(
    value ?? null,
    (key, entry: unknown) => {
      if (typeof entry === 'number' && !Number.isFinite(entry))
        throw new ArgumentError('E_VALUE', `checkpoint part ${part}: ${key}: expected a finite number, got ${entry}`, {
          help: 'JSON has no such numbers; keep them in a tensor',
        });
      return entry;
    },
    2,
  );
}

/**
 * Writes `<directory>/checkpoint-<kimg>` and returns its path; a former one of that name is replaced.
 *
 * Part names are letters, digits, `.`, `_` and `-`. Throws {@link FileError} as `writeFileAtomic`; nothing is left behind then.
 */
export async function saveCheckpoint(
  directory: string,
  kimg: number,
  parts: Readonly<Record<string, CheckpointPartToSave>>,
): Promise<string> {
  const path = join(directory, `checkpoint-${kimg}`);
  if (!CHECKPOINT_NAME.test(basename(path)))
    throw new ArgumentError('E_VALUE', `checkpoint: expected thousands of images, got ${kimg}`, { help: 'give imagesSeen / 1000' });
  const names = Object.keys(parts);
  for (const name of names)
    if (!PART_NAME.test(name) || name === 'manifest')
      throw new ArgumentError('E_VALUE', `checkpoint: expected part names of letters and digits, got ${JSON.stringify(name)}`, {
        help: 'name parts like generator or optimizer-discriminator',
      });

  await writeDirectoryAtomic(path, async (temporary) => {
    const files: z.infer<typeof manifestSchema>['files'] = {};
    for (const [name, { json, tensors }] of Object.entries(parts)) {
      await writeFileAtomic(join(temporary, `${name}.json`), toJson(name, json));
      await writeSafetensors(join(temporary, `${name}.safetensors`), tensors);
      for (const file of [`${name}.json`, `${name}.safetensors`]) files[file] = await digest(join(temporary, file));
    }
    const manifest: z.infer<typeof manifestSchema> = { format: 'onestep-checkpoint', version: 1, kimg, parts: names, files };
    await writeFileAtomic(join(temporary, MANIFEST), JSON.stringify(manifest, null, 2));
  });
  return path;
}

async function readManifest(path: string): Promise<z.infer<typeof manifestSchema>> {
  const file = join(path, MANIFEST);
  const text = await withFileErrors(file, 'read', () => readFile(file, 'utf8'));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileError('E_FILE_FORMAT', `${file}: not JSON: ${(cause as Error).message}`, { cause, help: OLDER });
  }
  const manifest = manifestSchema.safeParse(json);
  if (manifest.success) return manifest.data;
  const issues = manifest.error.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`);
  throw new FileError('E_FILE_FORMAT', `${file}: not the manifest of a checkpoint: ${issues.join('; ')}`, { help: OLDER });
}

/**
 * Checks a checkpoint against its manifest; with `checksums: false` only sizes.
 *
 * Throws {@link FileError}: `E_FILE_ABSENT` for a missing file, `E_FILE_TRUNCATED` for another size, `E_FILE_DAMAGED` for another content,
 * `E_FILE_FORMAT` for a manifest that is none.
 */
export async function verifyCheckpoint(
  path: string,
  { checksums = true }: { checksums?: boolean } = {},
): Promise<{ kimg: number; parts: string[] }> {
  const { kimg, parts, files } = await readManifest(path);
  for (const part of parts)
    for (const name of [`${part}.json`, `${part}.safetensors`]) {
      const expected = files[name];
      if (!PART_NAME.test(part) || !expected)
        throw new FileError('E_FILE_FORMAT', `${join(path, MANIFEST)}: expected an entry for ${name}, found none`, { help: OLDER });
      const file = join(path, name);
      const { size } = await withFileErrors(file, 'read', () => stat(file));
      if (size !== expected.bytes)
        throw new FileError('E_FILE_TRUNCATED', `${file}: expected ${expected.bytes} bytes, found ${size}`, { help: OLDER });
      if (!checksums) continue;
      const { sha256 } = await withFileErrors(file, 'read', () => digest(file));
      if (sha256 !== expected.sha256)
        throw new FileError('E_FILE_DAMAGED', `${file}: expected SHA-256 ${expected.sha256}, found ${sha256}`, { help: OLDER });
    }
  return { kimg, parts };
}

/** Verifies and reads a checkpoint. Throws as {@link verifyCheckpoint}. */
export async function loadCheckpoint(path: string): Promise<Checkpoint> {
  const { kimg, parts: names } = await verifyCheckpoint(path);
  const parts: Checkpoint['parts'] = {};
  for (const name of names) {
    const jsonFile = join(path, `${name}.json`);
    const json: unknown = JSON.parse(await withFileErrors(jsonFile, 'read', () => readFile(jsonFile, 'utf8')));
    const file = await readSafetensors(join(path, `${name}.safetensors`));
    const tensors: CheckpointPart['tensors'] = [];
    for (const [tensor, { shape }] of file.tensors) tensors.push({ name: tensor, shape, data: await file.readAsFloat32(tensor) });
    parts[name] = { json, tensors };
  }
  return { kimg, parts };
}

/** What `listCheckpoints` finds. */
export interface CheckpointList {
  /** Newest first. */
  complete: { path: string; kimg: number }[];
  /** Directories with the name of a checkpoint that cannot be loaded, and why. */
  damaged: { path: string; reason: string }[];
}

/** The checkpoints in a directory; with `checksums: false` only their sizes are checked. */
export async function listCheckpoints(directory: string, options: { checksums?: boolean } = {}): Promise<CheckpointList> {
  const list: CheckpointList = { complete: [], damaged: [] };
  for (const name of await withFileErrors(directory, 'read', () => readdir(directory))) {
    if (!CHECKPOINT_NAME.test(name)) continue;
    const path = join(directory, name);
    try {
      const { kimg } = await verifyCheckpoint(path, options);
      list.complete.push({ path, kimg });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      list.damaged.push({ path, reason: error.message.split('\n')[0]! });
    }
  }
  list.complete.sort((a, b) => b.kimg - a.kimg);
  return list;
}
